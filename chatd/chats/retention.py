"""What time does to chats: those nobody writes in are archived, archived ones are deleted.

Everything is done in small transactions, so a tick that is cut off loses nothing, and two at once
do nothing twice. What a chat cost stays in the sums of its owner.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from chatd.audit.actions import Author, record
from chatd.audit.models import Action
from chatd.chats.audit import audited_fields, resource_of
from chatd.chats.debug_models import ChatDebugRun
from chatd.chats.models import Chat, ChatFile, ChatFileLink, ChatMessage, Status
from chatd.chats.moves import EpisodeMovedError
from chatd.chats.states import archive_chat
from chatd.chats.transition import StateConflictError
from chatd.core.locks import try_lock

log = structlog.get_logger(__name__)

MOST_PER_TICK = 1000
AT_ONCE = 100
"""Rows of one transaction: short ones let others write in between."""

AUTHOR = Author(None, "chat_auto_archive")
_LOCK, _ARCHIVE_LOCK = "chatd retention", "chatd auto-archive"
_IDLE = (Status.WAITING, Status.ERROR)


def purge_chats(before: datetime) -> int:
    """Delete chats that were archived, and not touched since, before an instant: the oldest first.

    Sub-chats that were archived later stay, as roots. Returns how many were deleted.
    """
    due = Chat.objects.filter(archived=True, updated_at__lt=before).order_by("updated_at", "pk")
    return _purge(due)


def purge_files(before: datetime) -> int:
    """Delete files that are older than an instant and in no chat that is kept."""
    kept = Q(chat__archived=False) | Q(chat__updated_at__gte=before)
    linked = ChatFileLink.objects.filter(kept, file=OuterRef("pk"))
    due = ChatFile.objects.filter(~Exists(linked), created_at__lt=before)
    return _purge(due.order_by("created_at", "pk"))


def purge_debug_runs(before: datetime) -> int:
    """Delete recorded model calls last written before an instant, whatever their state."""
    return _purge(ChatDebugRun.objects.filter(updated_at__lt=before).order_by("updated_at", "pk"))


@dataclass(frozen=True, slots=True)
class Archived:
    """A root chat that was archived with its sub-chats; `chats`: how many that were."""

    chat_id: UUID
    owner_id: UUID
    title: str
    chats: int = 1


def archive_forgotten(before: datetime) -> Iterator[Archived]:
    """Archive root chats in whose family nobody wrote since an instant: the oldest first.

    Pinned chats and those that work or wait for something stay. Each is archived in a transaction
    of its own, with an entry in the audit log, as it is yielded. Ends where another runner is met.
    """
    due = _forgotten(before).order_by("created_at", "pk")
    for chat_id in list(due.values_list("pk", flat=True)[:MOST_PER_TICK]):
        try:
            archived = _archive(
                chat_id, lambda chat: _forgotten(before).filter(pk=chat.pk).exists()
            )
        except _AtWorkElsewhereError:
            return
        if archived is not None:
            yield archived


def _forgotten(before: datetime) -> QuerySet[Chat]:
    written = ChatMessage.objects.filter(deleted=False, created_at__gte=before)
    return Chat.objects.filter(
        ~Exists(written.filter(chat=OuterRef("pk"))),
        ~Exists(written.filter(chat__root_chat=OuterRef("pk"))),
        parent_chat__isnull=True,
        root_chat__isnull=True,
        archived=False,
        pin_order=0,
        created_at__lt=before,
        status__in=_IDLE,
    )


class _AtWorkElsewhereError(Exception):
    """Another process archives forgotten chats at this moment."""


def _archive(chat_id: UUID, if_still: Callable[[Chat], bool]) -> Archived | None:
    try:
        with transaction.atomic():
            if not try_lock(_ARCHIVE_LOCK):
                raise _AtWorkElsewhereError
            shown = audited_fields(Chat.objects.get(pk=chat_id, archived=False))
            family = archive_chat(chat_id, if_still=if_still, watched=False)
            chat = family[0]
            after = audited_fields(chat)
            record(AUTHOR, Action.WRITE, resource_of(chat), before=shown, after=after)
    except (Chat.DoesNotExist, StateConflictError, EpisodeMovedError):
        log.info("a forgotten chat changed meanwhile", chat_id=str(chat_id))
        return None
    return Archived(chat_id, chat.owner_id, chat.title, len(family))


def _purge(due: QuerySet[Model]) -> int:
    """Delete what is due with all that belongs to it, at most so much; what is in use waits."""
    purged = 0
    while purged < MOST_PER_TICK:
        with transaction.atomic():
            if not try_lock(_LOCK):
                break
            locked = due.select_for_update(of=("self",), skip_locked=True)
            ids = list(locked.values_list("pk", flat=True)[:AT_ONCE])
            due.model._default_manager.filter(pk__in=ids).only("pk").delete()
        purged += len(ids)
        if len(ids) < AT_ONCE:
            break
    return purged
