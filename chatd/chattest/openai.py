"""A fake OpenAI server: a handler decides what each request is answered with.

Belongs here: the two routes, received requests, writing streams. Does not belong here: chunk
shapes (`openai_wire`), misbehaviour (`faults`), canned conversations (`demo`).

    with OpenAIServer(lambda request: streaming_response(*text_chunks("Hel", "lo"))) as server:
        ...  # point a provider's base URL at server.base_url
"""

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import orjson
from aiohttp import web

from chatd.chattest.openai_wire import (
    OpenAIChunk,
    OpenAIChunkChoice,
    OpenAICompletion,
    OpenAIToolCall,
    finish_chunk,
    reasoning_chunk,
    text_chunks,
    tool_call_chunk,
    usage_chunk,
    usage_numbers,
)
from chatd.chattest.server import LoopbackServer

__all__ = [
    "OpenAIChunk",
    "OpenAIChunkChoice",
    "OpenAICompletion",
    "OpenAIHandler",
    "OpenAIMessage",
    "OpenAIRequest",
    "OpenAIResponse",
    "OpenAIServer",
    "OpenAIToolCall",
    "answer_side_call",
    "finish_chunk",
    "non_streaming_response",
    "reasoning_chunk",
    "side_schema",
    "streaming_response",
    "text_chunks",
    "tool_call_chunk",
    "usage_chunk",
    "usage_numbers",
]

MAX_REQUEST_BYTES = 64 * 1024 * 1024

Chunk = OpenAIChunk | Mapping[str, Any] | bytes
"""A chunk, any JSON object in its place, or raw bytes written as they are."""

