"""The transport against real servers on loopback."""

import asyncio
import json
import logging
import socket
from contextlib import aclosing

import aiohttp
import aiohttp.abc
import pytest

from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAIServer,
    finish_chunk,
    reasoning_chunk,
    streaming_response,
    text_chunks,
    tool_call_chunk,
    usage_chunk,
)
from chatd.llm.client import create_session, stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Finish,
    FinishReason,
    Provider,
    ReasoningDelta,
    ReasoningEnd,
    Request,
    TextBlock,
    TextDelta,
    ToolCall,
    UserMessage,
)
from chatd.llm.user_agent import user_agent

KEY = "sk-very-secret"
REQUEST = Request(model="m", messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),))


def provider(base_url, **fields):
    return Provider(**{"kind": "openai-compat", "base_url": base_url, "api_key": KEY, **fields})


async def collect(base_url, request=REQUEST, **options):
    return [event async for event in stream(request, provider(base_url), **options)]


async def failure_of(handler, **options):
    async with OpenAIServer(handler) as server:
        with pytest.raises(LLMError) as caught:
            await collect(server.base_url, **options)
    return caught.value


def gate_after(delta, gate):
    async def chunks():
        yield text_chunks(delta)[0]
        await gate.wait()

    return lambda request: streaming_response(chunks())


async def test_a_whole_answer_arrives_as_events_that_end_with_one_finish():
    def handler(request):
        return streaming_response(
            reasoning_chunk("hm"),
            text_chunks("Hel", "lo"),
            tool_call_chunk("add", '{"a":1}', call_id="c1"),
            finish_chunk("stop"),
            usage_chunk(10, 5, cached=4, reasoning=2),
        )

    async with OpenAIServer(handler) as server:
        events = await collect(server.base_url)
    assert events[0] == ReasoningDelta(text="hm")
    assert isinstance(events[1], ReasoningEnd)
    assert events[2:4] == [TextDelta(text="Hel"), TextDelta(text="lo")]
    assert events[-2] == ToolCall(id="c1", name="add", arguments='{"a":1}')
    assert events[-1].reason is FinishReason.TOOL_CALLS
    assert (events[-1].usage.input, events[-1].usage.cache_read) == (6, 4)


async def test_the_request_has_the_address_and_headers_a_provider_expects():
    async with OpenAIServer(lambda request: streaming_response(text_chunks("x"))) as server:
        target = provider(server.base_url + "/", headers={"X-Chat": "7"})
        assert [event async for event in stream(REQUEST, target)]
        keyless = provider(server.base_url, api_key="")
        assert [event async for event in stream(REQUEST, keyless)]
    first, second = server.requests
    assert first.path == "/chat/completions"
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert first.headers["User-Agent"] == user_agent()
    assert first.headers["X-Chat"] == "7"
    assert json.loads(first.raw)["stream_options"] == {"include_usage": True}
    assert "Authorization" not in second.headers


async def test_each_delta_is_given_before_the_next_one_is_sent():
    gate = asyncio.Event()
    async with OpenAIServer(gate_after("first", gate)) as server:
        events = stream(REQUEST, provider(server.base_url))
        assert await anext(events) == TextDelta(text="first")
        gate.set()
        assert isinstance(await anext(events), Finish)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_leaving_early_drops_the_connection_at_once():
    async with (
        OpenAIServer(gate_after("first", asyncio.Event())) as server,
        create_session() as own,
    ):
        for count, session in enumerate([None, own], start=1):
            target = provider(server.base_url)
            async with aclosing(stream(REQUEST, target, session=session)) as events:
                await anext(events)
            assert await server.disconnected(count)


async def test_cancelling_drops_the_connection_and_stays_a_cancellation():
    async with OpenAIServer(gate_after("first", asyncio.Event())) as server:
        started = asyncio.Event()

        async def consume():
            async for _ in stream(REQUEST, provider(server.base_url)):
                started.set()

        task = asyncio.create_task(consume())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await server.disconnected()


async def test_a_given_session_is_used_and_left_open():
    async with (
        OpenAIServer(lambda request: streaming_response(text_chunks("x"))) as server,
        create_session() as session,
    ):
        for _ in range(3):
            assert await collect(server.base_url, session=session)
        assert not session.closed


@pytest.mark.parametrize("after_headers", [False, True])
async def test_silence_ends_the_call(after_headers):
    async with OpenAIServer(faults.hang(after_headers=after_headers)) as server:
        with pytest.raises(LLMError) as caught:
            await collect(server.base_url, silence_seconds=0.5)
        assert await server.disconnected()
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.STARTUP_TIMEOUT, True)
    assert caught.value.message == "OpenAI Compatible did not start responding in time."


