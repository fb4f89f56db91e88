"""Holds of calls beside a turn: a title, a label. They end with the cost, or by the clock.

Such a call is made whole or not at all: nobody waits for money to name a chat.
"""

from dataclasses import replace
from datetime import timedelta

from django.db import transaction

from chatd.chats.charges import account_of
from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.core.shared_clock import shared_now
from chatd.llm.types import Request
from chatd.providers.pricing import Prices
from chatd.providers.selectors import ModelCall
from chatd.spending.holds import CallToAdmit, Hold, take_hold
from chatd.spending.ledger import CALL_FAILED, release_holds
from chatd.spending.ledger_models import CallKind
from chatd.turns.bounds import worst_case
from chatd.turns.model_calls import provider_of

_STORED_WITHIN = 60
"""Seconds from the end of a call to the transaction that stores its cost, at most."""


def hold_for(
    call: ModelCall,
    prices: Prices,
    chat: Chat,
    kind: CallKind,
    request: Request,
    *,
    seconds: float,
) -> Hold:
    """Hold what a call of `seconds` may cost. Raises HoldRefusedError."""
    provider = provider_of(call, chat.pk)
    worst = worst_case(request, provider, prices, context_limit=call.context_limit)
    if not worst.micros():
        return Hold.of_nothing(worst)
    with transaction.atomic():
        return take_hold(
            CallToAdmit(
                account=account_of(chat),
                kind=kind,
                model_config_id=call.config_id,
                step=chat.history_version,
                worst=replace(worst, least_output=worst.output_tokens),
                expires_at=shared_now() + timedelta(seconds=seconds + _STORED_WITHIN),
            )
        )


def give_back(hold: Hold) -> None:
    """Release what was held for a call that cost nothing."""
    if hold.id is not None:
        with transaction.atomic():
            release_holds([hold.id], at=now(), note=CALL_FAILED)
