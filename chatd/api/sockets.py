"""The socket routes, asked for without an upgrade: a proxy has removed the header, most often."""

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation, integer
from chatd.api.parsing import MAX_INT64, path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.selectors import get_chat_for

UPGRADE_REQUIRED = {
    "message": "This route is a WebSocket.",
    "detail": "The request carries no Upgrade header. A proxy in between must pass"
    " Upgrade and Connection on.",
}


class SocketViewSet(ResourceViewSet):
    """`/chats/{chat}/stream` and `/chats/watch` over plain HTTP."""

    @Operation(
        "streamChat",
        "Follow a chat: a WebSocket of text frames, each a JSON array of events",
        answer=list[shapes.StreamEvent],
        status=101,
        parameters=[
            integer(
                "after_id",
                "The newest message the client has; older ones are not sent.",
                least=-MAX_INT64 - 1,
                most=MAX_INT64,
            )
        ],
        refusals=[403, 426],
    )
    def stream(self, request: Request, chat: str) -> Response:
        get_chat_for(self.actor(request).user, path_uuid(chat))
        return self.watch(request)

    @Operation(
        "streamChatWorkspace",
        "Follow the workspace of a chat",
        description="Always refused, because there are no workspaces; clients know the texts.",
        status=101,
        refusals=[403, 426],
    )
    def workspace(self, request: Request, chat: str, kind: str) -> Response:
        return self.stream(request, chat)

    @Operation(
        "watchChats",
        "Follow all of one's own chats: a WebSocket of text frames, each one event",
        answer=shapes.WatchEvent,
        status=101,
        refusals=[403, 426],
    )
    def watch(self, request: Request) -> Response:
        return Response(UPGRADE_REQUIRED, status=426, headers={"Upgrade": "websocket"})
