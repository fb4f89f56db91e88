"""Providers that misbehave, as handlers for `OpenAIServer`.

Belongs here: one function per way to fail. Does not belong here: well-behaved answers.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from aiohttp import web

from chatd.chattest.openai import (
    Chunk,
    OpenAIHandler,
    OpenAIRequest,
    OpenAIResponse,
    chat_event,
    streaming_response,
    text_chunks,
)


def http_error(
    status: int,
    body: str | bytes | Mapping[str, Any] = "",
    headers: Mapping[str, str] | None = None,
) -> OpenAIHandler:
    """Answer every request with an HTTP error; a mapping becomes a JSON body."""
    is_json = isinstance(body, Mapping)
    raw = orjson.dumps(dict(body)) if isinstance(body, Mapping) else body
    raw = raw.encode() if isinstance(raw, str) else raw

    async def act(http: web.Request) -> web.StreamResponse:
        kind = {"Content-Type": "application/json" if is_json else "text/plain"}
        return web.Response(status=status, body=raw, headers={**kind, **(headers or {})})

    return _always(act)


def hang(*, after_headers: bool = False) -> OpenAIHandler:
    """Never answer; with `after_headers` send status 200 first and then nothing."""

    async def act(http: web.Request) -> web.StreamResponse:
        stream = _event_stream()
        if after_headers:
            await stream.prepare(http)
        await asyncio.Event().wait()
        return stream

    return _always(act)


def garbage(*, content_type: str = "text/event-stream", seed: int = 0) -> OpenAIHandler:
    """Answer 200 with lines that are no JSON, the same ones for the same seed."""
    noise = random.Random(seed)

    async def act(http: web.Request) -> web.StreamResponse:
        lines = [b"data: {" + noise.randbytes(20).hex().encode() + b"\n\n" for _ in range(5)]
        return web.Response(body=b"".join(lines), headers={"Content-Type": content_type})

    return _always(act)


def hang_up(*, reset: bool = False) -> OpenAIHandler:
    """Take the request and close the connection without a byte; `reset` sends a TCP reset."""

    async def act(http: web.Request) -> web.StreamResponse:
        _disconnect(http, reset=reset)
        return web.Response()

    return _always(act)


def talk(raw: bytes) -> OpenAIHandler:
    """Send these bytes, which need not be HTTP, and close the connection."""

    async def act(http: web.Request) -> web.StreamResponse:
        if http.transport:
            http.transport.write(raw)
            http.transport.close()
        return web.Response()

    return _always(act)


def close_midway(
    after_deltas: int | Sequence[str] = 2, *, clean: bool = False, reset: bool = False
) -> OpenAIHandler:
    """Send some deltas, then cut the connection.

    `clean` ends the HTTP body properly instead, `reset` sends a TCP reset.
    """
    count = after_deltas if isinstance(after_deltas, int) else len(after_deltas)
    texts = [f"word{n} " for n in range(count)] if isinstance(after_deltas, int) else after_deltas

    async def act(http: web.Request) -> web.StreamResponse:
        stream = _event_stream()
        await stream.prepare(http)
        for chunk in text_chunks(*texts):
            await stream.write(chat_event(chunk))
        if clean:
            await stream.write_eof()
        else:
            _disconnect(http, reset=reset)
        return stream

    return _always(act)


def slow(deltas: Sequence[str], seconds_between: float) -> OpenAIHandler:
    """Stream the deltas with a pause before each."""

    async def chunks() -> AsyncIterator[Chunk]:
        for chunk in text_chunks(*deltas):
            await asyncio.sleep(seconds_between)
            yield chunk

    return lambda request: streaming_response(chunks())


@contextmanager
def refuse() -> Iterator[str]:
    """Yield a base URL whose port is closed for as long as the block lasts."""
    # bound without listening: connections are refused and nobody else gets the port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}"


def _disconnect(http: web.Request, *, reset: bool) -> None:
    if http.transport is None:
        return
    if reset:
        # a socket that lingers for no time is reset when it is closed
        connection = http.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http.transport.close()


def _event_stream() -> web.StreamResponse:
    return web.StreamResponse(headers={"Content-Type": "text/event-stream"})


def _always(act: Any) -> OpenAIHandler:
    async def handler(request: OpenAIRequest) -> OpenAIResponse:
        return OpenAIResponse(act=act)

    return handler
