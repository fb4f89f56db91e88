"""The socket routes, asked for without an upgrade: a proxy has removed the header, most often."""

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.parsing import path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats.selectors import get_chat_for

UPGRADE_REQUIRED = {
    "message": "This route is a WebSocket.",
    "detail": "The request carries no Upgrade header. A proxy in between must pass"
    " Upgrade and Connection on.",
}


class SocketViewSet(ResourceViewSet):
    """`/chats/{chat}/stream` and `/chats/watch` over plain HTTP."""

    def stream(self, request: Request, chat: str) -> Response:
        get_chat_for(self.actor(request).user, path_uuid(chat))
        return self.watch(request)

    def watch(self, request: Request) -> Response:
        return Response(UPGRADE_REQUIRED, status=426, headers={"Upgrade": "websocket"})