Chunks = Iterable[Chunk] | AsyncIterable[Chunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIMessage:
    """A received message: `content` is its text, `raw` the whole object."""

    role: str
    content: str
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIRequest:
    """A received request; `body` is the parsed JSON, `raw` its bytes. Header names any case."""

    path: str
    model: str
    messages: tuple[OpenAIMessage, ...]
    stream: bool
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIResponse:
    """Either `chunks` or `completion`; `act` takes over the whole HTTP answer instead."""

    chunks: Chunks | None = None
    completion: OpenAICompletion | None = None
    act: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None


OpenAIHandler = Callable[[OpenAIRequest], OpenAIResponse | Awaitable[OpenAIResponse]]


def streaming_response(*chunks: Chunk | Chunks) -> OpenAIResponse:
    """Return a stream of the given chunks.

    Each argument is a chunk, or an iterable or async iterable of chunks that is read while the
    stream is written: it may pause, wait for a test's event, or raise.
    """
    if all(_is_chunk(chunk) for chunk in chunks):
        return OpenAIResponse(chunks=[chunk for chunk in chunks if _is_chunk(chunk)])
    return OpenAIResponse(chunks=_concatenated(chunks))


def non_streaming_response(text: str) -> OpenAIResponse:
    """Return a whole answer with usage 10 + 5 = 15 tokens."""
    return OpenAIResponse(completion=OpenAICompletion(text=text))


SIDE_ANSWERS: Mapping[str, Mapping[str, str]] = {
    "propose_title": {"title": "A title of the fake"},
    "propose_turn_status_label": {"label": "Answered by the fake"},
}
"""What requests beside a conversation are answered with, by the name of their schema."""


def side_schema(request: OpenAIRequest) -> str:
    """Return the schema's name of a request for a title or a label, else an empty text."""
    wanted = request.body.get("response_format") or {}
    name = (wanted.get("json_schema") or {}).get("name", "") if isinstance(wanted, dict) else ""
    text = request.body.get("text") or {}
    name = name or (text.get("format") or {}).get("name", "")
    return name if name in SIDE_ANSWERS and not request.stream else ""


def answer_side_call(request: OpenAIRequest) -> OpenAIResponse:
    """Answer a request for a title or a label with a good one."""
    return non_streaming_response(orjson.dumps(SIDE_ANSWERS[side_schema(request)]).decode())


class OpenAIServer(LoopbackServer):
    """Serve `POST /chat/completions` and `POST /responses` from `handler`.

    The handler may be a function or a coroutine function. A synchronous one runs in a thread, so
    it may block. Requests for titles and labels come beside those of a conversation, at any time:
    they are answered by `side_handler` and kept in `side_requests`. Without one they are requests
    like all others.
    """

    def __init__(
        self,
        handler: OpenAIHandler,
        *,
        side_handler: OpenAIHandler | None = answer_side_call,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(self._application, host=host, port=port)
        self.requests: list[OpenAIRequest] = []
        self.side_requests: list[OpenAIRequest] = []
        self._handler = handler
        self._side_handler = side_handler

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/chat/completions", self._chat_completions)
        app.router.add_post("/responses", self._responses)
        return app

    async def _chat_completions(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, _chat_events, OpenAICompletion.wire)

    async def _responses(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, _responses_events(), OpenAICompletion.responses_wire)

    async def _serve(
        self,
        http: web.Request,
        events: Callable[[Chunk], list[bytes]],
        whole: Callable[[OpenAICompletion], dict[str, Any]],
    ) -> web.StreamResponse:
        try:
            request = _received(http, await http.read())
        except ValueError as exc:
            return web.Response(status=400, text=f"the request is not valid: {exc}\n")
        beside = self._side_handler if side_schema(request) else None
        (self.side_requests if beside else self.requests).append(request)
        try:
            response = await self._ask(beside or self._handler, request)
            if response is not None and response.act:
                return await response.act(http)
            if complaint := _mismatch(request, response):
                return web.Response(status=500, text=complaint + "\n")
            assert response is not None
            if response.completion:
                return _json(whole(response.completion))
            return await write_stream(http, response.chunks or (), events)
        except (asyncio.CancelledError, ConnectionError):
            self.client_dropped()
            raise

    async def _ask(self, handler: OpenAIHandler, request: OpenAIRequest) -> OpenAIResponse | None:
        call: Callable[[OpenAIRequest], Any] = handler
        is_async = inspect.iscoroutinefunction(call)
        answer = call(request) if is_async else await asyncio.to_thread(call, request)
        given: OpenAIResponse | None = await answer if inspect.isawaitable(answer) else answer
        return given


async def write_stream(
    http: web.Request, chunks: Chunks, events: Callable[[Chunk], list[bytes]]
) -> web.StreamResponse:
    """Write each chunk's events as soon as it is there, then the end marker."""
    stream = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await stream.prepare(http)
    async for chunk in _each(chunks):
        for event in events(chunk):
            await stream.write(event)
    await stream.write(b"data: [DONE]\n\n")
    await stream.write_eof()
    return stream


def chat_event(chunk: Chunk) -> bytes:
    """Return the bytes of one chat/completions event."""
    if isinstance(chunk, bytes):
        return chunk
    document = chunk.wire() if isinstance(chunk, OpenAIChunk) else dict(chunk)
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _chat_events(chunk: Chunk) -> list[bytes]:
    return [chat_event(chunk)]


def _responses_events() -> Callable[[Chunk], list[bytes]]:
    item_ids: dict[int, str] = {}

    def events(chunk: Chunk) -> list[bytes]:
        if not isinstance(chunk, OpenAIChunk):
            return [chat_event(chunk)]
        return [chat_event(event) for event in chunk.responses_wire(item_ids)]

    return events


def _received(http: web.Request, raw: bytes) -> OpenAIRequest:
    body = orjson.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("a JSON object is needed")
    return OpenAIRequest(
        path=http.path,
        model=str(body.get("model") or ""),
        messages=tuple(map(_message, _said(body))),
        stream=bool(body.get("stream")),
        headers=http.headers,
        body=body,
        raw=raw,
    )


def _said(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the messages of either API; what else is in the input of Responses is left out."""
    return body.get("messages") or [item for item in body.get("input") or () if "role" in item]


def _message(message: Mapping[str, Any]) -> OpenAIMessage:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    return OpenAIMessage(role=str(message.get("role") or ""), content=content, raw=message)


def _mismatch(request: OpenAIRequest, response: OpenAIResponse | None) -> str:
    """Return why the handler's answer does not fit the request, or an empty string."""
    streams = response is not None and response.chunks is not None
    is_whole = response is not None and response.completion is not None
    if streams and is_whole:
        return "the handler gave both chunks and a whole answer"
    if not streams and not is_whole:
        return "the handler gave no answer"
    if request.stream and not streams:
        return "a stream was requested, the handler gave a whole answer"
    if not request.stream and not is_whole:
        return "a whole answer was requested, the handler gave a stream"
    return ""


def _json(document: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


async def _each(chunks: Chunks) -> AsyncIterator[Chunk]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
        return
    if isinstance(chunks, list | tuple):
        for chunk in chunks:
            yield chunk
        return
    # a generator may block on purpose, so it must not run on the loop
    source, end = iter(chunks), object()
    while (item := await asyncio.to_thread(next, source, end)) is not end:
        assert _is_chunk(item)
        yield item


async def _concatenated(parts: tuple[Chunk | Chunks, ...]) -> AsyncIterator[Chunk]:
    for part in parts:
        if isinstance(part, OpenAIChunk | Mapping | bytes):
            yield part
        else:
            async for chunk in _each(part):
                yield chunk


def _is_chunk(value: object) -> TypeGuard[Chunk]:
    return isinstance(value, OpenAIChunk | Mapping | bytes)
