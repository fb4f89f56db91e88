"""Calls of one person that take, settle, shrink and lose their holds at random, all at once.

On PostgreSQL each caller is a thread with a connection of its own. SQLite has one writer at a time:
there they take turns, at random as well.
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.db.models import Sum

from chatd.core.clock import now
from chatd.providers.pricing import Prices
from chatd.spending import selectors
from chatd.spending.holds import CallToAdmit, Hold, HoldRefusedError, WorstCase, take_hold
from chatd.spending.ledger import (
    Account,
    SettledCall,
    release_holds,
    release_holds_of,
    settle_calls,
    shrink_hold,
)
from chatd.spending.ledger_models import CallKind, LedgerEntry, OpenHold
from chatd.spending.models import SpendDay, UsageLimitConfig
from chatd.spending.periods import Period
from chatd.spending.selectors import usage_limit
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 100_000
CALLERS = 8
STEPS = 60
PRICES = Prices(input=Decimal(1), output=Decimal(5), cache_read=Decimal("0.1"))

_TOTALS = """
SELECT
  (SELECT COALESCE(SUM(micros), 0) FROM spending_spendday),
  (SELECT COALESCE(SUM(micros), 0) FROM spending_openhold),
  (SELECT COALESCE(SUM(settled_micros), 0) FROM spending_ledgerentry),
  (SELECT COALESCE(SUM(held_micros), 0) FROM spending_ledgerentry)
