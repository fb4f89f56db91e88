"""Finding what was forgotten. Every worker sweeps; doing it twice does no harm.

Pending chats whose broker message was lost are sent again, first after two seconds and then at
longer intervals, so that a long backlog is not multiplied. Expired leases make a chat pending
again. Waits for client-side tools end at their deadline. So do debug runs that nobody
writes to, and holds of calls that are over.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.db.models import DateTimeField, Exists, F, OuterRef, Q

from chatd.chats import runs
from chatd.chats.debug_writes import interrupt_stale
from chatd.chats.models import Chat, Status
from chatd.core.outages import DATABASE_AWAY, is_database_answering
from chatd.core.shared_clock import shared_now
from chatd.core.statements import Parameter, Select
from chatd.live.dispatch import enqueue_turn
from chatd.spending.ledger import release_holds
from chatd.spending.ledger_models import OpenHold
from config.env import env

log = structlog.get_logger(__name__)

BATCH = 200
RESEND_AGAIN_SECONDS = 30
DEBUG_STALE_SECONDS = 15 * 60


_INSTANT = Parameter("instant", DateTimeField())
_EXPIRED_LEASES = Select(
    lambda: Chat.objects.filter(status=Status.RUNNING, lease_expires_at__lt=_INSTANT).values_list(
        "pk", flat=True
    )[:BATCH]
)
_EXPIRED_ACTIONS = Select(
    lambda: Chat.objects.filter(
        status=Status.REQUIRES_ACTION, archived=False, action_deadline_at__lt=_INSTANT
    ).values_list("pk", flat=True)[:BATCH]
)
_FORGOTTEN = Select(
    lambda: (
        Chat.objects.filter(
            Q(dispatched_at=None)
            | Q(dispatched_at__lt=F("updated_at"))
            | Q(dispatched_at__lt=Parameter("sent_long_ago", DateTimeField())),
            Q(updated_at__lt=Parameter("waiting_since", DateTimeField()))
            # of a process whose clock is ahead: it would be waited for until then
            | Q(updated_at__gt=Parameter("ahead", DateTimeField())),
            status=Status.PENDING,
            archived=False,
        )
        .order_by("updated_at")
        .values_list("pk", "owner_id", "dispatched_at", "updated_at")[:BATCH]
    )
)


def sweep() -> None:
    """Recover, expire and send again what is due, at most `BATCH` chats of each."""
    instant = shared_now()
    _recover_expired_leases(instant)
    _expire_actions(instant)
    _resend_pending(instant)
    _end_forgotten_debug_runs(instant)
    _release_forgotten_holds(instant)


def _recover_expired_leases(instant: datetime) -> None:
    for chat_id in _EXPIRED_LEASES.all(instant=instant):
        if _done(runs.recover, chat_id):
            log.warning("turn recovered from a lost worker", chat_id=str(chat_id))


def _expire_actions(instant: datetime) -> None:
    for chat_id in _EXPIRED_ACTIONS.all(instant=instant):
        if _done(runs.expire_action, chat_id):
            log.info("client tools timed out", chat_id=str(chat_id))


def _resend_pending(instant: datetime) -> None:
    forgotten = _FORGOTTEN.all(
        sent_long_ago=instant - timedelta(seconds=RESEND_AGAIN_SECONDS),
        waiting_since=instant - timedelta(seconds=env.pending_resend_seconds),
        ahead=instant + timedelta(seconds=env.lease_seconds),
    )
    for chat_id, owner_id, dispatched_at, pending_since in forgotten:
        if _was_sent_lately(dispatched_at, pending_since, instant):
            continue
        waiting = Chat.objects.filter(pk=chat_id, status=Status.PENDING)
        if waiting.filter(dispatched_at=dispatched_at).update(dispatched_at=instant):
            if not enqueue_turn(chat_id, owner_id):
                # the broker is away: the next round tries again, as if nobody had tried
                waiting.filter(dispatched_at=instant).update(dispatched_at=dispatched_at)
                return
            log.warning("pending turn sent again", chat_id=str(chat_id))


def _end_forgotten_debug_runs(instant: datetime) -> None:
    """End the debug runs of workers that were lost (engine 23); a failure keeps nothing else."""
    try:
        ended = interrupt_stale(instant - timedelta(seconds=DEBUG_STALE_SECONDS), at_most=BATCH)
    except DatabaseError as error:
        log.warning("debug runs not swept", error=type(error).__name__)
        return
    if ended:
        log.info("forgotten debug runs ended", count=ended)


def _release_forgotten_holds(instant: datetime) -> None:
    """Give back what nobody will settle: of calls that had to end, and of turns that are over.

    What ends a turn ends its holds too; this is for what a lost process left behind.
    """
    running = Chat.objects.filter(runner_id=OuterRef("runner_id"), status=Status.RUNNING)
    forgotten = OpenHold.objects.filter(
        Q(expires_at__lt=instant)
        | Q(
            ~Exists(running),
            runner_id__isnull=False,
            created_at__lt=instant - timedelta(seconds=env.lease_seconds),
        )
    )
    with transaction.atomic():
        ids = list(forgotten.values_list("pk", flat=True)[:BATCH])
        if ids and release_holds(ids, at=instant, note="The call was forgotten."):
            log.warning("holds of forgotten calls released", count=len(ids))


def _was_sent_lately(sent_at: datetime | None, pending_since: datetime, at: datetime) -> bool:
    """Whether a chat that waits for a slot was sent again as long ago as it waited before that."""
    if sent_at is None or sent_at < pending_since:
        return False
    return at - sent_at < sent_at - pending_since


def _done(change: Callable[[UUID], bool], chat_id: UUID) -> bool:
    """Apply a change; a chat that cannot be changed must not keep the others from it."""
    try:
        return change(chat_id)
    except DATABASE_AWAY as error:
        if not is_database_answering():
            raise  # each of the others would wait for it just as long
        log.warning("sweep failed for a chat", chat_id=str(chat_id), error=str(error))
        return False
    except Exception:
        log.exception("sweep failed for a chat", chat_id=str(chat_id))
        return False
