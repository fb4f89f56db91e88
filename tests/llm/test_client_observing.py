"""What an observer is told of the HTTP calls of the model client."""

from contextlib import aclosing
from typing import Any

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAIServer,
    finish_chunk,
    non_streaming_response,
    streaming_response,
)
from chatd.llm.client import complete, stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.observing import CAPTURED_BYTES, AttemptStatus, HttpAttempt
from chatd.llm.types import Provider, Request, TextBlock, UserMessage
from tests.e2e.provider import answer, said

REQUEST = Request(model="m", messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),))


async def observed(handler: Any, *, streams: bool = True, events: int = 100) -> HttpAttempt:
    """Make one call, leave it after so many events, and return what was told of it."""
    told: list[HttpAttempt] = []
    with OpenAIServer(handler) as server:
        provider = Provider(kind="openai-compat", base_url=server.base_url, api_key="sk-key")
        failures = []
        try:
            if streams:
                async with aclosing(stream(REQUEST, provider, observer=told.append)) as found:
                    async for _ in found:
                        events -= 1
                        if not events:
                            break
            else:
                await complete(REQUEST, provider, seconds=10, observer=told.append)
        except LLMError as error:
            failures.append(error)
    [attempt] = told
    assert [attempt.error] == (failures or [None])
    assert attempt.url == f"{server.base_url}/chat/completions"
    assert (attempt.method, attempt.path) == ("POST", "/chat/completions")
    assert attempt.request_headers["Authorization"] == "Bearer sk-key"
    assert attempt.request_body == server.requests[0].raw
    assert attempt.duration_seconds > 0
    assert "sk-key" not in repr(attempt)
    return attempt


async def test_a_stream_is_told_with_all_that_came() -> None:
    attempt = await observed(answer("Hello ", "there"))
    assert (attempt.status, attempt.response_status) == (AttemptStatus.COMPLETED, 200)
    assert attempt.response_headers["Content-Type"].startswith("text/event-stream")
    assert b"Hello " in attempt.response_body
    assert b'"finish_reason"' in attempt.response_body
    assert attempt.response_bytes >= len(attempt.response_body)


async def test_an_answer_without_a_stream_is_told() -> None:
    attempt = await observed(lambda request: non_streaming_response("Named"), streams=False)
    assert (attempt.status, attempt.response_status) == (AttemptStatus.COMPLETED, 200)
    assert b"Named" in attempt.response_body


@pytest.mark.parametrize("streams", [True, False])
async def test_a_refusal_is_told_with_its_words(streams: bool) -> None:
    refusal = faults.http_error(429, {"error": {"message": "slow down"}}, {"Retry-After": "3"})
    attempt = await observed(refusal, streams=streams)
    assert (attempt.status, attempt.response_status) == (AttemptStatus.ERROR, 429)
    assert attempt.response_headers["Retry-After"] == "3"
    assert b"slow down" in attempt.response_body
    assert attempt.error is not None
    assert attempt.error.kind is ErrorKind.RATE_LIMIT


async def test_a_server_that_hangs_up_is_told_without_an_answer() -> None:
    attempt = await observed(faults.hang_up())
    assert (attempt.status, attempt.response_status) == (AttemptStatus.ERROR, 0)
    assert attempt.response_body == b""


async def test_a_call_that_is_left_early_was_interrupted() -> None:
    attempt = await observed(answer("one", "two"), events=1)
    assert attempt.status is AttemptStatus.INTERRUPTED
    assert attempt.error is None


async def test_of_a_long_stream_the_beginning_is_kept_and_the_rest_counted() -> None:
    delta = "x" * 10_000

    def long(request: Any) -> Any:
        return streaming_response(*[said(delta)] * 60, finish_chunk())

    attempt = await observed(long)
    assert attempt.response_bytes > 600_000
    assert CAPTURED_BYTES <= len(attempt.response_body) < 400_000
