"""Limits, and what was spent, for tests."""

from collections import Counter
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from django.db import transaction

from chatd.chats.charges import account_of
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.clock import now
from chatd.spending.ledger import Account, SettledCall, correct_spend, settle_calls
from chatd.spending.ledger_models import CallKind, EntryKind, LedgerEntry, OpenHold
from chatd.spending.models import SpendDay, UsageLimitConfig
from chatd.spending.periods import Period


def limit_everybody(micros: int | None, period: Period = Period.MONTH) -> None:
    """Set the limit of everybody; None switches limits off."""
    UsageLimitConfig.objects.update_or_create(
        defaults={
            "enabled": micros is not None,
            "default_limit_micros": micros or 0,
            "period": period,
        }
    )


def spend(
    micros: int, *, owner_id: UUID, organization_id: UUID, at: datetime | None = None
) -> None:
    nowhere = UUID(int=0)
    account = Account(
        owner_id=owner_id,
        organization_id=organization_id,
        chat_id=nowhere,
        root_chat_id=nowhere,
    )
    correct_spend(account, micros, at=at or now(), note="Spent by a test.")


def spend_in(chat: Chat, micros: int) -> None:
    """Spend in the name of a chat's owner, now."""
    spend(micros, owner_id=chat.owner_id, organization_id=chat.organization_id)


def check_ledger(chat_id: UUID) -> None:
    """Check that the ledger, the messages, the sums by day and the open holds say the same."""
    chat = Chat.objects.get(pk=chat_id)
    of_chat = LedgerEntry.objects.filter(chat_id=chat_id)
    columns = ("model_config_id", "created_at")
    costs = ChatMessage.objects.filter(chat_id=chat_id, total_cost_micros__isnull=False)
    priced = of_chat.filter(kind="settle", is_priced=True)
    assert set(priced.values_list("message_id", "settled_micros", *columns)) == set(
        costs.values_list("pk", "total_cost_micros", *columns)
    )
    held: Counter[UUID] = Counter()
    for call_id, micros in of_chat.values_list("call_id", "held_micros"):
        held[call_id] += micros
    open_holds = dict(OpenHold.objects.filter(chat_id=chat_id).values_list("pk", "micros"))
    assert {call_id: micros for call_id, micros in held.items() if micros} == open_holds
    check_days(chat.owner_id)


def check_days(owner_id: UUID) -> None:
    """Check that the sums by day are those of the ledger, whether chats are there or not."""
    entered: Counter[tuple[UUID, date]] = Counter()
    entries = LedgerEntry.objects.filter(owner=owner_id)
    for where, at, micros in entries.values_list("organization_id", "created_at", "settled_micros"):
        entered[where, at.astimezone(UTC).date()] += micros
    days = SpendDay.objects.filter(owner=owner_id).values_list("organization_id", "day", "micros")
    assert {key: micros for key, micros in entered.items() if micros} == {
        (where, day): micros for where, day, micros in days if micros
    }


@transaction.atomic
def call_model(
    chat: Chat,
    micros: int | None,
    *,
    kind: CallKind = CallKind.TURN,
    model_id: UUID | None = None,
    at: datetime | None = None,
    held: int = 0,
    is_estimated: bool = False,
) -> ChatMessage:
    """Store and charge a call of a model in a chat; `micros` is None for one without a price."""
    instant, config = at or now(), model_id or chat.last_model_config_id
    message = ChatMessage.objects.create(
        chat=chat,
        revision=chat.snapshot_version,
        role=Role.ASSISTANT,
        content=[],
        model_config_id=config,
        input_tokens=10,
        total_cost_micros=micros,
        deleted=kind != CallKind.TURN,
        created_at=instant,
    )
    call = SettledCall(
        hold_id=hold(chat, held, at=instant, kind=kind).pk if held else None,
        kind=kind,
        model_config_id=config,
        step=1,
        message_id=message.pk,
        micros=micros,
        is_estimated=is_estimated,
    )
    settle_calls(account_of(chat), [call], at=instant)
    return message


def hold(
    chat: Chat, micros: int, *, at: datetime | None = None, kind: CallKind = CallKind.TURN
) -> OpenHold:
    """Hold what a call of a chat's model may cost."""
    account, instant = account_of(chat), at or now()
    about = {
        "owner_id": account.owner_id,
        "organization_id": account.organization_id,
        "chat_id": account.chat_id,
        "root_chat_id": account.root_chat_id,
        "model_config_id": chat.last_model_config_id,
        "call_kind": kind,
        "created_at": instant,
    }
    made = OpenHold.objects.create(id=uuid4(), micros=micros, runner_id=uuid4(), **about)
    LedgerEntry.objects.create(kind=EntryKind.HOLD, call_id=made.pk, held_micros=micros, **about)
    return made
