"""A fake Anthropic server that is as strict as the real one.

    with AnthropicServer(lambda request: FakeAnswer(content=[text("Hello")])) as server:
        ...  # point a provider's base URL at server.base_url

A handler says what each request is answered with: a `FakeAnswer`, or a `Refusal` in its place. What
the vendor would refuse is refused before, with the vendor's words; `refusals` keeps these.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from chatd.chattest.anthropic_rules import Issued, Refused, check
from chatd.chattest.anthropic_wire import FakeAnswer, events, remember, whole
from chatd.chattest.server import LoopbackServer

MAX_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicRequest:
    """A request that was taken; `body` is the parsed JSON."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An HTTP error: https://platform.claude.com/docs/en/api/errors"""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


OVERLOADED = Refusal(status=529, type="overloaded_error", message="Overloaded")

AnthropicHandler = Callable[[AnthropicRequest], FakeAnswer | Refusal]


class AnthropicServer(LoopbackServer):
    """Serve `POST /v1/messages` and `GET /v1/models`.

    Requests that force the call of a tool, as for titles, come beside those of a conversation: they
    are answered with that call, and kept in `side_requests`.
    """

    def __init__(
        self, handler: AnthropicHandler, *, key: str = "", host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(self._application, host=host, port=port)
        self.requests: list[AnthropicRequest] = []
        self.side_requests: list[AnthropicRequest] = []
        self.refusals: list[str] = []
        self.issued = Issued()
        self._handler = handler
        self._key = key

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, http: web.Request) -> web.StreamResponse:
        found = [{"type": "model", "id": "claude-sonnet-4-5"}, {"type": "model", "id": "claude-x"}]
        whole_list = {"data": found, "has_more": False, "first_id": None, "last_id": None}
        return self._stranger(http) or web.json_response(whole_list)

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        body = orjson.loads(await http.read())
        if refused := self._stranger(http):
            return refused
        try:
            check(body, self.issued)
        except Refused as reason:
            self.refusals.append(str(reason))
            return _refused(Refusal(status=400, type="invalid_request_error", message=str(reason)))
        return await self._answer(http, body, is_stream=bool(body.get("stream")))

    def _stranger(self, http: web.Request) -> web.Response | None:
        if "anthropic-version" not in http.headers:
            message = "anthropic-version: header is required"
            return _refused(Refusal(status=400, type="invalid_request_error", message=message))
        if self._key and http.headers.get("x-api-key") != self._key:
            message = "invalid x-api-key"
            return _refused(Refusal(status=401, type="authentication_error", message=message))
        return None

    async def _answer(
        self, http: web.Request, body: Mapping[str, Any], *, is_stream: bool
    ) -> web.StreamResponse:
        request = AnthropicRequest(path=http.path, body=body, headers=dict(http.headers))
        is_beside = (body.get("tool_choice") or {}).get("type") == "tool"
        (self.side_requests if is_beside else self.requests).append(request)
        try:
            if is_beside:
                answer: FakeAnswer | Refusal = _filled(body)
            else:
                answer = await asyncio.to_thread(self._handler, request)
            if isinstance(answer, Refusal):
                return _refused(answer)
            remember(answer.content, self.issued)
            if not is_stream:
                return web.json_response(whole(answer, str(body.get("model", ""))))
            return await self._stream(http, answer, str(body.get("model", "")))
        except (asyncio.CancelledError, ConnectionError):
            self.client_dropped()
            raise

    async def _stream(
        self, http: web.Request, answer: FakeAnswer, model: str
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": self._media_type()})
        await stream.prepare(http)
        for count, event in enumerate(events(answer, model)):
            if count == answer.cut_after:
                assert http.transport is not None
                http.transport.close()
                return stream
            if answer.hang and event["type"] == "message_delta":
                await asyncio.Event().wait()
            await stream.write(self._written(event))
        await stream.write_eof()
        return stream

    def _media_type(self) -> str:
        return "text/event-stream; charset=utf-8"

    def _written(self, event: Mapping[str, Any]) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def _filled(body: Mapping[str, Any]) -> FakeAnswer:
    """Return the call that a request forces, each text of its schema filled in."""
    name = body["tool_choice"]["name"]
    schema = next(tool["input_schema"] for tool in body["tools"] if tool["name"] == name)
    texts = {key: f"A {key} of the fake" for key in schema.get("properties", {})}
    call = {"type": "tool_use", "id": "toolu_beside", "name": name, "input": texts}
    return FakeAnswer(content=[call])


def _refused(refusal: Refusal) -> web.Response:
    error = {"type": refusal.type, "message": refusal.message}
    document = {"type": "error", "error": error, "request_id": "req_fake"}
    return web.json_response(document, status=refusal.status, headers=dict(refusal.headers))
