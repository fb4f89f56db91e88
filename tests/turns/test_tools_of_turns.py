"""Turns that carry out tools: all at once, in order, at most once, whoever dies when."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import InterfaceError, OperationalError

from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.open_steps import calls_in_doubt, open_calls
from chatd.chats.partial import INTERRUPTED_CALL, Partial
from chatd.chattest.openai import OpenAIHandler, OpenAIServer
from chatd.core.threads import in_database_thread
from chatd.live.backend import live_backend
from chatd.llm.client import create_session
from chatd.llm.types import ToolSpec
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.tools import registry
from chatd.tools.registry import TurnContext
from chatd.tools.types import Tool, ToolInvocation, ToolOutput
from chatd.turns import carrying
from chatd.turns import runner as turn_runner
from chatd.turns.runner import StopCause, TurnRunner
from tests.conftest import Cast
from tests.e2e.provider import answer, calls, in_turn
from tests.support.people import pending_chat
from tests.support.threads import close_database_threads

pytestmark = pytest.mark.django_db(transaction=True)

Run = Callable[[ToolInvocation], Coroutine[Any, Any, ToolOutput]]
CLIENT_TOOL = {"name": "ask_browser", "description": "", "input_schema": {}}


class Bench:
    """A model that says what it is told to, and tools that note how often they ran."""

    def __init__(self, cast: Cast, server: OpenAIServer) -> None:
        self.cast = cast
        self.server = server
        self.ran: list[str] = []
        self.tools: list[Tool] = []
        self.runner: TurnRunner | None = None
        provider = AIProvider(
            type=ProviderType.OPENAI_COMPAT, name="fake", base_url=server.base_url
        )
        self.model: ModelConfig = save_model_config(
            ModelConfig(ai_provider=save_provider(provider), model="fake-model")
        )

    def chat(self, **fields: Any) -> Chat:
        return pending_chat(self.cast.alice, self.cast.organization, self.model, **fields)

    def tool(self, name: str, run: Run | None = None, **fields: Any) -> None:
        async def noted(call: ToolInvocation) -> ToolOutput:
            self.ran.append(name)
            return await run(call) if run else ToolOutput(text=f"{name} done")

        spec = ToolSpec(name=name, description="", parameters={"type": "object", "properties": {}})
        self.tools.append(Tool(spec=spec, run=noted, **fields))

    def turn(self, chat: Chat, meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None):
        """Run the turn of a pending chat; `meanwhile` runs beside it. Returns the fresh chat."""

        async def go() -> None:
            runner_id = uuid4()
            async with create_session() as session:
                taken = await in_database_thread(runs.acquire, chat.pk, runner_id, lease_seconds=60)
                assert taken is not None
                self.runner = TurnRunner(chat.pk, runner_id, live_backend(), session)
                turn = asyncio.create_task(self.runner.run(taken))
                self.task = turn
                if meanwhile is not None:
                    await meanwhile()
                await asyncio.wait({turn}, timeout=120)
                assert turn.done()
                if not turn.cancelled():
                    turn.result()

        try:
            asyncio.run(go())
        finally:
            close_database_threads()
        chat.refresh_from_db()
        return chat

    def stop(self, cause: StopCause) -> None:
        assert self.runner is not None
        self.runner.stop_cause = cause
        self.task.cancel()

    async def release(self) -> None:
        assert self.runner is not None
        await asyncio.wait({self.task})
        await in_database_thread(runs.release, self.runner.chat_id, self.runner.runner_id)


@pytest.fixture
def script() -> list[OpenAIHandler]:
    return []


@pytest.fixture
def server(script: list[OpenAIHandler]) -> Iterator[OpenAIServer]:
    chosen: list[OpenAIHandler] = []

    def handler(request: Any) -> Any:
        if not chosen:
            chosen.append(in_turn(*script))
        return chosen[0](request)

    with OpenAIServer(handler) as started:
        yield started


@pytest.fixture
def bench(cast: Cast, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(cast, server)

    @asynccontextmanager
    async def source(context: TurnContext) -> AsyncIterator[Sequence[Tool]]:
        yield made.tools

    monkeypatch.setattr(registry, "SOURCES", (source,))
    return made


def history(chat: Chat) -> list[tuple[str, list[str]]]:
    """Return roles, and what the parts are: types of an answer, ids of results."""
    rows = ChatMessage.objects.filter(chat=chat, deleted=False).order_by("id")
    return [
        (
            row.role,
            [
                part["tool_call_id"] if part["type"] == "tool-result" else part["type"]
                for part in row.content
            ],
        )
        for row in rows
        if row.role in (Role.ASSISTANT, Role.TOOL)
    ]


def results(chat: Chat) -> dict[str, Any]:
    rows = ChatMessage.objects.filter(chat=chat, role=Role.TOOL, deleted=False).order_by("id")
    return {row.content[0]["tool_call_id"]: row.content[0]["result"] for row in rows}


def test_tools_run_at_once_and_their_results_stand_in_the_order_of_the_calls(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [calls(("a", "slow", "{}"), ("b", "quick", "{}")), answer("all done")]
    is_quick_done = asyncio.Event()

    async def slow(call: ToolInvocation) -> ToolOutput:
        await asyncio.wait_for(is_quick_done.wait(), 120)
        return ToolOutput(text="slow done")

    async def quick(call: ToolInvocation) -> ToolOutput:
        is_quick_done.set()
        return ToolOutput(text='{"n": 1}')

    bench.tool("slow", slow)
    bench.tool("quick", quick)
    chat = bench.turn(bench.chat())
    assert chat.status == Status.WAITING
    assert history(chat) == [
        ("assistant", ["tool-call", "tool-call"]),
        ("tool", ["a"]),
        ("tool", ["b"]),
        ("assistant", ["text"]),
    ]
    assert results(chat) == {"a": {"output": "slow done"}, "b": {"n": 1}}
    assert open_calls(chat.pk) == []


def test_what_a_tool_raises_is_a_result_that_the_model_reads(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [
        calls(("a", "broken", "{}"), ("b", "invented", "{}"), ("c", "cancelled", "{}")),
        answer("sorry"),
    ]

    async def broken(call: ToolInvocation) -> ToolOutput:
        raise ValueError("the disk is full")

    async def cancelled(call: ToolInvocation) -> ToolOutput:
        raise asyncio.CancelledError

    bench.tool("broken", broken)
    bench.tool("cancelled", cancelled)
    chat = bench.turn(bench.chat())
    assert chat.status == Status.WAITING
    assert results(chat) == {
        "a": {"error": "the disk is full"},
        "b": {"error": "Tool not active in this turn: invented"},
        "c": {"error": "The tool was cancelled."},
    }
    said = bench.server.requests[-1].body["messages"][-3:]
    assert [message["content"] for message in said] == [
        "the disk is full",
        "Tool not active in this turn: invented",
        "The tool was cancelled.",
    ]


def test_an_exclusive_tool_beside_others_keeps_all_from_running(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [
        calls(("a", "advisor", "{}"), ("b", "find", "{}")),
        calls(("c", "advisor", "{}")),
        answer("advised"),
    ]
    bench.tool("advisor", is_exclusive=True)
    bench.tool("find")
    chat = bench.turn(bench.chat())
    assert bench.ran == ["advisor"]
    refused = results(chat)
    assert refused["a"]["error"] == (
        "advisor must be called alone, without other tools in the same batch."
        " Retry with only the advisor call."
    )
    assert refused["b"]["error"] == (
        "this tool was skipped because advisor must run alone in its batch."
        " Retry your tool calls without advisor, or call advisor separately first."
    )
    assert refused["c"] == {"output": "advisor done"}


def test_calls_for_the_client_wait_while_those_of_the_server_are_done(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [calls(("a", "ask_browser", "{}"), ("b", "find", "{}"))]
    bench.tool("find")
    bench.tool("ask_browser_too")
    chat = bench.turn(bench.chat(dynamic_tools=[CLIENT_TOOL]))
    assert chat.status == Status.REQUIRES_ACTION
    assert results(chat) == {"b": {"output": "find done"}}
    assert open_calls(chat.pk) == []


def test_a_name_of_a_client_that_is_taken_goes_to_the_server(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [calls(("a", "ask_browser", "{}")), answer("done")]
    bench.tool("ask_browser")
    chat = bench.turn(bench.chat(dynamic_tools=[CLIENT_TOOL]))
    assert (chat.status, bench.ran) == (Status.WAITING, ["ask_browser"])


class Stuck:
    """A tool that tells when it began, and ends when it is let."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, call: ToolInvocation) -> ToolOutput:
        self.began.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return ToolOutput(text="transferred")


