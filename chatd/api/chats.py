"""Chats: create, list, get, change, interrupt."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts.models import User
from chatd.accounts.selectors import own_organization
from chatd.api.parsing import (
    MAX_CREATE_BODY_BYTES,
    MAX_INT32,
    ContentPart,
    QueryReader,
    check_nesting,
    decode_body,
    path_uuid,
)
from chatd.api.views import ResourceViewSet
from chatd.chats.actions import NewChat, create_chat, interrupt_chat
from chatd.chats.content import NIL_UUID, DynamicTool
from chatd.chats.files import list_files
from chatd.chats.filters import parse_filter
from chatd.chats.models import Chat
from chatd.chats.properties import ChatChanges, update_chat
from chatd.chats.search import search_chats_for
from chatd.chats.selectors import (
    get_chat_for,
    get_own_chat_for,
    list_chats_for,
    list_children_for,
    list_queue,
    newest_by_workspace,
    visible_messages,
)
from chatd.chats.wire import (
    chat_body,
    diff_status_body,
    diff_status_or_empty,
    file_body,
    known_diff_status,
    message_body,
    queued_body,
)
from chatd.core.errors import bad_request
from config.env import env

MAX_WORKSPACES = 25

Int32 = Annotated[int, Meta(ge=-MAX_INT32 - 1, le=MAX_INT32)]


class CreateChatRequest(Struct, kw_only=True):
    """Body of `POST /chats`. `organization_id` absent is the caller's default organisation."""

    organization_id: UUID | UnsetType | None = UNSET
    content: list[ContentPart] | None = None
    system_prompt: str | None = None
    workspace_id: UUID | None = None
    model_config_id: UUID | None = None
    mcp_server_ids: list[UUID] | None = None
    labels: dict[str, str] | None = None
    unsafe_dynamic_tools: list[DynamicTool] | None = None
    plan_mode: str | None = None
    client_type: str | None = None

    def checked(self, user: User) -> NewChat:
        organization_id = self.organization_id
        if isinstance(organization_id, UnsetType):
            organization_id = own_organization(user)
        for tool in self.unsafe_dynamic_tools or ():
            check_nesting(tool.input_schema)
        return NewChat(
            organization_id=organization_id,
            content=self.content,
            system_prompt=self.system_prompt or "",
            workspace_id=self.workspace_id,
            model_config_id=self.model_config_id,
            mcp_server_ids=self.mcp_server_ids or (),
            labels=self.labels or {},
            dynamic_tools=self.unsafe_dynamic_tools or (),
            plan_mode=self.plan_mode or "",
            client_type=self.client_type or "",
        )


class UpdateChatRequest(Struct, kw_only=True):
    """Body of `PATCH /chats/{chat}`; absent is "no change"."""

    title: str | None = None
    archived: bool | None = None
    workspace_id: UUID | None = None
    pin_order: Int32 | None = None
    labels: dict[str, str] | None = None
    plan_mode: str | None = None

    def checked(self) -> ChatChanges:
        return ChatChanges(
            title=self.title,
            archived=self.archived,
            workspace_id=self.workspace_id,
            pin_order=self.pin_order,
            labels=self.labels,
            plan_mode=self.plan_mode,
        )


class ChatViewSet(ResourceViewSet):
    """`/chats` and `/chats/{chat}`."""

    def list(self, request: Request) -> Response:
        query = QueryReader(request, "Query parameters have invalid values.")
        limit = query.integer("limit", largest=MAX_INT32)
        offset = query.integer("offset", largest=MAX_INT32)
        after_id = query.uuid("after_id")
        query.check()
        wanted = parse_filter(request.GET.get("q", ""), request.GET.getlist("label"))
        user = self.actor(request).user
        if after_id == NIL_UUID:
            after_id = None
        read = search_chats_for if wanted.text else list_chats_for
        found = read(user, limit=limit, offset=offset, after_id=after_id, wanted=wanted)
        return Response(_family_bodies(user, found))

    def create(self, request: Request) -> Response:
        wanted = decode_body(request, CreateChatRequest, cap=MAX_CREATE_BODY_BYTES)
        actor = self.actor(request)
        created = create_chat(actor, wanted.checked(actor.user))
        files = [file_body(file) for file in list_files(created.chat.pk)]
        body = chat_body(created.chat, files=files, warnings=created.warnings)
        return Response(body, status=201)

    def retrieve(self, request: Request, chat: str) -> Response:
        user = self.actor(request).user
        found = get_chat_for(user, path_uuid(chat))
        children = list_children_for(user, [found])[found.pk]
        known = known_diff_status(found)
        body = chat_body(
            found,
            diff_status=diff_status_body(known) if known else None,
            files=[file_body(file) for file in list_files(found.pk)],
            children=[_child_body(child) for child in children],
        )
        return Response(body | _older_shape(found, body) if env.older_clients else body)

    def partial_update(self, request: Request, chat: str) -> Response:
        update_chat(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(request, UpdateChatRequest).checked(),
        )
        return Response(status=204)

    def by_workspace(self, request: Request) -> Response:
        stripped = [part.strip() for part in request.GET.get("workspace_ids", "").split(",")]
        raw = [part for part in stripped if part]
        if len(raw) > MAX_WORKSPACES:
            raise bad_request(f"Too many workspace IDs, maximum is {MAX_WORKSPACES}.")
        wanted = [_workspace_id(part) for part in raw]
        found = newest_by_workspace(self.actor(request).user, wanted)
        return Response({str(workspace): str(chat) for workspace, chat in found.items()})

    def destroy(self, request: Request, chat: str) -> Response:
        """Archive the chat: what older clients call deleting."""
        chat_id = path_uuid(chat)
        found = get_own_chat_for(self.actor(request).user, chat_id, may="delete the chat")
        if not found.archived:
            update_chat(self.actor(request), chat_id, lambda: ChatChanges(archived=True))
        return Response(status=204)

    def interrupt(self, request: Request, chat: str) -> Response:
        return Response(chat_body(interrupt_chat(self.actor(request), path_uuid(chat))))


def _older_shape(chat: Chat, body: dict[str, Any]) -> dict[str, Any]:
    """Return what older clients read beside a chat: itself, its messages and its queue."""
    messages = visible_messages(chat.pk).order_by("id")
    return {
        "chat": body,
        "messages": [message_body(message) for message in messages],
        "queued_messages": [queued_body(queued) for queued in list_queue(chat.pk)],
    }


def _workspace_id(raw: str) -> UUID:
    try:
        return UUID(raw)
    except ValueError as error:
        raise bad_request(f'Invalid workspace ID "{raw}": {error}') from None


def _family_bodies(user: User, roots: list[Chat]) -> list[dict[str, Any]]:
    children = list_children_for(user, roots)
    return [
        chat_body(
            root,
            has_unread=_unread(root),
            diff_status=diff_status_or_empty(root),
            children=[_child_body(child) for child in children[root.pk]],
        )
        for root in roots
    ]


def _child_body(child: Chat) -> dict[str, Any]:
    return chat_body(child, has_unread=_unread(child), diff_status=diff_status_or_empty(child))


def _unread(chat: Chat) -> bool:
    """The annotation of `with_unread`."""
    return bool(chat.unread)  # type: ignore[attr-defined]
