"""A fake of OpenAI's Responses API that is as strict as the vendor, and keeps what it answered.

Belongs here: the route, what was asked, writing streams, failing. Does not belong here: events
(`responses_wire`), what requests have to be like (`responses_rules`).

    with ResponsesServer(lambda asked: says("Hel", "lo")) as server:
        ...  # point a provider of kind openai at server.base_url
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from chatd.chattest.openai import SIDE_ANSWERS
from chatd.chattest.responses_rules import Kept, RefusedError, context_of
from chatd.chattest.responses_wire import (
    Reply,
    event_bytes,
    events_of,
    items_of,
    response_of,
    says,
)
from chatd.chattest.server import LoopbackServer

MAX_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was accepted; `context` is all that the model sees, earlier answers too."""

    body: Mapping[str, Any]
    context: Sequence[Mapping[str, Any]]

    @property
    def last_user_text(self) -> str:
        said = [item for item in self.context if item.get("role") == "user"]
        parts = said[-1]["content"] if said else ()
        return "".join(part.get("text", "") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error instead of an answer."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


Answering = Callable[[Asked], Reply | Refusal]


def in_order(*replies: Reply | Refusal) -> Answering:
    """Answer the first request with the first reply, and so on; the last one stays."""
    left = list(replies)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


class ResponsesServer(LoopbackServer):
    """Serve `POST /responses`, with any prefix, from `answering`.

    `bodies` has what came in, refused or not; `refused` the vendor's answers to what it would not
    take. Requests for titles and labels are answered by themselves and kept apart; `received` has
    them all.
    """

    def __init__(self, answering: Answering, *, port: int = 0) -> None:
        super().__init__(self._application, port=port)
        self.bodies: list[dict[str, Any]] = []
        self.side_bodies: list[dict[str, Any]] = []
        self.received: list[Received] = []
        self.refused: list[RefusedError] = []
        self.kept = Kept()
        self._answering = answering

    def forget(self) -> None:
        """Lose everything that is kept, as the vendor does after a month."""
        self.kept = Kept()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/{prefix:.*}responses", self._respond)
        return app

    async def _respond(self, http: web.Request) -> web.StreamResponse:
        body = orjson.loads(await http.read())
        side = _side_answer(body)
        (self.side_bodies if side else self.bodies).append(body)
        self.received.append(Received(path=http.path, headers=http.headers, body=body))
        try:
            context = context_of(body, self.kept)
        except RefusedError as error:
            self.refused.append(error)
            return web.json_response(error.body, status=error.status)
        reply = side or self._answering(Asked(body=body, context=context))
        if isinstance(reply, Refusal):
            return web.json_response(reply.body, status=reply.status, headers=reply.headers)
        return await self._answer(http, body, context, reply)

    async def _answer(
        self,
        http: web.Request,
        body: Mapping[str, Any],
        context: list[dict[str, Any]],
        reply: Reply,
    ) -> web.StreamResponse:
        is_encrypted = "reasoning.encrypted_content" in body.get("include", ())
        items = items_of(reply, is_encrypted=is_encrypted)
        self.kept.encrypt(items)
        response = response_of(body, reply, items)
        keeps = body.get("store", True) and not reply.error
        try:
            if body.get("stream"):
                return await self._write(http, response, reply, context if keeps else None)
        except (asyncio.CancelledError, ConnectionError):
            self.client_dropped()
            raise
        if keeps:
            self.kept.store(response, context)
        return web.json_response(response)

    async def _write(
        self,
        http: web.Request,
        response: dict[str, Any],
        reply: Reply,
        context: Sequence[dict[str, Any]] | None,
    ) -> web.StreamResponse:
        """Write a stream; what it answers, a `context` given, is kept when its end is due."""
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await stream.prepare(http)
        for number, event in enumerate(events_of(response, reply)):
            if event.get("response") is response and context is not None:
                self.kept.store(response, context)
            await stream.write(event_bytes(event, number))
        if reply.hangs:
            await asyncio.Event().wait()
        await stream.write_eof()
        return stream


def _side_answer(body: Mapping[str, Any]) -> Reply | None:
    name = ((body.get("text") or {}).get("format") or {}).get("name", "")
    if body.get("stream") or name not in SIDE_ANSWERS:
        return None
    return says(orjson.dumps(SIDE_ANSWERS[name]).decode())