def test_an_interrupt_keeps_what_is_done_and_closes_what_is_not(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [calls(("a", "find", "{}"), ("b", "transfer", "{}"))]
    stuck = Stuck()
    bench.tool("find")
    bench.tool("transfer", stuck)
    chat = bench.chat()

    async def interrupt() -> None:
        await stuck.began.wait()
        while not any(call.result for call in await in_database_thread(open_calls, chat.pk)):
            await asyncio.sleep(0.01)
        await in_database_thread(states.interrupt, chat.pk, partial=Partial(None))
        bench.stop(StopCause.INTERRUPTED)

    bench.turn(chat, interrupt)
    assert chat.status == Status.WAITING
    assert stuck.was_cancelled
    assert history(chat)[0] == ("assistant", ["tool-call", "tool-call"])
    assert results(chat) == {"a": {"output": "find done"}, "b": {"error": INTERRUPTED_CALL}}
    row = ChatMessage.objects.get(chat=chat, role=Role.ASSISTANT)
    assert (row.input_tokens, row.output_tokens) == (21, 7), "the call was paid for"


def test_a_worker_that_stops_lets_a_tool_finish_and_hands_the_turn_over(
    bench: Bench, script: list[OpenAIHandler]
) -> None:
    script += [calls(("a", "transfer", "{}")), answer("sent")]
    stuck = Stuck()
    bench.tool("transfer", stuck)
    chat = bench.chat()

    async def shut_down() -> None:
        await stuck.began.wait()
        bench.stop(StopCause.SHUTDOWN)
        stuck.may_end.set()
        await bench.release()

    bench.turn(chat, shut_down)
    assert chat.status == Status.PENDING
    assert results(chat) == {"a": {"output": "transferred"}}
    bench.turn(chat)
    assert chat.status == Status.WAITING
    assert bench.ran == ["transfer"]


def test_a_tool_that_a_stopping_worker_cannot_wait_for_is_in_doubt(
    bench: Bench, script: list[OpenAIHandler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "GRACE_SECONDS", 0.05)
    script += [calls(("a", "look", "{}"), ("b", "transfer", "{}")), answer("sent")]
    stuck, looks = Stuck(), Stuck()
    looks.may_end.set()
    bench.tool("look", looks, is_read_only=True)
    bench.tool("transfer", stuck)
    chat = bench.chat()

    async def shut_down() -> None:
        await stuck.began.wait()
        bench.stop(StopCause.SHUTDOWN)
        await bench.release()

    bench.turn(chat, shut_down)
    assert chat.status == Status.ERROR
    assert [call.call_id for call in calls_in_doubt(chat)] == ["b"]

    stuck.may_end.set()
    [call] = calls_in_doubt(chat)
    states.decide_call(chat.pk, call.id, states.Decision.RETRY, decided_by=chat.owner_id)
    bench.turn(chat)
    assert chat.status == Status.WAITING
    assert results(chat) == {"a": {"output": "transferred"}, "b": {"output": "transferred"}}
    assert bench.ran.count("transfer") == 2
    assert len(bench.server.requests) == 2, "the model was not asked for the same step again"


@pytest.mark.parametrize("is_read_only", [True, False])
def test_a_lost_worker_leaves_calls_that_only_read_to_the_next_one(
    bench: Bench, script: list[OpenAIHandler], is_read_only: bool
) -> None:
    script += [calls(("a", "touch", "{}"), ("b", "ask_browser", "{}")), answer("fine")]
    stuck = Stuck()
    bench.tool("touch", stuck, is_read_only=is_read_only)
    chat = bench.chat(dynamic_tools=[CLIENT_TOOL])

    async def die() -> None:
        await stuck.began.wait()
        bench.stop(StopCause.LEASE_LOST)
        await asyncio.wait({bench.task})
        assert bench.runner is not None
        await in_database_thread(runs.renew_leases, [bench.runner.runner_id], lease_seconds=-1)
        assert await in_database_thread(runs.recover, chat.pk)

    bench.turn(chat, die)
    if not is_read_only:
        assert chat.status == Status.ERROR
        assert bench.ran == ["touch"]
        return
    assert chat.status == Status.PENDING
    stuck.may_end.set()
    bench.turn(chat)
    assert chat.status == Status.REQUIRES_ACTION, "the client's call still waits"
    assert bench.ran == ["touch", "touch"]
    assert results(chat) == {"a": {"output": "transferred"}}
    assert len(bench.server.requests) == 1


# A database that is away


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")])
def test_a_turn_that_loses_the_database_goes_back_to_pending(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(chat: Chat) -> None:
        raise error

    monkeypatch.setattr(turn_runner, "_set_up", broken)
    chat = bench.turn(bench.chat())
    assert (chat.status, chat.last_error) == (Status.PENDING, None)
    assert not bench.server.requests


def test_a_turn_that_loses_the_database_before_it_has_its_tools_does_not_go_on_without_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def away(context: TurnContext) -> AsyncIterator[Sequence[Tool]]:
        raise OperationalError("away")
        yield ()

    monkeypatch.setattr(registry, "SOURCES", (away,))
    chat = bench.turn(bench.chat())
    assert (chat.status, chat.last_error) == (Status.PENDING, None)
    assert not bench.server.requests


def test_a_turn_that_loses_the_database_again_and_again_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(chat: Chat) -> None:
        raise OperationalError("no room for this row")

    monkeypatch.setattr(turn_runner, "_set_up", broken)
    monkeypatch.setattr(turn_runner, "MOST_ATTEMPTS", 2)
    chat = bench.chat()
    assert bench.turn(chat).status == Status.PENDING
    assert bench.turn(chat).status == Status.ERROR
