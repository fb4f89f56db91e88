"""What the calls of a turn hold: taken before each of them, given back when one failed.

The hold of a call that was answered ends with its message (`transition`), that of a call that was
cut off with the transition that did it (`cut_off`).
"""

from collections.abc import Callable
from uuid import UUID

from django.db import transaction

from chatd.chats.charges import account_of, charge_hidden_cost
from chatd.chats.cut_off import cost_of_cut_off
from chatd.chats.runs import Fence, held_chat
from chatd.chats.transition import lock_chat
from chatd.core.clock import now
from chatd.spending.holds import CallToAdmit, Hold, take_hold
from chatd.spending.ledger import CALL_FAILED, Account, release_holds
from chatd.spending.ledger_models import OpenHold


def admit_call(fence: Fence, call: Callable[[Account], CallToAdmit]) -> Hold:
    """Hold what a call of a turn may cost, unless the turn was taken away.

    Raises HoldRefusedError, and StateConflictError when the fence has moved.
    """
    with transaction.atomic():
        return take_hold(call(account_of(held_chat(fence))))


def end_failed_call(fence: Fence, hold_id: UUID, written_bytes: int) -> None:
    """Charge a call that failed for what it had written, and give back what was held for it."""
    with transaction.atomic():
        chat = lock_chat(fence.chat_id)
        hold = OpenHold.objects.filter(pk=hold_id).first()
        if hold is None:
            return  # whoever ended the turn has seen to it
        cost = cost_of_cut_off(hold, written_bytes)
        if cost is None:
            release_holds([hold_id], at=now(), note=CALL_FAILED)
        else:
            charge_hidden_cost(chat, cost)
