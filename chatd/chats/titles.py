"""The title of a chat: renaming it, and the lock of those who ask a model for one.

Asking takes seconds, so the lock is a pair of columns and no transaction: taken in a short one,
held while the model writes, ended in another one. Who dies with it loses it after a minute.
A running chat is not locked: there titles may be made side by side.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.db import OperationalError, transaction

from chatd.chats.charges import charge_hidden_cost
from chatd.chats.models import Chat, Status
from chatd.chats.new_messages import NewMessage
from chatd.chats.search import index_title
from chatd.chats.transition import lock_chat, watch_after_commit
from chatd.core.clock import now
from chatd.core.errors import bad_request, conflict
from chatd.spending.admission import check_limit

log = structlog.get_logger(__name__)

MAX_TITLE = 200
LOCK_KEPT = timedelta(minutes=1)

TITLE_LOCKED = "Title regeneration already in progress for this chat."


@dataclass(frozen=True, slots=True)
class TitleClaim:
    """The right to give a chat a title: the chat as it was, and the lock, None if it ran."""

    chat: Chat
    lock_id: UUID | None


def rename(chat: Chat, raw: str) -> None:
    """Give a locked row the title that a person typed. Raises ChatdError 400, 409."""
    title = raw.replace("\x00", "").strip()
    if not title:
        raise bad_request("Title cannot be empty.")
    if len(title) > MAX_TITLE:
        raise bad_request(f"Title must be at most {MAX_TITLE} characters.")
    if title == chat.title:
        return
    _check_unlocked(chat)
    _write(chat, title)


@contextmanager
def title_claim(chat_id: UUID) -> Iterator[TitleClaim]:
    """Hold the title of a chat while a model is asked for one, which its owner can still pay.

    Raises ChatdError 404, 409.
    """
    claim = _take(chat_id)
    try:
        yield claim
    finally:
        _release(claim)


@transaction.atomic
def store_title(claim: TitleClaim, title: str, *, cost: NewMessage | None) -> Chat:
    """Record what a title cost and store it; an empty one is not stored. Raises the 404.

    Nor is one of a claim that was lost, or of a chat that was renamed meanwhile.
    """
    chat = lock_chat(claim.chat.pk)
    if cost is not None:
        charge_hidden_cost(chat, cost)
    is_ours = claim.lock_id is None or claim.lock_id == chat.title_lock_id
    if not title or not is_ours or chat.title != claim.chat.title or title == chat.title:
        return chat
    chat.updated_at = now()
    written: dict[str, Any] = {"updated_at": chat.updated_at}
    if claim.lock_id is not None:  # who hears of the title may change it at once
        written |= {"title_lock_id": None, "title_locked_at": None}
    _write(chat, title, **written)
    return chat


@transaction.atomic
def store_first_title(
    chat_id: UUID, title: str, *, instead_of: str, costs: Sequence[NewMessage]
) -> bool:
    """Record what a title cost that nobody asked for, and store it; an empty one is not stored.

    It replaces the one title it was made for: a rename wins. `updated_at` stays. Returns whether
    it was stored. Raises the 404.
    """
    chat = lock_chat(chat_id)
    for cost in costs:
        charge_hidden_cost(chat, cost)
    if not title or chat.title != instead_of or title == chat.title:
        return False
    _write(chat, title)
    return True


def _write(chat: Chat, title: str, **others: Any) -> None:
    """Store the title of a locked row with `others` of its columns, and tell its owner."""
    Chat.objects.filter(pk=chat.pk).update(title=title, **others)
    chat.title = title
    index_title(chat)
    watch_after_commit(chat, "title_change")


def _check_unlocked(chat: Chat) -> None:
    if chat.status == Status.RUNNING:
        return
    is_held = chat.title_locked_at is not None and chat.title_locked_at > now() - LOCK_KEPT
    if is_held or chat.status == Status.PENDING:
        raise conflict(TITLE_LOCKED)


@transaction.atomic
def _take(chat_id: UUID) -> TitleClaim:
    chat = lock_chat(chat_id)
    _check_unlocked(chat)
    check_limit(chat.owner_id, chat.organization_id)
    if chat.status == Status.RUNNING:
        return TitleClaim(chat, None)
    lock_id = uuid4()
    Chat.objects.filter(pk=chat_id).update(title_lock_id=lock_id, title_locked_at=now())
    return TitleClaim(chat, lock_id)


def _release(claim: TitleClaim) -> None:
    """End the lock if it is still ours; one that cannot be ended now ends by itself."""
    if claim.lock_id is None:
        return
    held = Chat.objects.filter(pk=claim.chat.pk, title_lock_id=claim.lock_id)
    try:
        held.update(title_lock_id=None, title_locked_at=None)
    except OperationalError as error:
        log.warning("title lock not released", error=str(error))
