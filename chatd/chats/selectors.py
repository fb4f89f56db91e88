"""Reads of chats. A read for a person fetches and authorises in one step.

"Missing" and "not yours" are the same NotFound. Reads that skip the check end in `_unscoped`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, UUIDField
from django.db.models.functions import Coalesce

from chatd.accounts.models import OrganizationMember, User
from chatd.accounts.policy import (
    ACL_RIGHTS,
    READ_PERMISSIONS,
    ChatRight,
    acl_role,
    chat_rights_within_scopes,
    may_read_chats,
    membership,
    memberships,
    organization_chat_rights,
    reads_every_chat,
)
from chatd.accounts.selectors import group_ids_of
from chatd.chats.filters import ALL_ACTIVE, ChatFilter, apply_filter
from chatd.chats.models import (
    VISIBLE_TO_MODEL,
    VISIBLE_TO_USER,
    Chat,
    ChatMessage,
    ChatQueuedMessage,
    Role,
    Visibility,
)
from chatd.chats.parts import has_context_file, text_of
from chatd.core.errors import bad_request, forbidden, not_found
from chatd.core.statements import Parameter, Select
from config.env import env

DEFAULT_PAGE = 50
MAX_PAGE = 200


def chat_rights(user: User, chat: Chat) -> frozenset[ChatRight]:
    """Return what `user` may do with `chat`, from roles, ownership and the ACL."""
    rights = organization_chat_rights(
        user, membership(user, chat.organization_id), own=chat.owner_id == user.pk
    )
    if env.sharing_disabled:
        return rights - {ChatRight.SHARE}
    return rights if ChatRight.READ in rights else rights | _shared_rights(user, chat)


def _shared_rights(user: User, chat: Chat) -> frozenset[ChatRight]:
    """Return what the ACL of the chat's root grants, directly or through a group."""
    root = chat if chat.root_id == chat.pk else Chat.objects.filter(pk=chat.root_id).first()
    if root is None:
        return frozenset()
    entries = [root.user_acl.get(str(user.pk))]
    if root.group_acl and membership(user, chat.organization_id):
        entries += [root.group_acl.get(str(group_id)) for group_id in group_ids_of(user)]
    rights: frozenset[ChatRight] = frozenset()
    for entry in entries:
        if acl_role(entry):
            rights |= ACL_RIGHTS[acl_role(entry)]
    return chat_rights_within_scopes(user, rights)


def get_chat_for(user: User, chat_id: UUID, right: ChatRight = ChatRight.READ) -> Chat:
    """Return a chat the user holds `right` on, with its owner. Raises the 404 otherwise."""
    chat = get_chat_unscoped(chat_id)
    if chat is None or right not in chat_rights(user, chat):
        raise not_found()
    return chat


def get_own_chat_for(user: User, chat_id: UUID, *, may: str) -> Chat:
    """Return a chat the user may update and owns. Raises 404, or 403 naming what was tried."""
    chat = get_chat_for(user, chat_id, ChatRight.UPDATE)
    if chat.owner_id != user.pk:
        raise forbidden(f"Only the chat owner may {may}.")
    return chat


def get_chat_unscoped(chat_id: UUID) -> Chat | None:
    """Return a chat with its owner, whoever asks."""
    return _CHAT.first(chat_id=chat_id)


_CHAT = Select(
    lambda: Chat.objects.select_related("owner", "diff_status").filter(
        pk=Parameter("chat_id", UUIDField())
    )[:1]
)


def with_unread(chats: QuerySet[Chat]) -> QuerySet[Chat]:
    """Annotate `unread`: an assistant message newer than the owner's read cursor exists."""
    newer = ChatMessage.objects.filter(
        chat_id=OuterRef("pk"),
        role=Role.ASSISTANT,
        deleted=False,
        pk__gt=Coalesce(OuterRef("last_read_message_id"), 0),
    )
    return chats.annotate(unread=Exists(newer))


def own_roots(user: User) -> QuerySet[Chat]:
    """Return the user's own root chats that roles let them read."""
    chats = Chat.objects.filter(owner=user, parent_chat__isnull=True)
    if reads_every_chat(user):
        return chats
    return chats.filter(organization_id__in=_readable_in(user, memberships(user), own=True))


