"""Answers of the Responses API that are stored, and sent again to a vendor that looks closely."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.chattest.responses import Asked, Refusal, ResponsesServer, in_order
from chatd.chattest.responses_wire import (
    CallTool,
    Citation,
    Output,
    Reply,
    Say,
    Search,
    Think,
    says,
)
from chatd.live.writer import PartWriter
from chatd.llm.client import complete, stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import OutputSchema, Provider, Request, ToolSpec
from chatd.turns.chain import unlinked
from chatd.turns.prompt import prompt_from
from chatd.turns.step import StepCollector, StepResult
from tests.support.prompts import result, row, text

TOOL = ToolSpec(name="find", description="Finds", parameters={"type": "object", "properties": {}})
STORED: dict[str, Any] = {"openai": {"web_search_enabled": True}}
NOT_STORED: dict[str, Any] = {"openai": {"web_search_enabled": True, "store": False}}
PNG = "iVBORw0KGgo="
ASKED = row(Role.USER, text("Go on"))


class NoWriter:
    """Streams to nobody."""

    def add(self, role: Role, part: Any) -> None:
        pass

    def end_block(self, role: Role, metadata: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer(lambda asked: says("ok")) as started:
        yield started


def provider(server: ResponsesServer) -> Provider:
    return Provider(kind="openai", base_url=server.base_url, api_key="k")


def request_of(rows: Sequence[PromptRow], options: Any, **fields: Any) -> Request:
    return Request(
        **{"model": "gpt-5", "tools": (TOOL,), **fields},
        messages=prompt_from(rows, {}),
        provider_options=options,
    )


def step(server: ResponsesServer, request: Request, *, events: int | None = None) -> StepResult:
    """Call the model as a turn does; `events` ends the call after so many."""

    async def go() -> StepResult:
        collector = StepCollector(cast("PartWriter", NoWriter()), context_limit=0)
        async with aclosing(stream(request, provider(server))) as found:
            number = 0
            async for event in found:
                if number == events:
                    break
                collector.add(event)
                number += 1
        return collector.result()

    return asyncio.run(go())


def rows_of(answered: StepResult) -> list[PromptRow]:
    """Return an answer and the results of its calls as they are stored."""
    if not answered.content:
        return []
    kept = row(Role.ASSISTANT, *answered.content, provider_response_id=answered.response_id)
    results = [
        row(Role.TOOL, result(part["tool_call_id"], {"data": PNG, "mime_type": "image/png"}))
        for part in answered.calls
    ]
    for each in results:
        assert each.content
        each.content[0]["is_media"] = True
    return [kept, *results]


def said_in(server: ResponsesServer, *replies: Reply | Refusal) -> None:
    server._answering = in_order(*replies)
    server.refused.clear()
    server.bodies.clear()


outputs = st.one_of(
    st.builds(Think, summary=st.lists(st.sampled_from(["hm", "ah"]), max_size=2)),
    st.builds(
        Say,
        deltas=st.lists(st.sampled_from(["a", "b "]), min_size=1, max_size=3),
        cites=st.lists(st.builds(Citation, url=st.just("https://a")), max_size=1),
    ),
    st.builds(CallTool, name=st.just("find"), arguments=st.just('{"q":1}')),
    st.builds(Search, query=st.just("x"), is_failed=st.booleans()),
)
# reasoning always leads to something, as the vendor has it
answers = st.lists(outputs, max_size=5).map(
    lambda made: [*made, Say(deltas=["so"])] if made and isinstance(made[-1], Think) else made
)


@settings(max_examples=60, deadline=None)
@given(
    made=st.lists(answers, min_size=1, max_size=3), options=st.sampled_from([STORED, NOT_STORED])
)
def test_whatever_was_answered_is_accepted_again(
    server: ResponsesServer, made: list[list[Output]], options: Any
) -> None:
    said_in(server, *(Reply(output=each) for each in made), says("done"))
    rows = [row(Role.SYSTEM, text("Be kind")), ASKED]
    for _ in made:
        rows += [*rows_of(step(server, request_of(rows, options))), ASKED]
    assert not is_refused(server, request_of(rows, options)), server.refused
    assert server.bodies[-1]["input"][-1]["role"] == "user"


@settings(max_examples=60, deadline=None)
@given(
    made=answers.filter(bool),
    events=st.integers(0, 12),
    options=st.sampled_from([STORED, NOT_STORED]),
)
def test_an_answer_that_was_interrupted_anywhere_is_accepted_again(
    server: ResponsesServer, made: list[Output], events: int, options: Any
) -> None:
    said_in(server, Reply(output=made, hangs=True), says("done"))
    rows = [ASKED, *rows_of(_interrupted(server, rows=[ASKED], events=events, options=options))]
    assert not is_refused(server, request_of([*rows, ASKED], options)), server.refused


def _interrupted(
    server: ResponsesServer, rows: list[PromptRow], events: int, options: Any
) -> StepResult:
    """Stop a call after some events, or once nothing comes any more."""
    collector = StepCollector(cast("PartWriter", NoWriter()), context_limit=0)
    request = request_of(rows, options)

    async def go() -> None:
        number = 0
        called = stream(request, provider(server), silence_seconds=0.15)
        async with aclosing(called) as found:
            async for event in found:
                if number == events:
                    return
                collector.add(event)
                number += 1

    with suppress(LLMError):  # the guard of silence
        asyncio.run(go())
    stopped = collector.result()
    assert stopped.response_id is None
    return stopped


@settings(max_examples=30, deadline=None)
@given(made=answers.filter(bool))
def test_what_was_forgotten_is_told_so_and_accepted_without_its_ids(
    server: ResponsesServer, made: list[Output]
) -> None:
    said_in(server, Reply(output=made), says("done"))
    rows = [ASKED, *rows_of(step(server, request_of([ASKED], STORED))), ASKED]
    server.forget()
    request = request_of(rows, STORED)
    assert is_refused(server, request) == any("id" in item for item in server.bodies[-1]["input"])
    server.refused.clear()
    assert step(server, unlinked(request)).content[0]["text"] == "done"
    assert server.refused == []


def is_refused(server: ResponsesServer, request: Request) -> bool:
    """Tell whether a call fails for what it refers to."""
    with suppress(LLMError):
        step(server, request)
        return False
    return True


def test_encrypted_reasoning_of_another_account_is_told_like_what_was_forgotten(
    server: ResponsesServer,
) -> None:
    said_in(server, Reply(output=[Think(), Say(deltas=["so"])]), says("done"))
    rows = [ASKED, *rows_of(step(server, request_of([ASKED], NOT_STORED))), ASKED]
    server.forget()
    with pytest.raises(LLMError) as caught:
        step(server, request_of(rows, NOT_STORED))
    assert caught.value.chain_broken
    step(server, unlinked(request_of(rows, NOT_STORED)))


@pytest.mark.parametrize("options", [STORED, NOT_STORED])
def test_reasoning_without_words_goes_back_with_what_came_of_it(
    server: ResponsesServer, options: Any
) -> None:
    call = CallTool(name="find", arguments="{}")
    said_in(server, Reply(output=[Think(), call]), says("done"))
    rows = [ASKED, *rows_of(step(server, request_of([ASKED], options)))]
    step(server, request_of(rows, options))
    kinds = [item.get("type", item.get("role")) for item in server.bodies[-1]["input"]]
    thought = "item_reference" if options is STORED else "reasoning"
    assert kinds == ["user", thought, "function_call", "function_call_output", "user"]


def test_a_response_goes_on_from_another_one(server: ResponsesServer) -> None:
    contexts: list[Asked] = []

    def answering(asked: Asked) -> Reply:
        contexts.append(asked)
        return says("done")

    server._answering = answering
    first = step(server, request_of([row(Role.USER, text("One"))], STORED))
    request = Request(
        model="gpt-5",
        messages=prompt_from([row(Role.USER, text("Two"))], {}),
        provider_options=STORED,
        previous_response_id=first.response_id,
    )
    step(server, request)
    roles = [item["role"] for item in contexts[-1].context]
    assert roles == ["user", "assistant", "user"]


def test_a_schema_is_answered_without_a_stream(server: ResponsesServer) -> None:
    output = OutputSchema(name="propose_title", schema={"type": "object"})
    request = request_of([ASKED], {}, output=output, tools=())
    found = asyncio.run(complete(request, provider(server), seconds=60))
    assert found.text == '{"title":"A title of the fake"}'
    assert found.response_id is None


# bodies: https://platform.openai.com/docs/guides/error-codes,
# Azure: https://learn.microsoft.com/azure/ai-services/openai/quotas-limits
REFUSALS = [
    (
        Refusal(
            status=429,
            body={
                "error": {
                    "message": "Rate limit reached for gpt-5 on tokens per min (TPM).",
                    "type": "tokens",
                    "param": None,
                    "code": "rate_limit_exceeded",
                }
            },
            headers={"retry-after-ms": "1500"},
        ),
        (ErrorKind.RATE_LIMIT, True, 1.5),
    ),
    (
        Refusal(
            status=429,
            body={
                "error": {
                    "message": "You exceeded your current quota, please check your plan.",
                    "type": "insufficient_quota",
                    "param": None,
                    "code": "insufficient_quota",
                }
            },
        ),
        (ErrorKind.USAGE_LIMIT, False, None),
    ),
    (
        Refusal(
            status=401,
            body={
                "error": {
                    "message": "Incorrect API key provided: k.",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "invalid_api_key",
                }
            },
        ),
        (ErrorKind.AUTH, False, None),
    ),
    (
        Refusal(
            status=404,
            body={
                "error": {
                    "code": "DeploymentNotFound",
                    "message": "The API deployment for this resource does not exist.",
                }
            },
        ),
        (ErrorKind.GENERIC, False, None),
    ),
    (
        Refusal(
            status=503,
            body={"error": {"message": "The engine is currently overloaded.", "type": "server"}},
            headers={"retry-after": "2"},
        ),
        (ErrorKind.OVERLOADED, True, 2.0),
    ),
]


@pytest.mark.parametrize(("refusal", "expected"), REFUSALS)
def test_refusals_of_the_vendor_mean_what_they_say(
    server: ResponsesServer, refusal: Refusal, expected: Any
) -> None:
    said_in(server, refusal)
    with pytest.raises(LLMError) as caught:
        step(server, request_of([ASKED], STORED))
    error = caught.value
    assert (error.kind, error.retryable, error.retry_after_seconds) == expected
    assert error.status_code == refusal.status


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (Reply(output=[Say(deltas=["Hel"])], cut=True), ErrorKind.TIMEOUT),
        (
            Reply(error_event={"code": "server_error", "message": "An error occurred."}),
            ErrorKind.GENERIC,
        ),
        (
            Reply(error={"code": "rate_limit_exceeded", "message": "Slow down"}),
            ErrorKind.RATE_LIMIT,
        ),
    ],
)
def test_a_stream_that_breaks_may_be_tried_again(
    server: ResponsesServer, broken: Reply, kind: ErrorKind
) -> None:
    said_in(server, broken, says("done"))
    with pytest.raises(LLMError) as caught:
        step(server, request_of([ASKED], STORED))
    assert (caught.value.kind, caught.value.retryable) == (kind, True)


@pytest.mark.parametrize(
    "body",
    [
        {"mystery": 1},
        {"temperature": 1.0},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
        {"input": [{"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"}]},
        {"input": [{"type": "item_reference", "id": "rs_unknown"}]},
        {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "made up"}]},
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
        {"previous_response_id": "resp_unknown"},
    ],
)
def test_the_vendor_looks_closely(server: ResponsesServer, body: dict[str, Any]) -> None:
    """The fake refuses what the vendor does: otherwise the tests above say nothing."""

    async def post() -> int:
        whole = {"model": "gpt-5", "input": [], **body}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.base_url}/responses", json=whole) as answered,
        ):
            return answered.status

    assert asyncio.run(post()) in (400, 404)
