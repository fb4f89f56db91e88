"""Charging for the model calls behind messages: from the row that stores a cost to the ledger."""

from collections.abc import Iterable
from datetime import datetime

from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.new_messages import NewMessage, message_row
from chatd.core.clock import now
from chatd.spending.ledger import Account, SettledCall, settle_calls


def account_of(chat: Chat) -> Account:
    """Return who pays for the calls of a chat."""
    return Account(
        owner_id=chat.owner_id,
        organization_id=chat.organization_id,
        chat_id=chat.pk,
        root_chat_id=chat.root_chat_id or chat.pk,
    )


def calls_behind(
    messages: Iterable[NewMessage], rows: Iterable[ChatMessage], *, step: int
) -> list[SettledCall]:
    """Return the model calls that messages came from; those of people and tools came from none.

    `step` is the history version that was answered.
    """
    return [
        SettledCall(
            hold_id=message.hold_id,
            kind=message.call_kind,
            model_config_id=row.model_config_id,
            step=step,
            message_id=row.pk,
            micros=row.total_cost_micros,
            is_estimated=message.is_estimated,
        )
        for message, row in zip(messages, rows, strict=True)
        if row.role == Role.ASSISTANT and (row.total_cost_micros is not None or _has_usage(row))
    ]


def _has_usage(row: ChatMessage) -> bool:
    return any(
        (
            row.input_tokens,
            row.output_tokens,
            row.reasoning_tokens,
            row.cache_creation_tokens,
            row.cache_read_tokens,
        )
    )


def insert_hidden_cost(chat: Chat, cost: NewMessage, *, at: datetime) -> list[SettledCall]:
    """Store what a call cost in a row that nobody sees, deleted from the start.

    Returns what the caller has to charge.

    Part of a transaction that has locked the chat.
    """
    row = message_row(cost, chat_id=chat.pk, revision=chat.snapshot_version, at=at)
    row.deleted = True
    row.save(force_insert=True)
    return calls_behind([cost], [row], step=chat.history_version)


def charge_hidden_cost(chat: Chat, cost: NewMessage) -> None:
    """Store and charge what a call cost that belongs to no message: titles and labels.

    Part of a transaction that has locked the chat.
    """
    instant = now()
    settle_calls(account_of(chat), insert_hidden_cost(chat, cost, at=instant), at=instant)
