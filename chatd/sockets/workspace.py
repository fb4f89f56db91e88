"""`/chats/{chat}/stream/git` and `/stream/desktop`: refused, because no chat has a workspace.

Clients recognise these texts and show "nothing there" instead of an error.
"""

from collections.abc import AsyncIterator
from typing import Any

from chatd.api.parsing import path_uuid
from chatd.chats.selectors import get_chat_for
from chatd.core.errors import bad_request
from chatd.core.threads import in_database_thread
from chatd.sockets.consumer import OneWaySocket

WITHOUT_WORKSPACE = {
    "git": "Chat has no workspace to watch.",
    "desktop": "Chat has no workspace.",
}


class WorkspaceConsumer(OneWaySocket):
    """Answers the handshake with the reason as HTTP."""

    async def subscribe(self) -> list[str]:
        route = self.scope["url_route"]["kwargs"]
        chat = await in_database_thread(get_chat_for, self.actor.user, path_uuid(route["chat"]))
        if chat.workspace_id is None:
            raise bad_request(WITHOUT_WORKSPACE[route["kind"]])
        raise bad_request("Chat workspace not found.")

    async def frames_for(self, items: list[Any], *, resync: bool) -> AsyncIterator[str]:
        for frame in items:
            yield frame
