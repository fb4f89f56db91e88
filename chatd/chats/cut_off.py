"""Calls that were cut off: nobody told what they took, so what was streamed is charged.

The estimate is of text at four bytes for a token, input and output alike, and never more than was
held. Nothing streamed is nothing charged.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chatd.chats.models import Role, Visibility
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.partial import Partial, read_partial
from chatd.chats.selectors import get_chat_unscoped
from chatd.chats.transition import Transition
from chatd.providers.prices import price_at
from chatd.providers.pricing import cost_micros
from chatd.spending.ledger_models import CallKind, OpenHold

BYTES_PER_TOKEN = 4


def streamed_by(chat_id: UUID) -> Partial | None:
    """Return what the running turn of a chat has streamed; None when there is none."""
    chat = get_chat_unscoped(chat_id)
    return read_partial(chat) if chat else None


def charge_cut_off(t: Transition, partial: Partial | None) -> None:
    """Charge the call of a running turn that this transition ends, unless it has been charged."""
    if t.runner_id is None or partial is None or partial.episode != t.episode:
        return
    hold = OpenHold.objects.filter(runner_id=t.runner_id, call_kind=CallKind.TURN).first()
    if hold is None or t.is_charging(hold.pk):
        return
    cost = cost_of_cut_off(hold, sum(streamed_bytes(each.part) for each in partial.parts))
    if cost is not None:
        t.record_cost(cost)


def streamed_bytes(part: Mapping[str, Any]) -> int:
    """Return how much the model wrote of a streamed part; what a tool answered is not its own."""
    if part.get("type") == "tool-call" and "args_delta" not in part:
        return 0  # its pieces came before
    return len(str(part.get("text") or part.get("args_delta") or "").encode())


def cost_of_cut_off(hold: OpenHold, written_bytes: int) -> NewMessage | None:
    """Return the hidden row of a call that wrote so much before it was cut off."""
    if not written_bytes:
        return None
    usage = StepUsage(input_tokens=_tokens(hold.input_tokens), output_tokens=_tokens(written_bytes))
    prices = price_at(hold.model_config_id, hold.created_at) if hold.model_config_id else None
    cost = cost_micros(usage, prices) if prices else None
    return NewMessage(
        role=Role.ASSISTANT,
        content=[],
        visibility=Visibility.MODEL,
        model_config_id=hold.model_config_id,
        usage=usage,
        total_cost_micros=min(cost or 0, hold.micros),
        hold_id=hold.pk,
        call_kind=CallKind(hold.call_kind),
        is_estimated=True,
    )


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)
