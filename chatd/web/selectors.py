"""What the pages read, gathered for one template each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from chatd.accounts.models import Organization, User
from chatd.accounts.policy import ChatRight
from chatd.accounts.selectors import list_organizations_for
from chatd.chats import shapes
from chatd.chats.digests import list_digests_for
from chatd.chats.filters import parse_search
from chatd.chats.models import BUSY, ArchiveDigest, Chat, ChatMessage, Role, Status
from chatd.chats.open_steps import calls_in_doubt
from chatd.chats.partial import read_partial
from chatd.chats.search import search_chats_for
from chatd.chats.selectors import (
    MessagePage,
    chat_rights,
    get_chat_for,
    list_chats_for,
    list_queue,
    page_messages,
    visible_messages,
)
from chatd.chats.wire import error_body
from chatd.core.clock import now
from chatd.core.errors import not_found
from chatd.core.words import search_phrases
from chatd.live.writer import fold_parts
from chatd.providers.models import DEMO_PROVIDER, ModelConfig
from chatd.providers.personal import root_model_of
from chatd.spending.reports import cost_of_chat
from chatd.spending.scopes import ChatCost
from chatd.web.presentation import (
    Block,
    MessageView,
    QueuedView,
    call_block,
    live_blocks,
    message_view,
    queued_view,
    shown_text,
)
from config.env import env

MESSAGES_PER_PAGE = 50
CHATS_PER_PAGE = 25

_SNAPSHOT_TRIES = 3
_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The models a person can pick from, and the one that is picked at first."""

    models: Sequence[ModelConfig]
    selected_id: UUID | None
    is_demo: bool = False
    current: ModelConfig | None = None
    """The model of the chat, when it cannot be picked any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatListPage:
    """A page of chats; `search` is what they were searched for, `phrases` what to highlight."""

    chats: Sequence[Chat]
    older_after: UUID | None
    is_first: bool
    choice: ModelChoice
    digests: Sequence[ArchiveDigest] = ()
    search: str = ""
    is_archived: bool = False

    @property
    def is_live(self) -> bool:
        """The page that the watch socket keeps current: the newest active chats."""
        return self.is_first and not self.search and not self.is_archived

    @property
    def phrases(self) -> list[list[str]]:
        return search_phrases(self.search)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtView:
    """A tool call that a person has to decide about."""

    id: UUID
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPage:
    """One chat as of one moment. `newest_id` is the cursor from which the stream goes on."""

    chat: Chat
    messages: Sequence[MessageView]
    live: Sequence[Block]
    queue: Sequence[QueuedView]
    earlier_before: int | None
    is_newest: bool
    newest_id: int
    newest_answer_id: int
    last_user_text: str
    choice: ModelChoice
    is_own: bool
    can_send: bool
    can_stop: bool
    can_rename: bool
    can_suggest: bool
    can_share: bool
    error: shapes.ChatError | None
    doubts: Sequence[DoubtView]
    retry: dict[str, Any] | None
    cost: ChatCost | None
    """For who owns the chat, once it has cost something."""

    @property
    def is_shared(self) -> bool:
        return bool(self.chat.user_acl or self.chat.group_acl) and not env.sharing_disabled

    @property
    def is_busy(self) -> bool:
        return self.chat.status in BUSY


def get_chat_list_page(
    user: User, *, search: str = "", archived: bool = False, after_id: UUID | None = None
) -> ChatListPage:
    """Return a page of the user's own chats, or of those found. Raises ChatdError 400."""
    wanted = replace(parse_search(search), archived=archived)
    read = search_chats_for if wanted.text else list_chats_for
    found = read(user, wanted=wanted, limit=CHATS_PER_PAGE + 1, after_id=after_id)
    chats = found[:CHATS_PER_PAGE]
    is_start = after_id is None and not archived and not wanted.text
    return ChatListPage(
        chats=chats,
        older_after=chats[-1].pk if len(found) > CHATS_PER_PAGE else None,
        is_first=after_id is None,
        digests=list_digests_for(user) if is_start else (),
        choice=_choice_for_new_chats(user),
        search=wanted.text,
        is_archived=archived,
    )


def get_model_choice(current_id: UUID | None = None) -> ModelChoice:
    """Return the enabled models; `current_id` is picked where given, else the default."""
    models = list(
        ModelConfig.objects.select_related("ai_provider")
        .filter(deleted=False, enabled=True, ai_provider__enabled=True, ai_provider__deleted=False)
        .order_by("-is_default", "display_name", "model", "id")
    )
    first = models[0] if models else None
    known = any(model.pk == current_id for model in models)
    provider = first.ai_provider if first else None
    return ModelChoice(
        models=models,
        selected_id=current_id if known else (first.pk if first and not current_id else None),
        is_demo=provider is not None and provider.name == DEMO_PROVIDER,
        current=(None if known or current_id is None else ModelConfig.objects.get(pk=current_id)),
    )


def _choice_for_new_chats(user: User) -> ModelChoice:
    """Return the models, with the one picked that a person has chosen for chats of their own."""
    choice, chosen = get_model_choice(), root_model_of(user)
    known = chosen is not None and any(model.pk == chosen.pk for model in choice.models)
    return replace(choice, selected_id=chosen.pk) if chosen and known else choice


