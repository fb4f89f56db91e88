"""Every route of the API as data: what it needs, who may call it, what a good call answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatd.chats.models import Chat, ChatMessage, Role
from tests.api.client import Chats, queue, text_part
from tests.support.debug import debug_run


@dataclass(frozen=True)
class Scene:
    """A chat to call the route on, and what stands for `{id}` in its path."""

    chat: Chat
    path: str


@dataclass(frozen=True)
class Route:
    """`owner_only` is what the 403 says others may not do; empty where updating suffices."""

    name: str
    method: str
    path: str
    status: int
    chat: Callable[[Chats], Chat] = Chats.pending
    body: Any = None
    owner_only: str = ""
    reads: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def of_a_chat(self) -> bool:
        return "{chat}" in self.path

    def scene(self, chats: Chats) -> Scene:
        chat = self.chat(chats)
        path = self.path.replace("{chat}", str(chat.pk))
        if "{message}" in path:
            first = ChatMessage.objects.get(chat=chat, role=Role.USER)
            path = path.replace("{message}", str(first.pk))
        if "{queued}" in path:
            path = path.replace("{queued}", str(queue(chat).pk))
        if "{run}" in path:
            path = path.replace("{run}", str(debug_run(chat).pk))
        return Scene(chat, path)

    def path_with(self, *, chat: str, other: str) -> str:
        """Return the path with a chat's id, and `other` for every id beside it."""
        return re.sub(r"{\w+}", other, self.path.replace("{chat}", chat))


_CONTENT = {"content": [text_part("again")]}

LIST = Route("list", "GET", "/chats", 200, reads=True)
CREATE = Route("create", "POST", "/chats", 201, body=_CONTENT)
GET = Route("get", "GET", "/chats/{chat}", 200, reads=True)
UPDATE = Route("update", "PATCH", "/chats/{chat}", 204, body={})
DELETE = Route("delete", "DELETE", "/chats/{chat}", 204, owner_only="delete the chat")
MODELS = Route("models", "GET", "/chats/models", 200, reads=True)
BY_WORKSPACE = Route("by workspace", "GET", "/chats/by-workspace", 200, reads=True)
GET_ACL = Route("get acl", "GET", "/chats/{chat}/acl", 200, reads=True)
UPDATE_ACL = Route("update acl", "PATCH", "/chats/{chat}/acl", 204, body={})
DIFF = Route("diff", "GET", "/chats/{chat}/diff", 200, reads=True)
DIFF_STATUS = Route("diff status", "GET", "/chats/{chat}/diff-status", 200, reads=True)
GIT_CHANGES = Route("git changes", "GET", "/chats/{chat}/git-changes", 200, reads=True)
DEBUG_RUNS = Route("debug runs", "GET", "/chats/{chat}/debug/runs", 200, reads=True)
DEBUG_RUN = Route("debug run", "GET", "/chats/{chat}/debug/runs/{run}", 200, reads=True)
INTERRUPT = Route("interrupt", "POST", "/chats/{chat}/interrupt", 200)
MESSAGES = Route("messages", "GET", "/chats/{chat}/messages", 200, reads=True)
PROMPTS = Route("prompts", "GET", "/chats/{chat}/prompts", 200, reads=True)
SEND = Route(
    "send", "POST", "/chats/{chat}/messages", 200, body=_CONTENT, owner_only="send messages"
)
EDIT = Route(
    "edit",
    "PATCH",
    "/chats/{chat}/messages/{message}",
    200,
    body=_CONTENT,
    owner_only="edit messages",
)
DELETE_QUEUED = Route("delete queued", "DELETE", "/chats/{chat}/queue/{queued}", 204)
PROMOTE = Route(
    "promote",
    "POST",
    "/chats/{chat}/queue/{queued}/promote",
    202,
    owner_only="promote queued messages",
)
TOOL_RESULTS = Route(
    "tool results",
    "POST",
    "/chats/{chat}/tool-results",
    204,
    chat=Chats.requiring_action,
    body={"results": [{"tool_call_id": "call-1", "output": {"found": 1}, "is_error": False}]},
    owner_only="submit tool results",
)
REGENERATE_TITLE = Route(
    "regenerate title",
    "POST",
    "/chats/{chat}/title/regenerate",
    200,
    chat=Chats.unwritten,
    owner_only="regenerate the title",
)
PROPOSE_TITLE = Route(
    "propose title",
    "POST",
    "/chats/{chat}/title/propose",
    200,
    chat=Chats.unwritten,
    owner_only="propose a title",
)
WORKSPACE_STREAM = Route("git stream", "GET", "/chats/{chat}/stream/git", 426, reads=True)
STREAM = Route("stream", "GET", "/chats/{chat}/stream", 426, reads=True)
WATCH = Route("watch", "GET", "/chats/watch", 426, reads=True)
ME = Route("me", "GET", "/api/v2/users/me", 200, reads=True)
MY_ORGANIZATIONS = Route(
    "my organizations", "GET", "/api/v2/users/me/organizations", 200, reads=True
)

ROUTES = [
    LIST,
    CREATE,
    GET,
    UPDATE,
    DELETE,
    MODELS,
    BY_WORKSPACE,
    GET_ACL,
    UPDATE_ACL,
    DIFF,
    DIFF_STATUS,
    GIT_CHANGES,
    DEBUG_RUNS,
    DEBUG_RUN,
    INTERRUPT,
    MESSAGES,
    PROMPTS,
    SEND,
    EDIT,
    DELETE_QUEUED,
    PROMOTE,
    TOOL_RESULTS,
    REGENERATE_TITLE,
    PROPOSE_TITLE,
    STREAM,
    WORKSPACE_STREAM,
    WATCH,
    ME,
    MY_ORGANIZATIONS,
]
ROUTES_OF_BYTES = [
    ("experimental/chats/files/?$", "post"),
    ("experimental/chats/files/(?P<file>[^/]+)/?$", "get"),
]
"""Routes whose bodies are no JSON, which the table cannot tell."""

PUBLIC_ROUTES = [("openapi\\.json/?$", "get")]
"""Routes that ask nobody who they are."""

CHAT_ROUTES = [route for route in ROUTES if route.of_a_chat]
WRITES = [route for route in CHAT_ROUTES if not route.reads]
OWNER_ONLY = [route for route in WRITES if route.owner_only]
