"""Messages that are about to be stored, with what the calls that made them used and cost.

Does not belong here: storing them (`transition`, `hidden_costs`), charging for them (`charges`).
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from chatd.chats.models import ChatMessage, Role, Visibility
from chatd.providers.pricing import Prices, cost_micros
from chatd.spending.ledger_models import CallKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUsage:
    """Tokens of one model call; None where the provider did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to insert; `content` is a list of stored parts, `prices` are those of its call.

    `hold_id` is what was held for the call, `call_kind` what it was for. `is_estimated`: it was cut
    off, and nobody told how many tokens it took.
    """

    role: Role
    content: list[dict[str, Any]]
    visibility: Visibility = Visibility.BOTH
    created_by: UUID | None = None
    api_key_id: str | None = None
    model_config_id: UUID | None = None
    usage: StepUsage = field(default_factory=StepUsage)
    prices: Prices = field(default_factory=Prices)
    runtime_ms: int | None = None
    total_cost_micros: int | None = None
    provider_response_id: str | None = None
    compressed: bool = False
    hold_id: UUID | None = None
    call_kind: CallKind = CallKind.TURN
    is_estimated: bool = False


def message_row(message: NewMessage, *, chat_id: UUID, revision: int, at: datetime) -> ChatMessage:
    """Return the row of a message, not yet inserted; zero tokens are stored as unknown.

    A cost of zero is stored as it is: the call was free, which is not the same as unpriced.
    """
    usage = message.usage
    return ChatMessage(
        chat_id=chat_id,
        revision=revision,
        role=message.role,
        content=message.content,
        visibility=message.visibility,
        created_by=message.created_by,
        api_key_id=message.api_key_id,
        model_config_id=message.model_config_id,
        input_tokens=usage.input_tokens or None,
        output_tokens=usage.output_tokens or None,
        total_tokens=usage.total_tokens or None,
        reasoning_tokens=usage.reasoning_tokens or None,
        cache_creation_tokens=usage.cache_creation_tokens or None,
        cache_read_tokens=usage.cache_read_tokens or None,
        context_limit=usage.context_limit or None,
        total_cost_micros=cost_of(message),
        runtime_ms=message.runtime_ms or None,
        provider_response_id=(message.provider_response_id or "").replace("\x00", "") or None,
        compressed=message.compressed,
        created_at=at,
    )


def cost_of(message: NewMessage) -> int | None:
    """Return what the call of a message cost; None where that cannot be said."""
    if message.total_cost_micros is not None:
        return message.total_cost_micros
    return cost_micros(message.usage, message.prices)
