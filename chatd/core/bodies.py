"""An ASGI wrapper that stops reading a request body once it is larger than any route takes.

Django spools a body to disk before a view runs; without a bound one request could fill it.
Routes keep smaller caps of their own and answer those as their contract says.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered to a body over the limit."""

    status: int
    message: str
    detail: str


class _TooLargeError(Exception):
    """The body is larger than the route takes."""


class BodyLimit:
    """Refuses and closes the connection when a body exceeds `limit_for(path)` bytes."""

    def __init__(
        self, application: Application, limit_for: Callable[[str], tuple[int, Refusal]]
    ) -> None:
        self._application = application
        self._limit_for = limit_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        limit, refusal = self._limit_for(scope["path"])
        if _declared_length(scope) > limit:
            await _refuse(send, refusal)
            return
        read = 0

        async def counted() -> dict[str, Any]:
            nonlocal read
            event = await receive()
            read += len(event.get("body", b""))
            if read > limit:
                raise _TooLargeError
            return event

        # Django turns what `receive` raises into an answer of its own, so the flag decides.
        started = False

        async def guarded(event: dict[str, Any]) -> None:
            nonlocal started
            if read <= limit:
                started = True
                await send(event)

        with suppress(_TooLargeError):
            await self._application(scope, counted, guarded)
        if read > limit and not started:
            await _refuse(send, refusal)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _refuse(send: Send, refusal: Refusal) -> None:
    body = orjson.dumps(
        {"message": refusal.message, "detail": refusal.detail},
        option=orjson.OPT_APPEND_NEWLINE,
    )
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