def list_chats_for(
    user: User,
    *,
    limit: int = 0,
    offset: int = 0,
    after_id: UUID | None = None,
    wanted: ChatFilter = ALL_ACTIVE,
) -> list[Chat]:
    """Return a page of the user's own root chats: pinned first, then newest first.

    `limit` 0 is the default page. An unknown `after_id` gives an empty page.
    """
    chats = own_roots(user)
    if after_id is not None:
        cursor = Chat.objects.filter(pk=after_id).first()
        if cursor is None:
            return []
        chats = chats.filter(_after(cursor))
    ordered = chats.annotate(unpinned=Q(pin_order=0)).order_by(
        "unpinned", "pin_order", "-updated_at", "-id"
    )
    page = apply_filter(with_unread(ordered.select_related("owner", "diff_status")), wanted)
    return list(page[offset : offset + (limit or DEFAULT_PAGE)])


def _after(cursor: Chat) -> Q:
    # The first condition is implied; it lets the index start at the cursor.
    older = Q(updated_at__lte=cursor.updated_at) & (
        Q(updated_at__lt=cursor.updated_at) | Q(id__lt=cursor.pk)
    )
    if cursor.pin_order:
        return (
            Q(pin_order=0)
            | Q(pin_order__gt=cursor.pin_order)
            | (Q(pin_order=cursor.pin_order) & older)
        )
    return Q(pin_order=0) & older


def readable_chats(user: User) -> QuerySet[Chat]:
    """Return the chats a user may read: by role, as owner, or shared by the ACL of the root."""
    if reads_every_chat(user):
        return Chat.objects.all()
    if not may_read_chats(user):
        return Chat.objects.none()
    members = memberships(user)
    own = Q(owner=user, organization_id__in=_readable_in(user, members, own=True))
    allowed = own | Q(organization_id__in=_readable_in(user, members, own=False))
    if not env.sharing_disabled:
        joined = Q(organization_id__in=[member.organization_id for member in members])
        groups = group_ids_of(user)
        for root in ("", "root_chat__"):
            allowed |= Q(**{f"{root}user_acl__{user.pk}__permissions": READ_PERMISSIONS})
            for group_id in groups:
                grant = Q(**{f"{root}group_acl__{group_id}__permissions": READ_PERMISSIONS})
                allowed |= joined & grant
    return Chat.objects.filter(allowed)


def _readable_in(user: User, members: Sequence[OrganizationMember], *, own: bool) -> list[UUID]:
    """Return the organisations whose chats (one's own, or everybody's) roles let a user read."""
    return [
        member.organization_id
        for member in members
        if ChatRight.READ in organization_chat_rights(user, member, own=own)
    ]


