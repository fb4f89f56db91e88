"""Summarising a chat inside its turn, with a provider over HTTP that counts what it is sent."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError

from chatd.chats import runs, states
from chatd.chats.debug_models import ChatDebugRun
from chatd.chats.models import Chat, ChatMessage, Role, Status, Visibility
from chatd.chats.new_messages import StepUsage
from chatd.chats.parts import SUMMARY_TOOL, ToolResultPart
from chatd.chats.selectors import open_client_calls, prompt_messages
from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAICompletion,
    OpenAIHandler,
    OpenAIRequest,
    OpenAIResponse,
    OpenAIServer,
    finish_chunk,
    streaming_response,
    tool_call_chunk,
    usage_chunk,
)
from chatd.core.errors import ChatdError, ErrorCode
from chatd.core.threads import in_database_thread
from chatd.live.backend import live_backend
from chatd.llm.client import create_session
from chatd.llm.types import ToolMessage, ToolResultBlock, ToolSpec
from chatd.preferences import debug_logging
from chatd.preferences.models import UserSetting
from chatd.preferences.registry import COMPACTION_THRESHOLD
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.providers.pricing import Prices
from chatd.spending.models import SpendDay
from chatd.tools import registry
from chatd.tools.types import Tool, ToolInvocation, ToolOutput
from chatd.turns import compaction
from chatd.turns.compaction import LastStep, context_tokens, is_due, threshold_percent
from chatd.turns.debug_thread import debug_thread
from chatd.turns.labels import last_words
from chatd.turns.runner import TurnRunner
from chatd.turns.summary_text import (
    INSTRUCTION,
    PREFIX,
    cleaned_summary,
    summary_prompt,
    text_for_model,
)
from tests.chats.invariants import check_chat, dump
from tests.chats.situations import CLIENT_TOOL, answer, fence_of
from tests.conftest import Cast
from tests.e2e.provider import said
from tests.support.metrics import Exposition
from tests.support.people import pending_chat, text, user_content
from tests.support.threads import close_database_threads

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 3000
COUNTED = "coderd_chatd_compaction_total"
SUMMARY = "Goal: count. Done so far: what was counted."


def tokens_of(request: OpenAIRequest) -> int:
    return len(request.raw) // 4


class Provider:
    """A model that calls a tool `steps` times and then says "done"; its context is bounded."""

    def __init__(self) -> None:
        self.steps = 0
        self.limit = LIMIT
        self.last_words = "done"
        self.turns: list[OpenAIRequest] = []
        self.summaries: list[OpenAIRequest] = []
        self.refused = 0
        self.usage: int | None = None
        self.summarise: OpenAIHandler = lambda request: OpenAIResponse(
            completion=OpenAICompletion(text=f"  {SUMMARY}\n")
        )

    def __call__(self, request: OpenAIRequest) -> Any:
        if tokens_of(request) > self.limit:
            self.refused += 1
            body = {"error": {"message": f"maximum context length is {self.limit} tokens"}}
            return faults.http_error(400, body)(request)
        if not request.stream:
            self.summaries.append(request)
            return self.summarise(request)
        self.turns.append(request)
        used = usage_chunk(prompt=self.usage or tokens_of(request), completion=5)
        if len(self.turns) > self.steps:
            return streaming_response(said(self.last_words), finish_chunk(), used)
        call = tool_call_chunk("count", "{}", call_id=f"call-{len(self.turns)}")
        return streaming_response(call, finish_chunk("tool_calls"), used)


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def model(provider: Provider, db: None) -> Iterator[ModelConfig]:
    with OpenAIServer(provider) as server:
        row = AIProvider(type=ProviderType.OPENAI_COMPAT, name="fake", base_url=server.base_url)
        yield save_model_config(
            ModelConfig(ai_provider=save_provider(row), model="fake-model", context_limit=LIMIT),
            prices=Prices(input=Decimal(1), output=Decimal(1)),
        )


@pytest.fixture
def chat(cast: Cast, model: ModelConfig) -> Chat:
    return pending_chat(cast.alice, cast.organization, model)


@pytest.fixture
def result() -> list[str]:
    """What the tool gives back, one after the other; the last one stays."""
    return ["x" * 400]


@pytest.fixture(autouse=True)
def _tool(result: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def count(invocation: ToolInvocation) -> ToolOutput:
        return ToolOutput(text=result.pop(0) if len(result) > 1 else result[0])

    @asynccontextmanager
    async def source(context: registry.TurnContext) -> AsyncIterator[list[Tool]]:
        spec = ToolSpec(name="count", description="", parameters={"type": "object"})
        yield [Tool(spec=spec, run=count)]

    monkeypatch.setattr(registry, "SOURCES", (source,))


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What is streamed of compactions, in order, with the messages that are there by then."""
    streamed: list[tuple[str, dict[str, Any]]] = []
    add = compaction.Position.writer

    def writer(self: Any, backend: Any) -> Any:
        made = add(self, backend)
        monkeypatch.setattr(made, "add", lambda role, part: streamed.append((role, part)))
        return made

    monkeypatch.setattr(compaction.Position, "writer", writer)
    return streamed


