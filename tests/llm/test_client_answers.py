"""Calls without a stream, against real servers on loopback."""

import asyncio
import time

import orjson
import pytest
from aiohttp import web

from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAICompletion,
    OpenAIResponse,
    OpenAIServer,
    non_streaming_response,
)
from chatd.llm.client import MAX_ANSWER_BYTES, complete, create_session
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    FinishReason,
    OutputSchema,
    Provider,
    Request,
    TextBlock,
    Usage,
    UserMessage,
)

KEY = "sk-very-secret"
HI = (UserMessage(blocks=(TextBlock(text="Hi"),)),)
SCHEMA = OutputSchema(name="an_answer", schema={"type": "object"})


def provider(base_url, **fields):
    return Provider(**{"kind": "openai-compat", "base_url": base_url, "api_key": KEY, **fields})


def body(document):
    """Answer every request with these bytes, or with this JSON."""
    raw = document if isinstance(document, bytes) else orjson.dumps(document)

    async def act(http):
        return web.Response(body=raw, content_type="application/json")

    return lambda request: OpenAIResponse(act=act)


async def answer_to(handler, *, seconds=10.0, **fields):
    request = Request(model="m", messages=HI, **fields)
    async with OpenAIServer(handler) as server:
        answer = await complete(request, provider(server.base_url), seconds=seconds)
    return answer, server.requests[0]


async def failure_of(handler, **options):
    with pytest.raises(LLMError) as caught:
        await answer_to(handler, **options)
    return caught.value


async def test_an_answer_has_its_text_its_usage_and_how_it_ended():
    completion = OpenAICompletion(text="Hello", id="c-1", prompt_tokens=7, completion_tokens=2)
    answer, _ = await answer_to(lambda request: OpenAIResponse(completion=completion))
    assert (answer.text, answer.reason, answer.response_id) == ("Hello", FinishReason.STOP, "c-1")
    assert (answer.usage.input, answer.usage.output, answer.usage.total) == (7, 2, 9)


async def test_the_request_asks_for_no_stream_and_names_no_stream_options():
    _, request = await answer_to(lambda request: non_streaming_response("x"), max_output_tokens=9)
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "max_tokens": 9,
    }
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Authorization"] == f"Bearer {KEY}"


async def test_a_schema_of_the_answer_is_sent_as_response_format():
    _, request = await answer_to(lambda request: non_streaming_response("x"), output=SCHEMA)
    assert request.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "an_answer", "schema": {"type": "object"}, "strict": True},
    }


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "plain"}, "plain"),
        (
            {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]},
            "in parts",
        ),
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": None}, ""),
        ({"content": 5}, ""),
        (None, ""),
    ],
)
async def test_the_text_is_found_in_every_dialect(message, text):
    answer, _ = await answer_to(body({"choices": [{"message": message}]}))
    assert (answer.text, answer.reason, answer.usage) == (text, FinishReason.UNKNOWN, None)


async def test_an_answer_without_choices_is_an_empty_one_that_still_counts_tokens():
    answer, _ = await answer_to(body({"choices": [], "usage": {"prompt_tokens": 3}}))
    assert (answer.text, answer.usage.input) == ("", 3)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>no</html>",
        b"[]",
        b'{"choices":',
        b"{}",
        b'{"choices": 5}',
        b"[" * 100_000,
        b'{"choices":[{"message":{"content":"\xff"}}]}',
    ],
)
async def test_what_is_no_answer_is_an_error_that_is_not_tried_again(raw):
    failure = await failure_of(body(raw))
    assert failure.kind is ErrorKind.GENERIC
    assert not failure.retryable
    assert failure.message == "OpenAI Compatible sent an answer that cannot be read."


async def test_an_answer_without_end_is_given_up_at_a_bound():
    failure = await failure_of(body(b" " * (MAX_ANSWER_BYTES + 1)))
    assert failure.detail == f"The answer is larger than {MAX_ANSWER_BYTES} bytes."


async def test_an_error_that_comes_with_status_200_is_an_error():
    failure = await failure_of(body({"error": {"message": "overloaded", "code": 529}}))
    assert (failure.kind, failure.retryable) == (ErrorKind.OVERLOADED, True)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (401, ErrorKind.AUTH, False),
        (400, ErrorKind.GENERIC, False),
        (429, ErrorKind.RATE_LIMIT, True),
        (500, ErrorKind.GENERIC, True),
    ],
)
async def test_a_refusal_is_classified_as_that_of_a_stream_is(status, kind, retryable):
    refusal = {"error": {"message": f"no, {KEY} will not do"}}
    failure = await failure_of(faults.http_error(status, refusal, {"Retry-After": "3"}))
    assert (failure.kind, failure.retryable, failure.status_code) == (kind, retryable, status)
    assert failure.retry_after_seconds == 3
    assert failure.detail == "no, [redacted] will not do"


async def test_a_closed_port_is_an_error_worth_trying_again():
    with faults.refuse() as closed, pytest.raises(LLMError) as caught:
        await complete(Request(model="m", messages=HI), provider(closed), seconds=60)
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.TIMEOUT, True)


@pytest.mark.parametrize("after_headers", [False, True])
async def test_a_silent_provider_is_waited_for_no_longer_than_was_said(after_headers):
    started = time.monotonic()
    failure = await failure_of(faults.hang(after_headers=after_headers), seconds=0.1)
    assert failure.kind is ErrorKind.STARTUP_TIMEOUT
    assert time.monotonic() - started < 30


async def test_cancelling_drops_the_connection():
    reached = asyncio.Event()

    async def act(http):
        reached.set()
        await asyncio.Event().wait()

    async with OpenAIServer(lambda request: OpenAIResponse(act=act)) as server:
        request = Request(model="m", messages=HI)
        waiting = asyncio.ensure_future(complete(request, provider(server.base_url), seconds=60))
        await reached.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await server.disconnected()


async def test_a_session_that_was_given_serves_the_next_call_too():
    request = Request(model="m", messages=HI)
    async with (
        OpenAIServer(lambda request: non_streaming_response("x")) as server,
        create_session() as session,
    ):
        for _ in range(2):
            await complete(request, provider(server.base_url), seconds=10, session=session)
        assert not session.closed
        assert len(session.connector._conns) == 1


async def test_an_older_fake_of_the_responses_api_answers_in_one_piece():
    async with OpenAIServer(lambda request: non_streaming_response("Hello")) as server:
        target = Provider(kind="openai", base_url=server.base_url)
        request = Request(model="gpt-4", messages=())
        found = await complete(request, target, seconds=5)
    assert (found.text, found.reason) == ("Hello", FinishReason.STOP)
    assert found.usage == Usage(input=10, output=5, total=15)