def newest_by_workspace(user: User, workspace_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return, by workspace, the newest active chat the user may read."""
    rows = (
        readable_chats(user)
        .filter(workspace_id__in=workspace_ids, archived=False)
        .order_by("updated_at", "id")
        .values_list("workspace_id", "pk")
    )
    return {workspace_id: chat_id for workspace_id, chat_id in rows if workspace_id}


def list_children_for(user: User, roots: list[Chat]) -> dict[UUID, list[Chat]]:
    """Return the sub-chats of roots, by root id, that share the root's archived state."""
    archived = {root.pk: root.archived for root in roots}
    by_root: dict[UUID, list[Chat]] = {root_id: [] for root_id in archived}
    children = (
        Chat.objects.filter(root_chat_id__in=archived)
        .select_related("owner", "diff_status")
        .order_by("-created_at", "-id")
    )
    for child in with_unread(children):
        if child.archived == archived[child.root_id]:
            by_root[child.root_id].append(child)
    return by_root


# messages


def visible_messages(chat_id: UUID | Parameter) -> QuerySet[ChatMessage]:
    """Messages that people see: not deleted, not for the model alone."""
    return ChatMessage.objects.filter(
        chat_id=chat_id, deleted=False, visibility__in=VISIBLE_TO_USER
    )


def first_and_last_messages(chat_id: UUID, count: int) -> list[ChatMessage]:
    """Return up to `count` visible messages of each end, each message once, oldest first."""
    rows = visible_messages(chat_id)
    ends = [*rows.order_by("id")[:count], *rows.order_by("-id")[:count]]
    return sorted({row.pk: row for row in ends}.values(), key=lambda row: row.pk)


@dataclass(frozen=True, slots=True)
class PromptRow:
    """What a stored message carries into a prompt; whole rows take several times as long to read.

    `is_summary` marks the compaction summary, which stands for what came before it.
    `provider_response_id` is what the provider that keeps an answer calls it.
    """

    pk: int
    role: str
    content: list[dict[str, Any]] | None
    is_summary: bool = False
    model_config_id: UUID | None = None
    provider_response_id: str | None = None


def prompt_messages(chat_id: UUID) -> list[PromptRow]:
    """Return what a prompt is made of, oldest first (engine 1.2).

    The latest compaction summary stands for everything before it but system messages, and but
    messages with files of a workspace, which the prompt retells (engine 7.5).
    """
    since = [PromptRow(*row) for row in _SINCE_SUMMARY.all(chat_id=chat_id)]
    if not since or not since[0].is_summary:
        return since
    # A read of its own, so that none goes through what was summarised.
    outliving = Q(role=Role.SYSTEM) | Q(role=Role.USER, created_by__isnull=True)
    rows = _for_model(chat_id).filter(outliving, compressed=False, pk__lt=since[0].pk)
    before = [PromptRow(*row) for row in _prompt_columns(rows)]
    kept = (row for row in before if row.role == Role.SYSTEM or has_context_file(row.content))
    return [*kept, *since]


def _for_model(chat_id: UUID | Parameter) -> QuerySet[ChatMessage]:
    return ChatMessage.objects.filter(
        chat_id=chat_id, deleted=False, visibility__in=VISIBLE_TO_MODEL
    )


def _since_summary() -> QuerySet[ChatMessage, tuple[Any, ...]]:
    rows = _for_model(Parameter("chat_id", UUIDField()))
    summaries = rows.filter(compressed=True, visibility=Visibility.MODEL).order_by("-id")
    summary_id = Coalesce(Subquery(summaries.values("pk")[:1]), 0)
    return _prompt_columns(rows.filter(Q(compressed=False) | Q(pk=summary_id), pk__gte=summary_id))


def _prompt_columns(rows: QuerySet[ChatMessage]) -> QuerySet[ChatMessage, tuple[Any, ...]]:
    columns = ("pk", "role", "content", "compressed", "model_config_id", "provider_response_id")
    return rows.order_by("id").values_list(*columns)


_SINCE_SUMMARY = Select(_since_summary)


@dataclass(frozen=True, slots=True)
class MessagePage:
    messages: list[ChatMessage]
    has_more: bool


def page_messages(
    chat_id: UUID, *, before_id: int = 0, after_id: int = 0, limit: int = DEFAULT_PAGE
) -> MessagePage:
    """Return a page of visible messages; newest first, or oldest first with only `after_id`.

    0 is no cursor. Raises ChatdError 400 when the cursors cross.
    """
    if before_id and after_id and after_id >= before_id:
        raise bad_request("after_id must be less than before_id.")
    rows = visible_messages(chat_id)
    if before_id:
        rows = rows.filter(pk__lt=before_id)
    if after_id:
        rows = rows.filter(pk__gt=after_id)
    order = "id" if after_id and not before_id else "-id"
    found = list(rows.order_by(order)[: limit + 1])
    return MessagePage(found[:limit], len(found) > limit)


MAX_PROMPTS = 2000
DEFAULT_PROMPTS = 500


def list_prompts(chat_id: UUID, *, limit: int = 0) -> list[tuple[int, str]]:
    """Return id and text of the visible user messages that have text, newest first."""
    rows = (
        visible_messages(chat_id)
        .filter(role=Role.USER)
        .order_by("-id")
        .values_list("pk", "content")
    )
    found: list[tuple[int, str]] = []
    for message_id, content in rows.iterator(chunk_size=200):
        text = text_of(content)
        if text.strip():
            found.append((message_id, text))
        if len(found) == (limit or DEFAULT_PROMPTS):
            break
    return found


def list_queue(chat_id: UUID) -> list[ChatQueuedMessage]:
    """Return the queue, the next one first."""
    return list(ChatQueuedMessage.objects.filter(chat_id=chat_id).order_by("created_at", "id"))


def newest_assistant_id(chat_id: UUID) -> int | None:
    """Return the id of the newest assistant message that is not deleted."""
    return _newest_answers(chat_id).values_list("pk", flat=True).first()


def _newest_answers(chat_id: UUID) -> QuerySet[ChatMessage]:
    answers = ChatMessage.objects.filter(chat_id=chat_id, role=Role.ASSISTANT, deleted=False)
    return answers.order_by("-id")


def open_client_calls(chat: Chat) -> list[dict[str, Any]]:
    """Return the client-side tool calls of the last assistant message that have no result."""
    declared = {tool.get("name") for tool in chat.dynamic_tools or []}
    if not declared:
        return []
    last = _newest_answers(chat.pk).first()
    if last is None:
        return []
    later = ChatMessage.objects.filter(
        chat=chat, role=Role.TOOL, deleted=False, pk__gt=last.pk
    ).values_list("content", flat=True)
    answered = {part.get("tool_call_id") for content in later for part in content or []}
    return [
        part
        for part in last.content or []
        if part.get("type") == "tool-call"
        and part.get("tool_name") in declared
        and not part.get("provider_executed")
        and part.get("tool_call_id") not in answered
    ]
