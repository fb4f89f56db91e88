"""An ASGI wrapper that stops reading a request body once it is larger than any route takes.

Django spools a body to disk before a view runs; without a bound one request could fill it. What
came up to one byte over the bound goes to the route, which answers as its contract says, in the
order it says; the rest stays unread and the connection is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyLimit:
    """Shows the application at most `limit_for(path) + 1` bytes of a body."""

    def __init__(self, application: Application, limit_for: Callable[[str], int]) -> None:
        self._application = application
        self._limit_for = limit_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        room = self._limit_for(scope["path"]) + 1

        async def bounded() -> dict[str, Any]:
            nonlocal room
            if not room:
                await asyncio.Event().wait()  # for good: what follows is not for the application
            event = await receive()
            body = event.get("body", b"")[:room]
            room -= len(body)
            return event if room else event | {"body": body, "more_body": False}

        async def closing(event: dict[str, Any]) -> None:
            if not room and event["type"] == "http.response.start":
                event = event | {"headers": [*event["headers"], (b"connection", b"close")]}
            await send(event)

        await self._application(scope, bounded, closing)
