"""Titles that a model writes: made and stored, or made and shown."""

from collections.abc import Iterator

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.idempotency import Finish, slow_write
from chatd.api.parsing import path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats.wire import chat_body
from chatd.turns.titles import proposing_title, regenerating_title


class TitleViewSet(ResourceViewSet):
    """`/chats/{chat}/title/regenerate` and `/chats/{chat}/title/propose`."""

    @slow_write
    def regenerate(self, request: Request, chat: str) -> Iterator[Finish]:
        with regenerating_title(self.actor(request), path_uuid(chat)) as store:
            yield lambda: Response(chat_body(store()))

    @slow_write
    def propose(self, request: Request, chat: str) -> Iterator[Finish]:
        with proposing_title(self.actor(request), path_uuid(chat)) as store:
            yield lambda: Response({"title": store()})
