"""An ASGI wrapper that bounds what is read of a request body before it is answered.

Django spools a body to disk before a view runs; without a bound one request could fill it. What
came up to one byte over the bound goes to the route, which answers as its contract says, in the
order it says. The rest is thrown away after the answer, for a while: many clients read only when
they have sent everything, and would find a broken connection instead.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

DISCARD_SECONDS = 20.0


class BodyLimit:
    """Shows the application at most `limit_for(path) + 1` bytes of a body."""

    def __init__(self, application: Application, limit_for: Callable[[str], int]) -> None:
        self._application = application
        self._limit_for = limit_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            body = _BoundedBody(receive, send, self._limit_for(scope["path"]) + 1)
            await self._application(scope, body.receive, body.send)
        else:
            await self._application(scope, receive, send)


class _BoundedBody:
    """One request: `room` is how many bytes the application may still see."""

    def __init__(self, receive: Receive, send: Send, room: int) -> None:
        self._receive = receive
        self._send = send
        self._room = room
        self._is_cut = False

    async def receive(self) -> dict[str, Any]:
        if self._is_cut:
            await asyncio.Event().wait()  # for good: what follows is not for the application
        event = await self._receive()
        seen = event.get("body", b"")[: self._room]
        self._room -= len(seen)
        if self._room:
            return event
        self._is_cut = event.get("more_body", False)
        return event | {"body": seen, "more_body": False}

    async def send(self, event: dict[str, Any]) -> None:
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
