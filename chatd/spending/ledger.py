"""Writes of the ledger: what a call held is settled, or given back. Taking a hold is in `holds`.

Everything here is part of the caller's transaction, so that the ledger, the sums by day and the
messages that store the costs always say the same. Rows of a person's chats of a day share a sum, so
this comes after every lock of a chat.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.db import transaction
from django.db.models import F, Sum, UUIDField
from django.db.models.functions import Least

from chatd.core.statements import Parameter, Select, insert
from chatd.spending.amounts import MAX_MICROS
from chatd.spending.ledger_models import CallKind, EntryKind, LedgerEntry, OpenHold
from chatd.spending.models import SpendDay

log = structlog.get_logger(__name__)

CALL_FAILED = "The call failed."
"""Why a hold was released, where that is not said by the entries beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays, and the chat that it is for; `root_chat_id` is its own id for a chat of people."""

    owner_id: UUID
    organization_id: UUID
    chat_id: UUID
    root_chat_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledCall:
    """A model call whose cost is known: `micros` is None where it has no price.

    `hold_id` is None where nothing was held. `message_id` is the row that stores the cost.
    """

    hold_id: UUID | None
    kind: CallKind
    model_config_id: UUID | None
    step: int
    message_id: int
    micros: int | None
    is_estimated: bool = False


def settle_calls(account: Account, calls: Sequence[SettledCall], *, at: datetime) -> None:
    """Charge calls and end their holds. What was held beyond the cost is released."""
    if not calls:
        return
    held = _taken(call.hold_id for call in calls if call.hold_id)
    entries: list[LedgerEntry] = []
    for call in calls:
        cost = call.micros or 0
        hold = held.get(call.hold_id) if call.hold_id else None
        kept = min(hold.micros, cost) if hold else 0
        about: dict[str, Any] = {
            **asdict(account),
            "call_id": call.hold_id or uuid4(),
            "model_config_id": call.model_config_id,
            "call_kind": call.kind,
            "step": call.step,
            "created_at": at,
        }
        entries.append(
            LedgerEntry(
                kind=EntryKind.SETTLE,
                message_id=call.message_id,
                held_micros=-kept,
                settled_micros=cost,
                is_priced=call.micros is not None,
                is_estimated=call.is_estimated,
                **about,
            )
        )
        if hold and hold.micros > kept:
            rest = kept - hold.micros
            entries.append(LedgerEntry(kind=EntryKind.RELEASE, held_micros=rest, **about))
        if hold and cost > hold.micros:
            log.error(
                "a call cost more than was held for it",
                chat_id=str(account.chat_id),
                held_micros=hold.micros,
                cost_micros=cost,
            )
    insert(entries)
    _add_to_day(account, at=at, micros=sum(call.micros or 0 for call in calls))


def release_holds_of(runner_id: UUID, *, at: datetime, note: str = "") -> None:
    """Give back whatever a runner holds: its run has ended."""
    _release(_OF_RUNNER.all(runner_id=runner_id), at=at, note=note)


_OF_RUNNER = Select(
    lambda: OpenHold.objects.select_for_update().filter(
        runner_id=Parameter("runner_id", UUIDField())
    )
)


def release_holds(hold_ids: Collection[UUID], *, at: datetime, note: str = "") -> int:
    """Give back holds; those that have ended are passed over. Returns how many there were."""
    held = list(OpenHold.objects.select_for_update().filter(pk__in=hold_ids))
    _release(held, at=at, note=note)
    return len(held)


def shrink_hold(hold_id: UUID, micros: int, *, at: datetime) -> None:
    """Hold no more than `micros` for a call that has ended and is stored later."""
    hold = OpenHold.objects.select_for_update().filter(pk=hold_id, micros__gt=micros).first()
    if hold is None:
        return
    if micros <= 0:
        release_holds([hold_id], at=at)
        return
    LedgerEntry.objects.bulk_create([_release_entry(hold, hold.micros - micros, at, "")])
    OpenHold.objects.filter(pk=hold_id).update(micros=micros)


def correct_spend(account: Account, micros: int, *, at: datetime, note: str) -> None:
    """Add to what was spent, or take away from it, because it had been wrong; `note` says why."""
    correct_entry(account, settled=micros, at=at, note=note)
    _add_to_day(account, at=at, micros=micros)


def correct_entry(
    account: Account, *, settled: int = 0, held: int = 0, at: datetime, note: str
) -> None:
    """Correct the ledger alone, where it was wrong and the sums by day may be right."""
    entry = LedgerEntry(
        kind=EntryKind.CORRECTION,
        call_id=uuid4(),
        settled_micros=settled,
        held_micros=held,
        note=note,
        created_at=at,
        **asdict(account),
    )
    entry.save(force_insert=True)


@transaction.atomic
def correct_day(owner_id: UUID, organization_id: UUID, day: date) -> None:
    """Make the sum of a day what the ledger says."""
    key: dict[str, Any] = {"owner_id": owner_id, "organization_id": organization_id}
    SpendDay.objects.get_or_create(**key, day=day)
    sums = SpendDay.objects.select_for_update().filter(**key, day=day)
    list(sums)  # locked before the entries are read: who adds one adds to the sum as well
    start = datetime.combine(day, time.min, UTC)
    entered = LedgerEntry.objects.filter(
        **key, created_at__gte=start, created_at__lt=start + timedelta(days=1)
    )
    sums.update(micros=entered.aggregate(sum=Sum("settled_micros"))["sum"] or 0)


def _release(held: Sequence[OpenHold], *, at: datetime, note: str) -> None:
    """Give back holds that the caller has locked."""
    if held:
        insert([_release_entry(hold, hold.micros, at, note) for hold in held])
        OpenHold.objects.filter(pk__in=[hold.pk for hold in held]).delete()


def _taken(hold_ids: Iterable[UUID]) -> Mapping[UUID, OpenHold]:
    """Return the holds that are open, and end them."""
    wanted = list(hold_ids)
    if not wanted:
        return {}
    held = OpenHold.objects.select_for_update().in_bulk(wanted)
    OpenHold.objects.filter(pk__in=held).delete()
    return held


def _release_entry(hold: OpenHold, micros: int, at: datetime, note: str) -> LedgerEntry:
    return LedgerEntry(
        kind=EntryKind.RELEASE,
        call_id=hold.pk,
        held_micros=-micros,
        note=note,
        created_at=at,
        **about_call(hold),
    )


def about_call(hold: OpenHold) -> dict[str, Any]:
    """Return the columns that an entry shares with the hold of its call."""
    return {
        "owner_id": hold.owner_id,
        "organization_id": hold.organization_id,
        "chat_id": hold.chat_id,
        "root_chat_id": hold.root_chat_id,
        "model_config_id": hold.model_config_id,
        "call_kind": hold.call_kind,
        "step": hold.step,
    }


def _add_to_day(account: Account, *, at: datetime, micros: int) -> None:
    """Add to what was spent on a day; what no column can hold counts as the most it can."""
    if not micros:
        return
    key = {
        "owner_id": account.owner_id,
        "organization_id": account.organization_id,
        "day": at.astimezone(UTC).date(),
    }
    days = SpendDay.objects.filter(**key)
    micros = min(micros, MAX_MICROS)
    total = Least(F("micros"), MAX_MICROS - max(micros, 0)) + micros
    if not days.update(micros=total):
        SpendDay.objects.bulk_create([SpendDay(**key)], ignore_conflicts=True)
        days.update(micros=total)
