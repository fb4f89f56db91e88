"""Comparing the books of money: messages, ledger, open holds and the sums by day.

They are written together and always say the same; this finds out whether something else has written
to the database. Messages are right about the chats that are there, open holds about what is held,
and the ledger about the sums by day.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import TruncDate

from chatd.chats.charges import account_of
from chatd.chats.models import Chat, ChatMessage
from chatd.chats.transition import lock_chat
from chatd.core.clock import now
from chatd.spending.ledger import Account, correct_day, correct_entry
from chatd.spending.ledger_models import LedgerEntry, OpenHold
from chatd.spending.models import SpendDay

REPAIRED = "The books did not agree."

Key = TypeVar("Key", bound=Hashable)
Day = tuple[UUID, UUID, date]
"""A person, an organisation, a day."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two books do not agree: `entered` in the ledger, `expected` by the other, in micros."""

    what: str
    key: UUID | Day
    entered: int
    expected: int

    def __str__(self) -> str:
        about = self.key if isinstance(self.key, UUID) else " ".join(map(str, self.key))
        return f"{self.what} {about}: {self.entered} in the ledger, {self.expected} beside it"


def compare_books() -> list[Difference]:
    """Return where the books differ, as they were at one moment."""
    with _one_moment():
        chats = set(Chat.objects.values_list("pk", flat=True).iterator())
        spent = _differences("spend of chat", _of_ledger("settled_micros"), _of_messages())
        held = _differences("holds of chat", _of_ledger("held_micros"), _of_holds())
        days = _differences("spend of", _days_of_ledger(), _days())
    return [each for each in spent if each.key in chats] + held + days


def repair(difference: Difference) -> None:
    """Correct what still differs, each in a transaction of its own."""
    match difference:
        case Difference(what="spend of", key=(owner_id, organization_id, day)):
            correct_day(owner_id, organization_id, day)
        case Difference(key=UUID() as chat_id):
            _repair_chat(chat_id)


@transaction.atomic
def _repair_chat(chat_id: UUID) -> None:
    """Enter into the ledger what a chat has cost and holds beyond what stands there."""
    chat = lock_chat(chat_id) if Chat.objects.filter(pk=chat_id).exists() else None
    entered = LedgerEntry.objects.filter(chat_id=chat_id)
    held = _sum(OpenHold.objects.filter(chat_id=chat_id), "micros") - _sum(entered, "held_micros")
    spent = 0
    if chat is not None:
        costs = _sum(ChatMessage.objects.filter(chat=chat), "total_cost_micros")
        spent = costs - _sum(entered, "settled_micros")
    latest = entered.order_by("-pk").first()
    about = account_of(chat) if chat else latest and _account_of(latest)
    if about and (held or spent):
        correct_entry(about, held=held, settled=spent, at=now(), note=REPAIRED)


def _account_of(entry: LedgerEntry) -> Account:
    return Account(
        owner_id=entry.owner_id,
        organization_id=entry.organization_id,
        chat_id=entry.chat_id,
        root_chat_id=entry.root_chat_id,
    )


@contextmanager
def _one_moment() -> Iterator[None]:
    with transaction.atomic():
        if connection.vendor == "postgresql" and not connection.savepoint_ids:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _differences(what: str, entered: Counter[Key], expected: Counter[Key]) -> list[Difference]:
    keys: Iterable[Any] = sorted(entered.keys() | expected.keys(), key=str)
    return [
        Difference(what, key, entered[key], expected[key])
        for key in keys
        if entered[key] != expected[key]
    ]


def _of_ledger(column: str) -> Counter[UUID]:
    return _by_chat(LedgerEntry.objects.all(), column)


def _of_messages() -> Counter[UUID]:
    return _by_chat(ChatMessage.objects.filter(total_cost_micros__gt=0), "total_cost_micros")


def _of_holds() -> Counter[UUID]:
    return _by_chat(OpenHold.objects.all(), "micros")


def _by_chat(rows: Any, column: str) -> Counter[UUID]:
    sums = rows.order_by().values_list("chat_id").annotate(Sum(column))
    return Counter({chat_id: int(micros or 0) for chat_id, micros in sums.iterator()})


def _days_of_ledger() -> Counter[Day]:
    day = TruncDate("created_at", tzinfo=UTC)
    rows = LedgerEntry.objects.exclude(settled_micros=0).order_by()
    sums = rows.values_list("owner_id", "organization_id", day).annotate(Sum("settled_micros"))
    return Counter({(who, where, when): int(micros) for who, where, when, micros in sums})


def _days() -> Counter[Day]:
    rows = SpendDay.objects.values_list("owner_id", "organization_id", "day", "micros")
    return Counter({(who, where, when): micros for who, where, when, micros in rows.iterator()})


def _sum(rows: Any, column: str) -> int:
    return int(rows.aggregate(sum=Sum(column))["sum"] or 0)