async def test_silence_after_some_text_ends_the_call_too():
    error = await failure_of(gate_after("first", asyncio.Event()), silence_seconds=0.05)
    assert error.kind is ErrorKind.STARTUP_TIMEOUT


async def test_keep_alive_comments_do_not_hide_silence():
    async def comments():
        while True:
            yield b": still here\n\n"
            await asyncio.sleep(0.005)

    error = await failure_of(lambda request: streaming_response(comments()), silence_seconds=0.05)
    assert error.kind is ErrorKind.STARTUP_TIMEOUT


async def test_a_slow_consumer_is_not_the_providers_silence(monkeypatch):
    gate, loop = asyncio.Event(), asyncio.get_running_loop()
    real_time = loop.time
    async with OpenAIServer(gate_after("first", gate)) as server:
        events = stream(REQUEST, provider(server.base_url), silence_seconds=600)
        await anext(events)
        monkeypatch.setattr(loop, "time", lambda: real_time() + 601)
        gate.set()
        assert isinstance(await anext(events), Finish)
        await events.aclose()


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (302, ErrorKind.GENERIC, False),
        (401, ErrorKind.AUTH, False),
        (404, ErrorKind.GENERIC, False),
        (429, ErrorKind.RATE_LIMIT, True),
        (500, ErrorKind.GENERIC, True),
        (503, ErrorKind.TIMEOUT, True),
        (529, ErrorKind.OVERLOADED, True),
    ],
)
async def test_http_errors_become_typed_errors(status, kind, retryable):
    body = {"error": {"message": f"key {KEY} is bad"}}
    headers = {"Retry-After": "2", "Location": "/elsewhere"}
    error = await failure_of(faults.http_error(status, body, headers))
    assert (error.kind, error.retryable, error.status_code) == (kind, retryable, status)
    assert error.detail == "key [redacted] is bad"
    assert error.retry_after_seconds == 2.0


async def test_only_the_beginning_of_a_huge_error_body_is_read():
    error = await failure_of(faults.http_error(500, "x" * 5_000_000))
    assert (error.status_code, error.detail) == (500, "")


CUT_ERROR = b'HTTP/1.1 401 No\r\nContent-Length: 90\r\n\r\n{"error":'


@pytest.mark.parametrize(
    "handler",
    [
        faults.garbage(),
        faults.garbage(content_type="text/html"),
        faults.close_midway(2, clean=True),
        faults.close_midway(0, clean=True),
        faults.http_error(200, "<html>Welcome</html>"),
        faults.http_error(200, b"\x00\xff" * 5000),
        faults.http_error(204),
    ],
)
async def test_answers_that_end_too_early_are_retryable_timeouts(handler):
    error = await failure_of(handler)
    assert (error.kind, error.retryable) == (ErrorKind.TIMEOUT, True)
    assert error.message == (
        "OpenAI Compatible stream closed unexpectedly before the response completed."
    )


@pytest.mark.parametrize(
    "handler",
    [
        faults.hang_up(),
        faults.hang_up(reset=True),
        faults.talk(b"HTTP/1.1 200 OK\r\nContent-"),
        faults.close_midway(0),
        faults.close_midway(2),
        faults.close_midway(2, reset=True),
    ],
)
async def test_connections_that_break_are_retryable_timeouts(handler):
    error = await failure_of(handler)
    assert (error.kind, error.retryable) == (ErrorKind.TIMEOUT, True)
    assert error.message == "OpenAI Compatible is temporarily unavailable."


async def test_a_server_that_does_not_speak_http_is_not_asked_again():
    error = await failure_of(faults.talk(b"220 mail.example ESMTP\r\n"))
    assert (error.kind, error.retryable, error.status_code) == (ErrorKind.GENERIC, False, 0)
    assert error.message == "The chat request failed unexpectedly."


async def test_a_status_counts_although_its_body_breaks_off():
    error = await failure_of(faults.talk(CUT_ERROR))
    assert (error.kind, error.status_code, error.detail) == (ErrorKind.AUTH, 401, "")


async def test_a_cancellation_that_nobody_asked_for_is_a_retryable_timeout():
    class Cancelling(aiohttp.abc.AbstractResolver):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            raise asyncio.CancelledError

        async def close(self):
            pass

    connector = aiohttp.TCPConnector(resolver=Cancelling())
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(LLMError) as caught:
            await collect("http://nowhere.invalid", session=session)
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.TIMEOUT, True)
    assert caught.value.message == "OpenAI Compatible is temporarily unavailable."


