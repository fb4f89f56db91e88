"""What is known about a chat's repository; this deployment has no workspaces, so little is."""

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.models import Chat
from chatd.chats.selectors import get_chat_for
from chatd.chats.wire import diff_status_or_empty, known_diff_status


class DiffViewSet(ResourceViewSet):
    """`/chats/{chat}/diff`, and two routes of older clients: `diff-status`, `git-changes`."""

    @Operation("getChatDiff", "Get where the diff of a chat is", answer=shapes.DiffContents)
    def diff(self, request: Request, chat: str) -> Response:
        found = self._chat(request, chat)
        body: shapes.DiffContents = {"chat_id": str(found.pk)}
        known = known_diff_status(found)
        if known is not None and known.url:
            body["pull_request_url"] = known.url
        return Response(body)

    @Operation("getChatDiffStatus", "Get the pull request of a chat", answer=shapes.DiffStatus)
    def status(self, request: Request, chat: str) -> Response:
        return Response(diff_status_or_empty(self._chat(request, chat)))

    @Operation(
        "listChatGitChanges",
        "Answer older clients with an empty list",
        answer=list[shapes.GitChange],
    )
    def changes(self, request: Request, chat: str) -> Response:
        self._chat(request, chat)
        return Response([])

    def _chat(self, request: Request, chat: str) -> Chat:
        return get_chat_for(self.actor(request).user, path_uuid(chat))
