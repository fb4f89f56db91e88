"""Routes of the sockets. An unknown one is refused as a normal HTTP answer."""

from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from chatd.api.views import ROUTE_NOT_FOUND
from chatd.sockets.handshake import refuse
from chatd.sockets.stream import StreamConsumer
from chatd.sockets.watch import WatchConsumer
from chatd.sockets.workspace import WorkspaceConsumer


async def _not_found(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await refuse(send, 404, ROUTE_NOT_FOUND)


websocket_application = URLRouter(
    [
        re_path(r"^api/experimental/chats/watch/?$", WatchConsumer.as_asgi()),
        re_path(r"^api/experimental/chats/(?P<chat>[^/]+)/stream/?$", StreamConsumer.as_asgi()),
        re_path(
            r"^api/experimental/chats/(?P<chat>[^/]+)/stream/(?P<kind>git|desktop)/?$",
            WorkspaceConsumer.as_asgi(),
        ),
        re_path(r"", _not_found),  # type: ignore[arg-type]
    ]
)
