"""Chats: create, list, get, change, interrupt."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts.models import User
from chatd.accounts.selectors import own_organization
from chatd.api.documenting import Operation, integer, text, texts, uuid
from chatd.api.parsing import (
    MAX_CREATE_BODY_BYTES,
    MAX_INT32,
    Content,
    Int32,
    QueryReader,
    check_nesting,
    decode_body,
    path_uuid,
)
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.actions import NewChat, create_chat, interrupt_chat
from chatd.chats.content import (
    MAX_DYNAMIC_TOOLS,
    MAX_SYSTEM_PROMPT_BYTES,
    DynamicTool,
    Labels,
    PlanModeText,
)
from chatd.chats.files import list_files
from chatd.chats.filters import parse_filter
from chatd.chats.models import Chat, ClientType
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
from chatd.core.ids import NIL_UUID
from chatd.core.shapes import Uuid, documented
from config.env import env

MAX_WORKSPACES = 25


class CreateChatRequest(Struct, kw_only=True):
    """Body of `POST /chats`. `organization_id` absent is the caller's default organisation."""

    organization_id: UUID | UnsetType | None = UNSET
    content: Content = None
    system_prompt: Annotated[
        str | None,
        documented(maxLength=MAX_SYSTEM_PROMPT_BYTES),
        Meta(description=f"At most {MAX_SYSTEM_PROMPT_BYTES} bytes."),
    ] = None
    workspace_id: UUID | None = None
    model_config_id: UUID | None = None
    mcp_server_ids: list[UUID] | None = None
    labels: Labels = None
    unsafe_dynamic_tools: Annotated[
        list[DynamicTool] | None,
        documented(maxItems=MAX_DYNAMIC_TOOLS),
        Meta(description="Tools that the client carries out; their names are unique."),
    ] = None
    plan_mode: PlanModeText = None
    client_type: Annotated[str | None, documented(enum=[*ClientType.values, "", None])] = None

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

    title: Annotated[
        str | None,
        documented(minLength=1),
        Meta(description="1 to 200 characters, not counting space around them."),
    ] = None
    archived: Annotated[
        bool | None, Meta(description="Other than it is; goes for the sub-chats too.")
    ] = None
    workspace_id: Annotated[UUID | None, Meta(description="The nil id detaches.")] = None
    pin_order: Annotated[Int32 | None, documented(minimum=0), Meta(description="0 unpins.")] = None
    labels: Labels = None
    plan_mode: PlanModeText = None

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

    @Operation(
        "listChats",
        "List one's own root chats, each with its sub-chats",
        description="Pinned chats come first, then the one changed last. Archived chats are left"
        " out unless `q` asks for them.",
        answer=list[shapes.Chat],
        parameters=[
            text("q", 'Search: `title:"two words" has_unread:true archived:false pr:12`.'),
            texts("label", "`key:value`; all that are given must match."),
            integer("limit", "How many; 0 is 50.", most=MAX_INT32),
            integer("offset", "How many to leave out.", most=MAX_INT32),
            uuid("after_id", "The last chat of the page before."),
        ],
    )
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

    @Operation(
        "createChat",
        "Create a chat and start its first turn",
        description="A body of more than 256 KiB is refused.",
        answer=shapes.Chat,
        status=201,
        body=CreateChatRequest,
        refusals=[403],
        limited=True,
    )
    def create(self, request: Request) -> Response:
        wanted = decode_body(request, CreateChatRequest, cap=MAX_CREATE_BODY_BYTES)
        actor = self.actor(request)
        created = create_chat(actor, wanted.checked(actor.user))
        files = [file_body(file) for file in list_files(created.chat.pk)]
        body = chat_body(created.chat, files=files, warnings=created.warnings)
        return Response(body, status=201)

    @Operation(
        "getChat", "Get a chat with its sub-chats and its files", answer=shapes.ChatWithHistory
    )
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
        return Response(_with_history(found, body) if env.older_clients else body)

    @Operation(
        "updateChat",
        "Change a chat: title, labels, archive, pin, plan mode",
        description="Absent members stay as they are. All is changed, or nothing.",
        status=204,
        body=UpdateChatRequest,
    )
    def partial_update(self, request: Request, chat: str) -> Response:
        update_chat(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(request, UpdateChatRequest).checked(),
        )
        return Response(status=204)

    @Operation(
        "getChatsByWorkspace",
        "Get the id of the newest chat of each workspace, by workspace id",
        answer=dict[Uuid, Uuid],
        parameters=[text("workspace_ids", f"At most {MAX_WORKSPACES}, with commas between them.")],
    )
    def by_workspace(self, request: Request) -> Response:
        stripped = [part.strip() for part in request.GET.get("workspace_ids", "").split(",")]
        raw = [part for part in stripped if part]
        if len(raw) > MAX_WORKSPACES:
            raise bad_request(f"Too many workspace IDs, maximum is {MAX_WORKSPACES}.")
        wanted = [_workspace_id(part) for part in raw]
        found = newest_by_workspace(self.actor(request).user, wanted)
        return Response({str(workspace): str(chat) for workspace, chat in found.items()})

    @Operation(
        "deleteChat", "Archive a chat, as older clients ask for it", status=204, refusals=[403]
    )
    def destroy(self, request: Request, chat: str) -> Response:
        """Archive the chat: what older clients call deleting."""
        chat_id = path_uuid(chat)
        found = get_own_chat_for(self.actor(request).user, chat_id, may="delete the chat")
        if not found.archived:
            update_chat(self.actor(request), chat_id, lambda: ChatChanges(archived=True))
        return Response(status=204)

    @Operation(
        "interruptChat",
        "Stop the running turn; its partial answer is kept",
        answer=shapes.Chat,
    )
    def interrupt(self, request: Request, chat: str) -> Response:
        return Response(chat_body(interrupt_chat(self.actor(request), path_uuid(chat))))


def _with_history(chat: Chat, body: shapes.Chat) -> shapes.ChatWithHistory:
    """Return what older clients read: a chat that carries its messages and its queue."""
    messages = visible_messages(chat.pk).order_by("id")
    return {
        **body,
        "chat": body,
        "messages": [message_body(message) for message in messages],
        "queued_messages": [queued_body(queued) for queued in list_queue(chat.pk)],
    }


def _workspace_id(raw: str) -> UUID:
    try:
        return UUID(raw)
    except ValueError as error:
        raise bad_request(f'Invalid workspace ID "{raw}": {error}') from None


def _family_bodies(user: User, roots: list[Chat]) -> list[shapes.Chat]:
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


def _child_body(child: Chat) -> shapes.Chat:
    return chat_body(child, has_unread=_unread(child), diff_status=diff_status_or_empty(child))


def _unread(chat: Chat) -> bool:
    """The annotation of `with_unread`."""
    return bool(chat.unread)  # type: ignore[attr-defined]
