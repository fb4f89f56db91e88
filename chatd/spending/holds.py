"""Holds: what a model call may cost is kept free before it begins, so that no limit is overrun.

At every moment what was spent in a period and what is held are together at most the limit. Calls of
one person are admitted one after the other, under a lock of their row.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from uuid import UUID, uuid4

from chatd.core.clock import now
from chatd.providers.pricing import Prices
from chatd.spending.admission import standing_or_none
from chatd.spending.amounts import MAX_MICROS
from chatd.spending.ledger import Account, about_call
from chatd.spending.ledger_models import CallKind, EntryKind, LedgerEntry, OpenHold
from chatd.spending.limits import Standing

_UP = Context(prec=100, rounding=ROUND_CEILING)
_DOWN = Context(prec=100, rounding=ROUND_FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """What a call can cost at most: all tokens that it may read and write.

    An answer of fewer than `least_output` tokens is of no use.
    """

    prices: Prices
    input_tokens: int
    output_tokens: int
    least_output: int

    @property
    def input_price(self) -> Decimal:
        """The dearest way in which input is billed."""
        prices = self.prices
        found = (prices.input, prices.cache_read, prices.cache_write)
        return max((price for price in found if price is not None), default=Decimal(0))

    @property
    def output_price(self) -> Decimal:
        return self.prices.output or Decimal(0)

    def micros(self, output_tokens: int | None = None) -> int:
        """Return the cost with an answer of so many tokens, of all that are allowed by default."""
        allowed = self.output_tokens if output_tokens is None else output_tokens
        read = _UP.multiply(Decimal(self.input_tokens), self.input_price)
        written = _UP.multiply(Decimal(allowed), self.output_price)
        total = _UP.add(read, written).to_integral_value(context=_UP)
        return min(int(total), MAX_MICROS)

    @property
    def least_micros(self) -> int:
        """The cost with the shortest answer that is of use."""
        return self.micros(min(self.least_output, self.output_tokens))

    def within(self, micros: int) -> "WorstCase | None":
        """Return the call with as long an answer as can be paid; None when that is of no use."""
        if self.micros() <= micros:
            return self
        if self.least_micros > micros:
            return None
        least = min(self.least_output, self.output_tokens)
        read = _UP.multiply(Decimal(self.input_tokens), self.input_price)
        rest = _DOWN.subtract(Decimal(micros), read)
        tokens = int(_DOWN.divide(rest, self.output_price).to_integral_value(context=_DOWN))
        return replace(self, output_tokens=max(least, min(tokens, self.output_tokens)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallToAdmit:
    """A model call that is about to be made.

    It holds while `runner_id` has the chat, or until `expires_at`.
    """

    account: Account
    kind: CallKind
    model_config_id: UUID
    step: int
    worst: WorstCase
    runner_id: UUID | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A call that was admitted, with at most `output_tokens` in its answer.

    `id` is None when it has no price: then nothing is held.
    """

    id: UUID | None
    output_tokens: int
    prices: Prices

    @classmethod
    def of_nothing(cls, worst: WorstCase) -> "Hold":
        """Return that of a call that costs nothing, whatever it takes; nobody need be asked."""
        return cls(id=None, output_tokens=worst.output_tokens, prices=worst.prices)


class HoldRefusedError(Exception):
    """A call does not fit into what is left of a limit.

    `may_fit_later`: it would, if the calls that are under way turn out as cheap as can be.
    """

    def __init__(self, standing: Standing, needed_micros: int) -> None:
        super().__init__("The call does not fit into the usage limit.")
        self.standing = standing
        self.needed_micros = needed_micros

    @property
    def may_fit_later(self) -> bool:
        standing = self.standing
        return standing.spent_micros + self.needed_micros <= standing.limit_micros


def take_hold(call: CallToAdmit) -> Hold:
    """Hold the worst case of a call, with a shorter answer where all of it does not fit.

    Part of a transaction, which locks the row of who pays. A limit that cannot be read holds
    nobody up. Raises HoldRefusedError.
    """
    worst, account = call.worst, call.account
    if not worst.micros():
        return Hold.of_nothing(worst)
    standing = standing_or_none(account.owner_id, account.organization_id, locked=True)
    at = now()
    if standing is not None:
        fitting = worst.within(standing.free_micros)
        if fitting is None:
            raise HoldRefusedError(standing, worst.least_micros)
        worst = fitting
    hold = OpenHold(
        id=uuid4(),
        micros=worst.micros(),
        call_kind=call.kind,
        model_config_id=call.model_config_id,
        step=call.step,
        runner_id=call.runner_id,
        expires_at=call.expires_at,
        input_tokens=worst.input_tokens,
        created_at=at,
        **asdict(account),
    )
    hold.save(force_insert=True)
    entry = LedgerEntry(
        kind=EntryKind.HOLD,
        call_id=hold.pk,
        held_micros=hold.micros,
        created_at=at,
        **about_call(hold),
    )
    entry.save(force_insert=True)
    return Hold(id=hold.pk, output_tokens=worst.output_tokens, prices=worst.prices)
