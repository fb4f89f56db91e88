"""An ASGI wrapper that bounds what is read of a request body before it is answered.

Django spools a body to disk before a view runs; without a bound one request could fill it. What
came up to one byte over the bound goes to the route, which answers as its contract says, in the
order it says. The rest is thrown away after the answer, for a while: many clients read only when
they have sent everything, and would find a broken connection instead.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

DISCARD_SECONDS = 20.0

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What a disk says on which a large body finds no room."""

NO_ROOM_SECONDS = 60
NO_ROOM_BODY = (
    b'{"message":"The server has no room for this request. Try again later, or send less."}'
)

log = structlog.get_logger(__name__)


class BodyLimit:
    """Shows the application at most `limit_for(path) + 1` bytes of a body."""

    def __init__(self, application: Application, limit_for: Callable[[str], int]) -> None:
        self._application = application
        self._limit_for = limit_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            body = _BoundedBody(receive, send, self._limit_for(scope["path"]) + 1)
            try:
                await self._application(scope, body.receive, body.send)
            except OSError as error:
                if error.errno not in NO_ROOM or body.is_answered:
                    raise
                log.error("no room for a request", path=scope["path"], error=str(error))
                await body.refuse()
        else:
            await self._application(scope, receive, send)


class _BoundedBody:
    """One request: `room` is how many bytes the application may still see."""

    def __init__(self, receive: Receive, send: Send, room: int) -> None:
        self._receive = receive
        self._send = send
        self._room = room
        self._is_cut = False
        self._has_more = False
        self.is_answered = False

    async def refuse(self) -> None:
        """Answer that there is no room; what is still sent is thrown away."""
        self._is_cut = self._has_more
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(NO_ROOM_BODY)).encode()),
            (b"retry-after", str(NO_ROOM_SECONDS).encode()),
        ]
        await self.send({"type": "http.response.start", "status": 503, "headers": headers})
        await self.send({"type": "http.response.body", "body": NO_ROOM_BODY})

    async def receive(self) -> dict[str, Any]:
        if self._is_cut:
            await asyncio.Event().wait()  # for good: what follows is not for the application
        event = await self._receive()
        self._has_more = event.get("more_body", False)
        seen = event.get("body", b"")[: self._room]
        self._room -= len(seen)
        if self._room:
            return event
        self._is_cut = self._has_more
        return event | {"body": seen, "more_body": False}

    async def send(self, event: dict[str, Any]) -> None:
        self.is_answered = True
        if not self._is_cut:
            await self._send(event)
        elif event["type"] == "http.response.start":
            await self._send(event | {"headers": [*event["headers"], (b"connection", b"close")]})
        else:
            await self._send(event | {"more_body": True})
            if not event.get("more_body"):
                await self._discard()
                await self._send({"type": "http.response.body"})

    async def _discard(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while (await self._receive()).get("more_body"):
                    pass
