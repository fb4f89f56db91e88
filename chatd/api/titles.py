"""Titles that a model writes: made and stored, or made and shown."""

from collections.abc import Iterator

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.idempotency import Finish, slow_write
from chatd.api.parsing import path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.wire import chat_body
from chatd.turns.titles import proposing_title, regenerating_title


class TitleViewSet(ResourceViewSet):
    """`/chats/{chat}/title/regenerate` and `/chats/{chat}/title/propose`."""

    @Operation(
        "regenerateTitle",
        "Have a model write a new title and store it",
        description="Waits for the model, up to 30 seconds. Without messages nothing changes.",
        answer=shapes.Chat,
        refusals=[403],
        limited=True,
    )
    @slow_write
    def regenerate(self, request: Request, chat: str) -> Iterator[Finish]:
        with regenerating_title(self.actor(request), path_uuid(chat)) as store:
            yield lambda: Response(chat_body(store()))

    @Operation(
        "proposeTitle",
        "Have a model write a title and show it",
        description="Like regenerating, but the chat keeps its title.",
        answer=shapes.SuggestedTitle,
        refusals=[403],
        limited=True,
    )
    @slow_write
    def propose(self, request: Request, chat: str) -> Iterator[Finish]:
        with proposing_title(self.actor(request), path_uuid(chat)) as store:
            yield lambda: Response(_suggested(store()))


def _suggested(title: str) -> shapes.SuggestedTitle:
    return {"title": title}
