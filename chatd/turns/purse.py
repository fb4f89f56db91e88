"""The money of one turn: each of its model calls takes a hold before it begins.

A call that would fit if others had ended waits for them a while; one that does not fit ends the
turn, between two steps.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from chatd.chats.call_holds import admit_call, end_failed_call
from chatd.core.clock import now
from chatd.core.threads import in_database_thread
from chatd.llm.types import Provider, Request
from chatd.providers.prices import PriceList
from chatd.providers.selectors import ModelCall
from chatd.spending.holds import CallToAdmit, Hold, HoldRefusedError
from chatd.spending.ledger import Account
from chatd.spending.ledger_models import CallKind
from chatd.turns.bounds import worst_case
from chatd.turns.position import Position

log = structlog.get_logger(__name__)

WAIT_SECONDS = 120.0
"""How long a call waits for money that calls under way hold."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Purse:
    """Takes the holds of one turn."""

    def __init__(
        self, position: Position, provider: Provider, call: ModelCall, prices: PriceList
    ) -> None:
        self._position = position
        self._provider = provider
        self._call = call
        self._prices = prices

    async def admit(
        self, request: Request, *, whole: Request | None = None, kind: CallKind = CallKind.TURN
    ) -> tuple[Request, Hold]:
        """Hold what a call may cost; returns it with as long an answer as can be paid.

        `whole` is the request with all of the history, where `request` goes on from what the
        provider knows. Only calls of turns wait. Raises HoldRefusedError, StateConflictError.
        """
        prices = self._prices.at(now())
        limit = self._call.context_limit
        worst = worst_case(whole or request, self._provider, prices, context_limit=limit)
        if not worst.micros():
            return request, Hold.of_nothing(worst)

        def about(account: Account) -> CallToAdmit:
            return CallToAdmit(
                account=account,
                kind=kind,
                model_config_id=self._call.config_id,
                step=self._position.history_version,
                worst=worst,
                runner_id=self._position.runner_id,
            )

        hold = await self._taken(about, waits=kind is CallKind.TURN)
        if hold.output_tokens < worst.output_tokens:
            log.info("answer limited by what is left to spend", tokens=hold.output_tokens)
            request = replace(request, max_output_tokens=hold.output_tokens)
        return request, hold

    async def failed(self, hold: Hold, written_bytes: int = 0) -> None:
        """End the hold of a call that failed; what it had written is charged."""
        if hold.id is not None:
            fence = self._position.fence
            await in_database_thread(end_failed_call, fence, hold.id, written_bytes)

    async def _taken(self, about: Callable[[Account], CallToAdmit], *, waits: bool) -> Hold:
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + WAIT_SECONDS, _FIRST_PAUSE
        while True:
            try:
                return await in_database_thread(admit_call, self._position.fence, about)
            except HoldRefusedError as refused:
                if not waits or not refused.may_fit_later or clock() > deadline:
                    raise
            if pause == _FIRST_PAUSE:
                log.info("call waits for what other calls hold")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