async def work(chat: Chat, runner_id: UUID) -> None:
    async with create_session() as session:
        taken = await in_database_thread(runs.acquire, chat.pk, runner_id, lease_seconds=600)
        assert taken is not None
        await TurnRunner(chat.pk, runner_id, live_backend(), session).run(taken)


def run_turn(chat: Chat) -> Status:
    try:
        asyncio.run(work(chat, uuid4()))
    finally:
        close_database_threads()
    check_chat(dump(chat.pk))
    return Status(Chat.objects.get(pk=chat.pk).status)


def threshold(model: ModelConfig, percent: int) -> None:
    model.compression_threshold = percent
    save_model_config(model)


def folded(chat: Chat) -> list[ChatMessage]:
    return list(chat.messages.filter(compressed=True).order_by("pk"))


def hidden_costs(chat: Chat) -> list[ChatMessage]:
    return list(chat.messages.filter(deleted=True).order_by("pk"))


def of_compaction(parts: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    return [
        (part["type"], "error" if part.get("is_error") else "ok")
        for _, part in parts
        if part.get("tool_name") == SUMMARY_TOOL
    ]


# a long conversation


def test_200_steps_in_a_small_context_never_overflow_and_come_to_an_end(
    chat: Chat, provider: Provider
) -> None:
    provider.steps = 200
    assert run_turn(chat) == Status.WAITING
    assert (len(provider.turns), provider.refused) == (201, 0)
    assert 5 < len(provider.summaries) < 50
    assert len(folded(chat)) == 3 * len(provider.summaries)
    assert chat.messages.filter(role=Role.TOOL, compressed=False).count() == 200
    kept = chat.messages.order_by("pk").values_list("deleted", flat=True)
    assert sum(kept) == len(provider.summaries), "nothing but the costs is hidden"
    for request in provider.turns[-3:]:
        asked = [message.content for message in request.messages if message.role == "user"]
        assert asked == [text_for_model(SUMMARY)]


def test_without_compaction_the_same_conversation_overflows(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    provider.steps = 200
    threshold(model, 100)
    assert run_turn(chat) == Status.ERROR
    assert provider.refused == 1


def test_history_that_is_cut_before_a_summary_goes_on_without_it(
    chat: Chat, provider: Provider
) -> None:
    provider.steps = 20
    run_turn(chat)
    assert folded(chat)
    asked = chat.messages.get(role=Role.USER, compressed=False)
    states.edit_message(chat.pk, asked.pk, user_content(chat.owner_id, "anew"))
    kept = [row for row in prompt_messages(chat.pk) if row.role != Role.SYSTEM]
    assert [row.content for row in kept] == [text("anew")]


def test_a_summary_is_nothing_that_people_can_edit(chat: Chat, provider: Provider) -> None:
    provider.steps = 20
    run_turn(chat)
    summary = folded(chat)[0]
    with pytest.raises(ChatdError) as refused:
        states.edit_message(chat.pk, summary.pk, user_content(chat.owner_id, "anew"))
    assert refused.value.code is ErrorCode.NOT_FOUND


def test_a_compaction_is_a_debug_run_of_its_own(
    chat: Chat, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(debug_logging.env, force_debug_logging=True)
    monkeypatch.setattr(debug_logging, "env", changed)
    provider.steps = 20
    assert run_turn(chat) == Status.WAITING
    assert debug_thread.settle(20)
    turn, *compactions = ChatDebugRun.objects.order_by("started_at")
    assert [turn.kind, *{run.kind for run in compactions}] == ["chat_turn", "compaction"]
    assert len(compactions) == len(provider.summaries)
    assert turn.steps.count() == 21
    assert {run.status for run in (turn, *compactions)} == {"completed"}
    asked = chat.messages.filter(role=Role.USER, compressed=False).get()
    for run in compactions:
        assert run.trigger_message_id == asked.pk < run.history_tip_message_id
        step = run.steps.get()
        assert step.normalized_response["content"][0]["text"].strip() == SUMMARY


def test_the_rows_of_a_compaction(chat: Chat, provider: Provider, model: ModelConfig) -> None:
    provider.steps = 20
    ChatMessage.objects.filter(chat=chat, role=Role.USER).update(api_key_id="key-id")
    run_turn(chat)
    hidden, call, shown = folded(chat)[:3]
    assert (hidden.role, hidden.visibility) == (Role.USER, "model")
    assert hidden.content == text(f"{PREFIX}\n\n{SUMMARY}")
    assert hidden.api_key_id == "key-id"
    assert (call.role, call.visibility) == (Role.ASSISTANT, "user")
    [asked], [answered] = call.content, shown.content
    call_id = asked["tool_call_id"]
    assert UUID(call_id.removeprefix("chat_summarized_"))
    assert (asked["type"], asked["tool_name"]) == ("tool-call", "chat_summarized")
    assert asked["args"] == {"source": "automatic", "threshold_percent": 70}
    assert (shown.role, shown.visibility) == (Role.TOOL, "both")
    assert (answered["type"], answered["tool_call_id"]) == ("tool-result", call_id)
    tokens = answered["result"]["context_tokens"]
    assert answered["result"] == {
        "summary": SUMMARY,
        "source": "automatic",
        "threshold_percent": 70,
        "usage_percent": tokens * 100 / LIMIT,
        "context_tokens": tokens,
        "context_limit_tokens": LIMIT,
    }
    assert 0.7 * LIMIT <= tokens < LIMIT
    assert {row.model_config_id for row in folded(chat)} == {model.pk}
    assert [row.revision for row in (hidden, call, shown)] == [hidden.revision] * 3


def test_the_summary_is_asked_for_without_a_stream_tools_or_options(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    model.options = {"temperature": 0.5}
    threshold(model, 0)
    run_turn(chat)
    body = provider.summaries[0].body
    assert (set(body), body["stream"]) == ({"model", "messages", "stream"}, False)
    assert [message.content for message in provider.summaries[0].messages] == [
        "You are a test.",
        "hello",
        "done",
        INSTRUCTION,
    ]


def test_what_the_summary_costs_is_spent_and_seen_by_nobody(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    threshold(model, 0)
    run_turn(chat)
    costs = hidden_costs(chat)
    assert [(row.total_cost_micros, row.content) for row in costs] == [(15, [])] * 4
    billed = chat.messages.exclude(total_cost_micros=None)
    spent = sum(billed.values_list("total_cost_micros", flat=True))
    assert SpendDay.objects.get(owner=chat.owner).micros == spent


# when


def test_after_the_last_word_the_model_goes_on_three_times_at_most(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    threshold(model, 0)
    assert run_turn(chat) == Status.WAITING
    assert (len(provider.turns), len(provider.summaries)) == (4, 4)
    assert [message.content for message in provider.turns[1].messages] == [
        "You are a test.",
        text_for_model(SUMMARY),
    ]


def test_a_turn_that_ends_with_a_compaction_is_labelled_by_what_was_said(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    threshold(model, 0)
    assert run_turn(chat) == Status.WAITING
    assert chat.messages.exclude(visibility=Visibility.MODEL).order_by("-pk")[1].compressed
    assert last_words(chat.pk) == "done"


@pytest.mark.parametrize(
    ("configured", "own", "summaries"),
    [
        (70, None, 0),
        (50, None, 4),
        (100, None, 0),
        (0, "100", 0),
        (100, "0", 4),
        (50, "nonsense", 4),
        (100, "101", 0),
    ],
)
def test_a_threshold_of_ones_own_goes_before_that_of_the_model(
    configured: int, own: str | None, summaries: int, chat: Chat, provider: Provider, model: Any
) -> None:
    provider.usage = LIMIT * 6 // 10
    threshold(model, configured)
    if own is not None:
        key = COMPACTION_THRESHOLD.of(model.pk).key
        UserSetting.objects.create(user=chat.owner, key=key, value=own)
    assert run_turn(chat) == Status.WAITING
    assert len(provider.summaries) == summaries


def test_a_result_that_does_not_fit_is_summarised_with_its_beginning(
    chat: Chat, provider: Provider, result: list[str]
) -> None:
    provider.steps = 2
    result[:] = ["y" * 8 * LIMIT, "fine"]
    assert run_turn(chat) == Status.WAITING
    assert (len(provider.summaries), provider.refused) == (1, 0)
    assert len(provider.turns) == 3
    kept = chat.messages.filter(role=Role.TOOL, compressed=False).earliest("pk")
    assert len(kept.content[0]["result"]["output"]) == 8 * LIMIT, "stored as it was"


def test_a_result_that_does_not_fit_and_cannot_be_summarised_ends_the_turn(
    chat: Chat, provider: Provider, result: list[str]
) -> None:
    provider.steps = 1000
    result[:] = ["y" * 8 * LIMIT]
    provider.summarise = faults.http_error(500)
    assert run_turn(chat) == Status.ERROR
    assert Chat.objects.get(pk=chat.pk).last_error["kind"] == "config"
    assert len(provider.turns) == 1


def test_calls_of_the_client_are_answered_before_history_is_summarised(
    cast: Cast, model: ModelConfig, provider: Provider
) -> None:
    tool = {**CLIENT_TOOL, "name": "ask"}
    chat = pending_chat(cast.alice, cast.organization, model, dynamic_tools=[tool])
    threshold(model, 0)
    count = provider.__call__

    def ask(request: OpenAIRequest) -> Any:
        if provider.turns or not request.stream:
            return count(request)
        provider.turns.append(request)
        call = tool_call_chunk("ask", "{}", call_id="call-1")
        return streaming_response(call, finish_chunk("tool_calls"), usage_chunk(9, 9))

    with OpenAIServer(ask) as server:
        AIProvider.objects.update(base_url=server.base_url)
        assert run_turn(chat) == Status.REQUIRES_ACTION
        assert folded(chat) == []
        chat.refresh_from_db()
        [call] = open_client_calls(chat)
        yes = ToolResultPart(tool_call_id=call["tool_call_id"], result={"yes": True})
        states.submit_tool_results(chat.pk, [yes], submitted_by=cast.alice.pk)
        assert run_turn(chat) == Status.WAITING
    assert len(folded(chat)) == 3 * len(provider.summaries) == 15
    assert "yes" in provider.summaries[0].raw.decode()


# failures


@pytest.mark.parametrize("words", ["", " \n "])
def test_an_empty_summary_is_paid_for_tried_once_more_and_leaves_the_history_alone(
    words: str, chat: Chat, provider: Provider, model: ModelConfig, parts: list[Any]
) -> None:
    threshold(model, 0)
    provider.summarise = lambda request: OpenAIResponse(completion=OpenAICompletion(text=words))
    assert run_turn(chat) == Status.WAITING
    assert folded(chat) == []
    assert [row.total_cost_micros for row in hidden_costs(chat)] == [15, 15]
    assert of_compaction(parts) == [("tool-call", "ok"), ("tool-result", "error")] * 2
    assert (len(provider.turns), len(provider.summaries)) == (1, 2)


@pytest.mark.parametrize("failure", [faults.http_error(503), faults.hang()])
def test_a_failed_call_is_tried_once_more_after_the_last_word(
    failure: OpenAIHandler,
    chat: Chat,
    provider: Provider,
    model: ModelConfig,
    parts: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "SUMMARY_SECONDS", 0.5)
    threshold(model, 0)
    provider.summarise = failure
    assert run_turn(chat) == Status.WAITING
    assert (folded(chat), hidden_costs(chat)) == ([], [])
    assert (len(provider.turns), len(provider.summaries)) == (1, 2)
    assert of_compaction(parts) == [("tool-call", "ok")] * 2


@pytest.mark.parametrize(
    ("summarise", "counted"),
    [
        (None, "success"),
        (faults.http_error(503), "error"),
        (lambda request: OpenAIResponse(completion=OpenAICompletion(text=" ")), "error"),
        (faults.hang(), "timeout"),
    ],
    ids=["made", "refused", "empty", "late"],
)
def test_what_came_of_a_compaction_is_counted(
    summarise: OpenAIHandler | None,
    counted: str,
    chat: Chat,
    provider: Provider,
    model: ModelConfig,
    exposed: Callable[[], Exposition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "SUMMARY_SECONDS", 0.5 if counted == "timeout" else 90.0)
    threshold(model, 0)
    provider.summarise = summarise or provider.summarise
    before = exposed()
    assert run_turn(chat) == Status.WAITING
    after = exposed()
    names = {"provider": "openai-compat", "model": "fake-model"}
    grown = {
        result: after.value(COUNTED, **names, result=result)
        - before.value(COUNTED, **names, result=result)
        for result in ("success", "error", "timeout")
    }
    assert grown == {"success": 0, "error": 0, "timeout": 0} | {counted: len(provider.summaries)}
    assert provider.summaries


def test_the_second_try_may_succeed(chat: Chat, provider: Provider, model: ModelConfig) -> None:
    threshold(model, 50)
    provider.usage = LIMIT
    summarise = provider.summarise

    def second_time(request: OpenAIRequest) -> Any:
        provider.usage = 1
        once = len(provider.summaries) == 1
        return faults.http_error(500)(request) if once else summarise(request)

    provider.summarise = second_time
    assert run_turn(chat) == Status.WAITING
    assert (len(provider.turns), len(provider.summaries), len(folded(chat))) == (2, 2, 3)


def test_between_steps_a_failure_is_not_tried_again_before_the_next_step(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    threshold(model, 0)
    provider.steps = 3
    provider.summarise = faults.http_error(500)
    assert run_turn(chat) == Status.WAITING
    assert (len(provider.turns), len(provider.summaries)) == (4, 3 + 2)


def test_a_summary_that_cannot_be_stored_is_an_error_and_the_turn_goes_on(
    chat: Chat,
    provider: Provider,
    model: ModelConfig,
    parts: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(runs, "compact", broken)
    threshold(model, 0)
    provider.steps = 1
    assert run_turn(chat) == Status.WAITING
    assert folded(chat) == []
    assert of_compaction(parts) == [("tool-call", "ok"), ("tool-result", "error")] * 3
    assert len(provider.turns) == 2


# a turn that is stopped, and one that is taken over


def test_a_turn_that_is_stopped_in_the_middle_of_a_summary_stores_nothing_of_it(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    asked = threading.Event()
    hang = faults.hang()

    def hold(request: OpenAIRequest) -> Any:
        asked.set()
        return hang(request)

    provider.summarise = hold
    threshold(model, 0)
    runner_id = uuid4()

    async def stopped() -> None:
        task = asyncio.create_task(work(chat, runner_id))
        assert await asyncio.to_thread(asked.wait, 20)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(stopped())
    finally:
        close_database_threads()
    assert runs.release(chat.pk, runner_id)
    assert (folded(chat), hidden_costs(chat)) == ([], [])

    provider.summarise = Provider().summarise
    model.compression_threshold = 70
    save_model_config(model)
    assert run_turn(chat) == Status.WAITING
    assert len(provider.turns) == 1, "the model has had its last word"


def test_whoever_takes_a_turn_over_summarises_what_the_lost_runner_could_not(
    chat: Chat, provider: Provider
) -> None:
    runner_id = uuid4()
    taken = runs.acquire(chat.pk, runner_id, lease_seconds=600)
    assert taken is not None
    usage = StepUsage(input_tokens=LIMIT * 8 // 10, context_limit=LIMIT)
    runs.commit_step(fence_of(taken), [replace(answer(words="the last word"), usage=usage)])
    assert runs.release(chat.pk, runner_id)
    assert run_turn(chat) == Status.WAITING
    assert len(folded(chat)) == 3
    assert provider.summaries[0].messages[-2].content == "the last word"
    assert [message.content for message in provider.turns[0].messages][1:] == [
        text_for_model(SUMMARY)
    ]


def test_a_message_of_a_person_is_never_summarised_before_it_was_answered(
    chat: Chat, provider: Provider, model: ModelConfig
) -> None:
    threshold(model, 50)
    provider.usage = LIMIT
    provider.summarise = faults.http_error(500)
    run_turn(chat)
    states.send_message(chat.pk, user_content(chat.owner_id, "and now?"))
    asked = len(provider.summaries)
    run_turn(chat)
    assert provider.turns[-1].messages[-1].content == "and now?"
    assert len(provider.summaries) == asked + 2, "after the answer alone"


# pure functions


@pytest.mark.parametrize(
    ("own", "configured", "expected"),
    [(None, 70, 70), (0, 70, 0), (100, 70, 100), (55, 100, 55), (None, 101, 70), (None, -1, 70)],
)
def test_the_threshold_that_counts(own: int | None, configured: int, expected: int) -> None:
    assert threshold_percent(own, configured) == expected


@pytest.mark.parametrize(
    ("tokens", "limit", "added", "percent", "expected"),
    [
        (69, 100, 0, 70, False),
        (70, 100, 0, 70, True),
        (699, 1000, 0, 70, False),
        (1, 100, 0, 0, True),
        (1000, 100, 0, 100, False),
        (0, 100, 0, 0, False),
        (50, 0, 0, 0, False),
        (50, 100, 50, 70, False),
        (50, 100, 51, 70, True),
        (50, 100, 51, 100, False),
        (99, 100, 0, 99, True),
    ],
)
def test_when_history_is_due(
    tokens: int, limit: int, added: int, percent: int, expected: bool
) -> None:
    assert is_due(LastStep(tokens=tokens, limit=limit, added=added), percent) is expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (StepUsage(input_tokens=1, cache_read_tokens=2, cache_creation_tokens=4), 7),
        (StepUsage(input_tokens=1, total_tokens=9), 1),
        (StepUsage(total_tokens=9), 9),
        (StepUsage(input_tokens=0, cache_read_tokens=0, total_tokens=9), 9),
        (StepUsage(), 0),
    ],
)
def test_what_a_call_has_read(usage: StepUsage, expected: int) -> None:
    assert context_tokens(usage) == expected


def tool_message(*outputs: str) -> ToolMessage:
    return ToolMessage(
        results=tuple(ToolResultBlock(call_id="c", name="t", output=each) for each in outputs)
    )


def test_the_longest_results_are_cut_until_a_prompt_fits() -> None:
    short, long = "a" * 300, "b" * 10_000
    messages = [tool_message(short), tool_message(long, short)]
    assert summary_prompt(messages)[:-1] == tuple(messages)
    first, second, _ = summary_prompt(messages, excess_tokens=2000)
    assert first == messages[0]
    assert isinstance(second, ToolMessage)
    cut, kept = second.results
    assert cut.output.startswith("b" * 1250)
    assert len(cut.output) < 2000
    assert kept.output == short


def test_a_summary_without_end_takes_half_of_the_context() -> None:
    cut = cleaned_summary(" " + "s" * 1000, context_limit=100)
    assert cut.startswith("s" * 200)
    assert len(cut) < 250
    assert cleaned_summary(" s\n", context_limit=100) == "s"
    assert len(cleaned_summary("s" * 10**6, context_limit=10**6)) < 10**6