async def test_headers_are_no_sign_of_life(monkeypatch):
    loop = asyncio.get_running_loop()
    real_time = loop.time

    async def let_time_pass(session, context, params):
        monkeypatch.setattr(loop, "time", lambda: real_time() + 601)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(let_time_pass)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        OpenAIServer(faults.hang(after_headers=True)) as server,
    ):
        with pytest.raises(LLMError) as caught:
            await collect(server.base_url, session=session, silence_seconds=600)
    assert caught.value.kind is ErrorKind.STARTUP_TIMEOUT


async def test_text_before_a_break_is_given():
    async with OpenAIServer(faults.close_midway(["a", "b"])) as server:
        seen = []
        with pytest.raises(LLMError):
            async for event in stream(REQUEST, provider(server.base_url)):
                seen.append(event)  # noqa: PERF401 - what came before the error counts
    assert seen == [TextDelta(text="a"), TextDelta(text="b")]


async def test_a_cut_after_the_finish_reason_is_a_complete_answer():
    async def chunks():
        yield finish_chunk("stop")
        raise ConnectionResetError

    async with OpenAIServer(lambda request: streaming_response(chunks())) as server:
        events = await collect(server.base_url)
    assert events[-1].reason is FinishReason.STOP


async def test_a_json_error_with_status_200_is_classified():
    error = await failure_of(faults.http_error(200, {"error": {"message": "invalid model"}}))
    assert error.kind is ErrorKind.CONFIG


async def test_a_slow_stream_is_complete():
    async with OpenAIServer(faults.slow(["a", "b"], 0.01)) as server:
        assert len(await collect(server.base_url)) == 3


async def test_a_closed_port_is_a_retryable_timeout():
    with faults.refuse() as closed, pytest.raises(LLMError) as caught:
        await collect(closed)
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.TIMEOUT, True)
    assert caught.value.message == "OpenAI Compatible is temporarily unavailable."


class NoNames(aiohttp.abc.AbstractResolver):
    async def resolve(self, host, port=0, family=socket.AF_INET):
        raise OSError(None, "no such name")

    async def close(self):
        pass


async def test_an_unknown_host_is_a_retryable_timeout():
    connector = aiohttp.TCPConnector(resolver=NoNames())
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(LLMError) as caught:
            await collect("http://nowhere.invalid", session=session)
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.TIMEOUT, True)


async def test_speaking_tls_to_a_plain_port_is_a_retryable_timeout():
    async with OpenAIServer(faults.hang()) as server:
        with pytest.raises(LLMError) as caught:
            await collect(server.base_url.replace("http:", "https:"))
    assert caught.value.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("base_url", ["", "not a url", "ftp://x", "http://user:pw@"])
async def test_an_unusable_address_is_a_typed_error(base_url):
    with pytest.raises(LLMError) as caught:
        await collect(base_url)
    assert not caught.value.retryable
    assert "pw" not in caught.value.detail


async def test_a_request_that_is_no_json_is_a_typed_error():
    bad = Request(model="m", messages=(UserMessage(blocks=(TextBlock(text="\ud800"),)),))
    with pytest.raises(LLMError) as caught:
        await collect("http://127.0.0.1:1", bad)
    assert caught.value.kind is ErrorKind.GENERIC


@pytest.mark.parametrize("key", [KEY, "sk-line\nbreak", "sk-ünï"])
async def test_the_key_appears_in_no_text_of_a_failure(key, caplog):
    caplog.set_level(logging.DEBUG)
    async with OpenAIServer(faults.http_error(401, f"bad key {key}")) as server:
        target = provider(server.base_url, api_key=key)
        with pytest.raises(LLMError) as caught:
            await anext(stream(REQUEST, target))
    error = caught.value
    chain = f"{error!r}{error}{error.detail}{error.__cause__!r}{error.__context__!r}"
    assert key not in chain + repr(target) + caplog.text


async def test_no_chained_exception_holds_the_headers():
    async with OpenAIServer(faults.close_midway(1)) as server:
        with pytest.raises(LLMError) as caught:
            await collect(server.base_url)
    cause = caught.value
    while cause is not None:
        assert not isinstance(cause, aiohttp.ClientError)
        cause = cause.__context__


async def test_an_older_fake_of_the_responses_api_that_only_says_text_is_understood():
    def handler(request):
        return streaming_response(*text_chunks("Hel", "lo"))

    async with OpenAIServer(handler) as server:
        target = provider(server.base_url, kind="openai")
        request = Request(model="gpt-4", messages=REQUEST.messages)
        events = [event async for event in stream(request, target)]
    assert server.requests[0].path == "/responses"
    assert server.requests[0].messages[-1].content == "Hi"
    assert [event.text for event in events[:-1]] == ["Hel", "lo"]
    assert events[-1] == Finish(reason=FinishReason.STOP, usage=None)