"""
"""One statement, and so one snapshot."""


def check_law() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS)
        spent, held, settled_by_ledger, held_by_ledger = map(int, cursor.fetchone())
    assert spent + held <= LIMIT
    assert (settled_by_ledger, held_by_ledger) == (spent, held)


@dataclass
class Caller:
    """One worker: a step at a time. `lost` takes the holds that nobody will settle."""

    account: Account
    chance: random.Random
    lost: list[UUID]
    runner_id: UUID = field(default_factory=uuid4)
    held: list[Hold] = field(default_factory=list)
    refusals: int = 0

    def steps(self) -> Iterator[None]:
        wanted = [self.take, self.take, self.settle, self.settle, self.shrink, self.fail, self.stop]
        for _ in range(STEPS):
            step = self.chance.choice(wanted)
            if self.held or step == self.take:
                step()
                yield
        self.lost += [hold.id for hold in self.held if hold.id]

    def take(self) -> None:
        worst = WorstCase(
            prices=PRICES,
            input_tokens=self.chance.randint(0, 2000),
            output_tokens=self.chance.choice([50, 500, 5000]),
            least_output=100,
        )
        hold, refused = self._taken(worst)
        if hold is not None:
            assert min(100, worst.output_tokens) <= hold.output_tokens <= worst.output_tokens
            self.held.append(hold)
        if refused is not None:
            assert refused.needed_micros == worst.least_micros > refused.standing.free_micros
            self.refusals += 1

    def _taken(self, worst: WorstCase) -> tuple[Hold | None, HoldRefusedError | None]:
        try:
            with transaction.atomic():
                return take_hold(call(self.account, worst, runner_id=self.runner_id)), None
        except HoldRefusedError as refused:
            return None, refused

    def settle(self) -> None:
        hold = self._next()
        most = OpenHold.objects.get(pk=hold.id).micros
        micros = self.chance.choice([None, 0, 1, self.chance.randint(0, most), most])
        with transaction.atomic():
            settle_calls(self.account, [settled(hold, micros)], at=now())

    def shrink(self) -> None:
        """Shrink a hold, and settle no more than that."""
        hold = self._next()
        kept = self.chance.randint(0, OpenHold.objects.get(pk=hold.id).micros)
        assert hold.id is not None
        with transaction.atomic():
            shrink_hold(hold.id, kept, at=now())
        with transaction.atomic():
            settle_calls(self.account, [settled(hold, kept)], at=now())

    def fail(self) -> None:
        hold = self._next()
        assert hold.id is not None
        for expected in (1, 0):
            with transaction.atomic():
                assert release_holds([hold.id], at=now(), note="It failed.") == expected

    def stop(self) -> None:
        """Be fenced out, or die: then somebody else finds what was held."""
        if self.chance.random() < 0.5:
            with transaction.atomic():
                release_holds_of(self.runner_id, at=now())
        else:
            self.lost += [hold.id for hold in self.held if hold.id]
        self.held, self.runner_id = [], uuid4()

    def sweep(self) -> None:
        """Give back what has been lost so far; several may do that at once."""
        with transaction.atomic():
            release_holds(list(self.lost), at=now(), note="It was forgotten.")

    def _next(self) -> Hold:
        return self.held.pop(self.chance.randrange(len(self.held)))


def account_of(cast: Cast) -> Account:
    return Account(
        owner_id=cast.alice.pk,
        organization_id=cast.organization.pk,
        chat_id=UUID(int=2),
        root_chat_id=UUID(int=2),
    )


def call(account: Account, worst: WorstCase, *, runner_id: UUID) -> CallToAdmit:
    return CallToAdmit(
        account=account,
        kind=CallKind.TURN,
        model_config_id=UUID(int=1),
        step=1,
        worst=worst,
        runner_id=runner_id,
        expires_at=now() + timedelta(hours=1),
    )


def settled(hold: Hold, micros: int | None) -> SettledCall:
    return SettledCall(
        hold_id=hold.id,
        kind=CallKind.TURN,
        model_config_id=UUID(int=1),
        step=1,
        message_id=1,
        micros=micros,
    )


def together(callers: list[Caller]) -> None:
    """Have every caller make its steps, each on a thread, while somebody sweeps and reads."""
    is_over = threading.Event()

    def work(caller: Caller) -> None:
        try:
            for _ in caller.steps():
                if caller.chance.random() < 0.1:
                    caller.sweep()
        finally:
            connections.close_all()

    def watch() -> None:
        try:
            while not is_over.is_set():
                check_law()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(CALLERS + 1) as pool:
        watching = pool.submit(watch)
        working = [pool.submit(work, caller) for caller in callers]
        try:
            for each in working:
                each.result()
        finally:
            is_over.set()
        watching.result()


def by_turns(callers: list[Caller], chance: random.Random) -> None:
    """Have every caller make its steps, one after the other in no order."""
    left = {id(caller): (caller, caller.steps()) for caller in callers}
    while left:
        caller, steps = chance.choice(list(left.values()))
        if next(steps, left) is left:
            del left[id(caller)]
        if chance.random() < 0.1:
            caller.sweep()
        check_law()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_spent_and_held_is_never_more_than_the_limit(seed: int, cast: Cast) -> None:
    limit_everybody(LIMIT)
    account = account_of(cast)
    lost: list[UUID] = []
    callers = [Caller(account, random.Random(f"{seed} {each}"), lost) for each in range(CALLERS)]
    if connection.vendor == "postgresql":
        together(callers)
    else:
        by_turns(callers, random.Random(seed))
    callers[0].sweep()
    check_law()
    assert not OpenHold.objects.exists()
    sums = LedgerEntry.objects.order_by().values("call_id").annotate(held=Sum("held_micros"))
    assert set(sums.values_list("held", flat=True)) == {0}
    assert any(caller.refusals for caller in callers)
    check_rest_is_free(account)


def check_rest_is_free(account: Account) -> None:
    """Check that what was not spent can be held, to the last micro and no further."""
    rest = LIMIT - (SpendDay.objects.aggregate(spent=Sum("micros"))["spent"] or 0)
    one_more = call(account, reading(1), runner_id=uuid4())
    with transaction.atomic():
        take_hold(call(account, reading(rest), runner_id=uuid4()))
    with transaction.atomic(), pytest.raises(HoldRefusedError):
        take_hold(one_more)
    check_law()


def reading(micros: int) -> WorstCase:
    """Return a call that costs exactly so much."""
    return WorstCase(prices=PRICES, input_tokens=micros, output_tokens=0, least_output=0)


def test_a_call_that_waits_for_others_over_midnight_is_held_against_the_new_day(
    cast: Cast, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_everybody(LIMIT, Period.DAY)
    clock.move_to(datetime(2030, 1, 1, 23, 59, 59, tzinfo=UTC))
    account = account_of(cast)

    def before_the_lock() -> UsageLimitConfig | None:
        clock.move_to(datetime(2030, 1, 2, 0, 0, 1, tzinfo=UTC))
        spend(LIMIT - 10, owner_id=account.owner_id, organization_id=account.organization_id)
        return usage_limit()

    monkeypatch.setattr(selectors, "usage_limit", before_the_lock)
    with transaction.atomic(), pytest.raises(HoldRefusedError) as refused:
        take_hold(call(account, reading(11), runner_id=uuid4()))
    assert refused.value.standing.free_micros == 10