def get_home_organization(user: User) -> Organization | None:
    """Return the organisation in which the user's new chats are made: the default one first."""
    organizations = list_organizations_for(user)
    return min(organizations, key=lambda found: not found.is_default, default=None)


def get_chat_page(user: User, chat_id: UUID, *, before_id: int = 0) -> ChatPage:
    """Return one chat for its page; `before_id` 0 is the newest page. Raises the 404."""
    chat, page = _consistent(user, chat_id, min(before_id, _MAX_ID))
    messages = list(reversed(page.messages))
    rights = chat_rights(user, chat)
    is_own = chat.owner_id == user.pk
    may_change = ChatRight.UPDATE in rights
    can_send = is_own and may_change and not chat.archived
    owner_name = "" if is_own else chat.owner.get_full_name()
    newest = not before_id
    return ChatPage(
        chat=chat,
        messages=[
            message_view(message, owner_name=owner_name, can_edit=can_send) for message in messages
        ],
        live=_live(chat) if newest else [],
        queue=[queued_view(queued) for queued in list_queue(chat_id)],
        earlier_before=messages[0].pk if page.has_more else None,
        is_newest=newest,
        newest_id=messages[-1].pk if messages else 0,
        newest_answer_id=max((m.pk for m in messages if m.role == Role.ASSISTANT), default=0),
        last_user_text=_last_user_text(messages),
        choice=get_model_choice(chat.last_model_config_id),
        is_own=is_own,
        can_send=can_send,
        can_stop=may_change,
        can_rename=may_change,
        can_suggest=is_own and may_change,
        can_share=can_share(chat, rights),
        error=error_body(chat.last_error),
        doubts=_doubts(chat),
        retry=_open_retry(chat),
        cost=_cost(chat) if is_own else None,
    )


def get_page_of_message(user: User, chat_id: UUID, message_id: int) -> int:
    """Return the `before_id` of a page that shows a message: 0 where the newest page does."""
    chat = get_chat_for(user, chat_id)
    later = visible_messages(chat.pk).filter(pk__gt=min(message_id, _MAX_ID)).order_by("pk")
    ids = list(later.values_list("pk", flat=True)[:MESSAGES_PER_PAGE])
    return 0 if len(ids) < MESSAGES_PER_PAGE else ids[MESSAGES_PER_PAGE // 2]


def get_message_view(user: User, chat_id: UUID, message_id: int) -> MessageView:
    """Return one visible message of a chat that the user may read. Raises the 404."""
    chat = get_chat_for(user, chat_id)
    message = get_visible_message(chat, message_id)
    if chat.owner_id != user.pk:
        return message_view(message, owner_name=chat.owner.get_full_name())
    can_edit = ChatRight.UPDATE in chat_rights(user, chat) and not chat.archived
    return message_view(message, can_edit=can_edit)


def get_visible_message(chat: Chat, message_id: int) -> ChatMessage:
    """Return a message of the chat that people see. Raises the 404."""
    if message_id > _MAX_ID:
        raise not_found()
    message = visible_messages(chat.pk).filter(pk=message_id).first()
    if message is None:
        raise not_found()
    return message


def can_share(chat: Chat, rights: frozenset[ChatRight]) -> bool:
    """True for who may say who else reads this chat."""
    return ChatRight.SHARE in rights and chat.root_id == chat.pk


def _consistent(user: User, chat_id: UUID, before_id: int) -> tuple[Chat, MessagePage]:
    """Return the chat and its messages as of one moment.

    Were the chat older than the messages, the text of a step that was stored in between would be
    shown twice: once from the part log and once as a message.
    """
    chat = get_chat_for(user, chat_id)
    for _ in range(_SNAPSHOT_TRIES):
        page = page_messages(chat_id, before_id=before_id, limit=MESSAGES_PER_PAGE)
        again = get_chat_for(user, chat_id)
        if again.history_version == chat.history_version:
            return again, page
        chat = again
    return chat, page


def _live(chat: Chat) -> list[Block]:
    """Return what the running step has streamed so far; nothing when the log is out of reach."""
    partial = read_partial(chat)
    parts = partial.parts if partial else ()
    return live_blocks(fold_parts((part.role, part.part) for part in parts))


def _doubts(chat: Chat) -> list[DoubtView]:
    if chat.status != Status.ERROR:
        return []
    return [DoubtView(id=entry.id, block=call_block(entry.call)) for entry in calls_in_doubt(chat)]


def _cost(chat: Chat) -> ChatCost | None:
    """Return what a chat cost with its sub-chats; None where no model was called yet."""
    part = chat.pk if chat.root_chat_id else None
    cost = cost_of_chat(chat.root_chat_id or chat.pk, chat_id=part)
    return cost if cost.kinds else None


def _open_retry(chat: Chat) -> dict[str, Any] | None:
    """Return the retry notice while the back-off lasts."""
    if chat.status != Status.RUNNING or not chat.retry:
        return None
    try:
        until = datetime.fromisoformat(str(chat.retry.get("retrying_at", "")))
    except ValueError:
        return None
    retry: dict[str, Any] = chat.retry
    return retry if until > now() else None


def _last_user_text(messages: Sequence[ChatMessage]) -> str:
    for message in reversed(messages):
        if message.role == Role.USER:
            return shown_text(message.content)
    return ""
