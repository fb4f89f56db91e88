"""A fake of the Gemini API that is as strict as the API: a handler decides what it answers.

Belongs here: the routes, received requests, writing streams, ways to fail. Does not belong here:
what is refused (`google_rules`), shapes of chunks (`google_wire`).

    with GoogleServer(lambda request: [chunk(text("Hi"), reason="STOP")]) as server:
        ...  # point a provider's base URL at server.base_url
"""

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from chatd.chattest.google_rules import Rules, refusal
from chatd.chattest.google_wire import call, chunk, grounding, image, numbers, text
from chatd.chattest.server import LoopbackServer

__all__ = [
    "Failure",
    "GoogleRequest",
    "GoogleServer",
    "call",
    "chunk",
    "grounding",
    "image",
    "numbers",
    "refusal",
    "text",
]

MAX_REQUEST_BYTES = 64 * 1024 * 1024

UNKNOWN_CALLER = (
    "Method doesn't allow unregistered callers (callers without established identity)."
    " Please use API Key or other form of API consumer identity to call this API."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleRequest:
    """A received request; `body` is the parsed JSON."""

    model: str
    is_stream: bool
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A way to fail: `status` with `body`, `after` some chunks when the status is 200.

    After the chunks the body is an event (`is_event`), or stands behind them as plain JSON.
    Without a body the connection is cut, or with `hangs` nothing comes any more.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    after: tuple[Mapping[str, Any], ...] = ()
    is_event: bool = True
    hangs: bool = False


Chunks = Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]
Given = Chunks | Failure
GoogleHandler = Callable[[GoogleRequest], Given | Awaitable[Given]]


def answer_side_call(request: GoogleRequest) -> Chunks:
    """Answer a request for a title or a label with a good one."""
    words = orjson.dumps({"title": "A title of the fake", "label": "Answered by the fake"})
    return [chunk(text(words.decode()), reason="STOP")]


class GoogleServer(LoopbackServer):
    """Serve generateContent, streamGenerateContent and the list of models.

    Requests that break a rule of the API are refused with the API's words, and kept in `refused`.
    What the handler signs must come back as it was. A whole answer is the handler's chunk with
    the parts of all of them. Whole answers are asked for beside a conversation, at any time: they
    are kept in `side_requests` and answered by `side_handler`, unless that is None.
    """

    def __init__(
        self,
        handler: GoogleHandler,
        *,
        side_handler: GoogleHandler | None = answer_side_call,
        models: Iterable[str] = ("gemini-2.5-flash",),
        port: int = 0,
    ) -> None:
        super().__init__(self._application, port=port)
        self.requests: list[GoogleRequest] = []
        self.side_requests: list[GoogleRequest] = []
        self.refused: list[str] = []
        self.rules = Rules()
        self._handler = handler
        self._side_handler = side_handler
        self._models = tuple(models)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_get("/v1beta/models", self._list)
        app.router.add_post("/v1beta/models/{model:[^:]+}:generateContent", self._whole)
        app.router.add_post("/v1beta/models/{model:[^:]+}:streamGenerateContent", self._stream)
        return app

    async def _list(self, http: web.Request) -> web.StreamResponse:
        if not http.headers.get("x-goog-api-key"):
            return _error(refusal(UNKNOWN_CALLER, code=403, status="PERMISSION_DENIED"))
        methods = ["generateContent", "countTokens"]
        found: list[dict[str, Any]] = [
            {"name": f"models/{name}", "supportedGenerationMethods": methods}
            for name in self._models
        ]
        embedding = {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]}
        return _json({"models": [*found, embedding]})

    async def _whole(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, is_stream=False)

    async def _stream(self, http: web.Request) -> web.StreamResponse:
        if http.query.get("alt") != "sse":
            return _error(refusal("This fake streams server-sent events only."))
        return await self._serve(http, is_stream=True)

    async def _serve(self, http: web.Request, *, is_stream: bool) -> web.StreamResponse:
        if not http.headers.get("x-goog-api-key"):
            return _error(refusal(UNKNOWN_CALLER, code=403, status="PERMISSION_DENIED"))
        request = GoogleRequest(
            model=http.match_info["model"],
            is_stream=is_stream,
            headers=http.headers,
            body=orjson.loads(await http.read()),
        )
        beside = None if is_stream else self._side_handler
        (self.side_requests if beside else self.requests).append(request)
        if complaint := self.rules.complaint(request.model, request.body):
            self.refused.append(complaint)
            return _error(refusal(complaint), as_list=is_stream)
        try:
            return await self._answer(http, beside or self._handler, request)
        except (asyncio.CancelledError, ConnectionError):
            self.client_dropped()
            raise

    async def _answer(
        self, http: web.Request, handler: GoogleHandler, request: GoogleRequest
    ) -> web.StreamResponse:
        called = handler(request)
        given: Given = await called if inspect.isawaitable(called) else called
        if isinstance(given, Failure):
            return await self._fail(http, given, is_stream=request.is_stream)
        if not request.is_stream:
            chunks = [each async for each in _each(given)]
            return _json(_joined(chunks))
        stream = await _opened(http)
        async for each in _each(given):
            self._sign(each)
            await stream.write(_event(each))
        await stream.write_eof()
        return stream

    async def _fail(
        self, http: web.Request, failure: Failure, *, is_stream: bool
    ) -> web.StreamResponse:
        if failure.status != 200:
            body = [failure.body] if is_stream else failure.body
            return web.Response(
                status=failure.status,
                body=orjson.dumps(body),
                content_type="application/json",
                headers=failure.headers,
            )
        stream = await _opened(http)
        for each in failure.after:
            self._sign(each)
            await stream.write(_event(each))
        if failure.body is not None and failure.is_event:
            await stream.write(_event(failure.body))
        elif failure.body is not None:
            await stream.write(orjson.dumps(failure.body, option=orjson.OPT_INDENT_2))
        elif failure.hangs:
            await asyncio.Event().wait()
        else:
            assert http.transport is not None
            http.transport.close()
        return stream

    def _sign(self, given: Mapping[str, Any]) -> None:
        """Remember the parts that were signed."""
        for candidate in given.get("candidates") or ():
            for part in (candidate.get("content") or {}).get("parts") or ():
                if "thoughtSignature" in part:
                    self.rules.issued[part["thoughtSignature"]] = part


async def _opened(http: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await stream.prepare(http)
    return stream


async def _each(chunks: Chunks) -> Any:
    if isinstance(chunks, AsyncIterable):
        async for each in chunks:
            yield each
    else:
        for each in chunks:
            yield each


def _joined(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return chunks as one whole answer."""
    parts = [
        part
        for each in chunks
        for candidate in each.get("candidates") or ()
        for part in (candidate.get("content") or {}).get("parts") or ()
    ]
    last = dict(chunks[-1])
    if candidates := last.get("candidates"):
        content = {"role": "model", "parts": parts}
        last["candidates"] = [{**candidates[0], "content": content}]
    return last


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\r\n\r\n"


def _json(document: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def _error(body: dict[str, Any], *, as_list: bool = False) -> web.Response:
    """Return an error; where a stream was asked for the API puts it into a list."""
    raw = orjson.dumps([body] if as_list else body)
    status = body["error"]["code"]
    return web.Response(status=status, body=raw, content_type="application/json")
