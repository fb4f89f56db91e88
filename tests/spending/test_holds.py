"""What may be held: the worst case of a call, cut to what is left of a limit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
import pytest
import time_machine
from hypothesis import given

from chatd.accounts.actions import create_organization
from chatd.accounts.models import Group, User
from chatd.core.clock import now
from chatd.providers.pricing import Prices
from chatd.spending import admission
from chatd.spending.amounts import MAX_MICROS
from chatd.spending.holds import CallToAdmit, Hold, HoldRefusedError, WorstCase, take_hold
from chatd.spending.ledger import Account, SettledCall, release_holds, settle_calls
from chatd.spending.ledger_models import CallKind, LedgerEntry, OpenHold
from chatd.spending.periods import Period
from chatd.spending.selectors import standing_of
from tests.conftest import Cast
from tests.support.plans import analyze, scans, statements
from tests.support.spending import limit_everybody, spend

PRICES = Prices(input=Decimal(1), output=Decimal(10))
WORST = WorstCase(prices=PRICES, input_tokens=100, output_tokens=50, least_output=5)
ALL, LEAST = 600, 150

micros = st.integers(0, 10**9)
prices = st.none() | st.decimals(0, 10**6, places=6)


def call(cast: Cast, worst: WorstCase = WORST, **fields: Any) -> CallToAdmit:
    chat_id = uuid4()
    account = Account(
        owner_id=fields.pop("owner_id", cast.alice.pk),
        organization_id=fields.pop("organization_id", cast.organization.pk),
        chat_id=chat_id,
        root_chat_id=chat_id,
    )
    return CallToAdmit(
        account=account,
        kind=CallKind.TURN,
        model_config_id=uuid4(),
        step=1,
        worst=worst,
        runner_id=uuid4(),
        **fields,
    )


# the arithmetic


@given(read=st.integers(0, 10**7), written=st.integers(1, 10**6), has=st.tuples(*[prices] * 4))
def test_the_worst_case_is_what_the_dearest_reading_of_the_prices_comes_to(
    read: int, written: int, has: tuple[Decimal | None, ...]
) -> None:
    names = ("input", "output", "cache_read", "cache_write")
    worst = WorstCase(
        prices=Prices(**dict(zip(names, has, strict=True))),
        input_tokens=read,
        output_tokens=written,
        least_output=1,
    )
    given_prices = {name: Fraction(price or 0) for name, price in zip(names, has, strict=True)}
    dearest = max(given_prices[name] for name in names if name != "output")
    exact = read * dearest + written * given_prices["output"]
    assert worst.micros() == min(-(-exact.numerator // exact.denominator), MAX_MICROS)


@given(micros=micros, read=st.integers(0, 10**4), price=st.decimals("0.000001", 10**4, places=6))
def test_what_is_cut_to_fit_is_as_long_as_can_be_paid(
    micros: int, read: int, price: Decimal
) -> None:
    worst = WorstCase(
        prices=Prices(input=Decimal("0.5"), output=price),
        input_tokens=read,
        output_tokens=32_000,
        least_output=1024,
    )
    fitting = worst.within(micros)
    if fitting is None:
        assert worst.micros(1024) > micros
        return
    assert fitting.micros() <= micros
    assert 1024 <= fitting.output_tokens <= 32_000
    assert fitting.output_tokens == 32_000 or worst.micros(fitting.output_tokens + 1) > micros


def test_an_answer_that_is_shorter_than_useful_anyway_has_to_fit_whole() -> None:
    short = WorstCase(prices=PRICES, input_tokens=0, output_tokens=3, least_output=1024)
    assert short.within(30) == short
    assert short.within(29) is None


@pytest.mark.parametrize("output", [None, Decimal(0)])
def test_where_output_costs_nothing_it_is_never_cut(output: Decimal | None) -> None:
    worst = WorstCase(
        prices=Prices(input=Decimal(1), output=output),
        input_tokens=10,
        output_tokens=99,
        least_output=1,
    )
    assert worst.within(10) == worst
    assert worst.within(9) is None


# taking one

pytestmark = pytest.mark.django_db


def held() -> list[int]:
    return list(OpenHold.objects.order_by("micros").values_list("micros", flat=True))


@pytest.mark.parametrize(
    ("limit", "tokens", "kept"),
    [(10**6, 50, ALL), (ALL, 50, ALL), (ALL - 1, 49, 590), (LEAST, 5, 150)],
)
def test_a_call_holds_what_it_may_cost(cast: Cast, limit: int, tokens: int, kept: int) -> None:
    limit_everybody(limit)
    hold = take_hold(call(cast))
    assert (hold.output_tokens, held()) == (tokens, [kept])
    [entry] = LedgerEntry.objects.all()
    assert (entry.kind, entry.call_id, entry.held_micros) == ("hold", hold.id, kept)


def test_what_does_not_fit_is_refused(cast: Cast) -> None:
    limit_everybody(LEAST - 1)
    with pytest.raises(HoldRefusedError) as refused:
        take_hold(call(cast))
    assert (refused.value.needed_micros, refused.value.may_fit_later) == (LEAST, False)
    assert held() == []
    assert not LedgerEntry.objects.exists()


def test_what_others_hold_may_come_free(cast: Cast) -> None:
    limit_everybody(ALL + LEAST - 1)
    first = take_hold(call(cast))
    with pytest.raises(HoldRefusedError) as refused:
        take_hold(call(cast))
    assert refused.value.may_fit_later
    assert refused.value.standing.free_micros == LEAST - 1
    assert first.id is not None
    release_holds([first.id], at=now())
    assert take_hold(call(cast)).output_tokens == 50


def test_without_a_limit_everything_is_held_whole(cast: Cast) -> None:
    limit_everybody(None)
    take_hold(call(cast))
    take_hold(call(cast))
    assert held() == [ALL, ALL]


def test_nothing_is_held_for_what_has_no_price(cast: Cast) -> None:
    limit_everybody(1)
    worst = WorstCase(prices=Prices(), input_tokens=9, output_tokens=9, least_output=9)
    assert take_hold(call(cast, worst)) == Hold(id=None, output_tokens=9, prices=Prices())
    assert held() == []


def test_the_holds_of_others_do_not_count(cast: Cast) -> None:
    limit_everybody(ALL)
    take_hold(call(cast, owner_id=cast.bob.pk))
    assert take_hold(call(cast)).output_tokens == 50


def test_under_the_limit_of_a_group_what_is_held_elsewhere_does_not_count(
    cast: Cast,
) -> None:
    elsewhere = create_organization(name="annex").pk
    limit_everybody(10**9)
    Group.objects.filter(pk=cast.organization.pk).update(chat_spend_limit_micros=ALL)
    take_hold(call(cast, organization_id=elsewhere))
    assert take_hold(call(cast)).output_tokens == 50
    with pytest.raises(HoldRefusedError):
        take_hold(call(cast))


def test_a_limit_that_cannot_be_read_holds_nobody_up(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no table")

    limit_everybody(1)
    monkeypatch.setattr(admission, "standing_of", broken)
    take_hold(call(cast))
    assert held() == [ALL]


def test_a_lowered_limit_stops_the_next_call_and_not_the_one_under_way(cast: Cast) -> None:
    limit_everybody(10**6)
    hold = take_hold(call(cast))
    limit_everybody(1)
    with pytest.raises(HoldRefusedError) as refused:
        take_hold(call(cast))
    assert not refused.value.may_fit_later
    assert held() == [ALL]
    assert hold.id is not None


# the clock


def test_a_call_that_ends_after_the_border_is_charged_to_the_new_period(cast: Cast) -> None:
    limit_everybody(ALL, Period.DAY)
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    with time_machine.travel(midnight - timedelta(seconds=1), tick=False):
        wanted = call(cast)
        hold = take_hold(wanted)
        with pytest.raises(HoldRefusedError):
            take_hold(call(cast))
    with time_machine.travel(midnight, tick=False):
        standing = standing_of(cast.alice.pk)
        assert standing is not None
        assert (standing.spent_micros, standing.held_micros) == (0, ALL)
        with pytest.raises(HoldRefusedError):
            take_hold(call(cast))
        settled = SettledCall(
            hold_id=hold.id,
            kind=CallKind.TURN,
            model_config_id=None,
            step=1,
            message_id=1,
            micros=400,
        )
        settle_calls(wanted.account, [settled], at=midnight)
        standing = standing_of(cast.alice.pk)
        assert standing is not None
        assert (standing.spent_micros, standing.held_micros, standing.free_micros) == (400, 0, 200)
    with time_machine.travel(midnight - timedelta(seconds=1), tick=False):
        standing = standing_of(cast.alice.pk)
        assert standing is not None
        assert standing.spent_micros == 0


# how much is read

QUERIES = 8
"""The limit, the person, three for their groups, what is spent and held; the hold, its entry."""


@pytest.mark.parametrize("open_holds", [0, 300])
def test_a_hold_is_taken_in_a_few_indexed_statements(cast: Cast, open_holds: int) -> None:
    """The number of people's holds is no matter: those of one person are found by an index."""
    people = User.objects.bulk_create(User(username=f"u{number}") for number in range(1000))
    OpenHold.objects.bulk_create(
        OpenHold(
            id=uuid4(),
            owner=person,
            organization=cast.organization,
            chat_id=uuid4(),
            root_chat_id=uuid4(),
            micros=1,
            runner_id=uuid4(),
        )
        for person in people
        for _ in range(open_holds // 100)
    )
    spend(1, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
    limit_everybody(10**6)
    analyze()
    asked = [sql for sql in statements(lambda: take_hold(call(cast))) if "SAVEPOINT" not in sql]
    assert len(asked) == QUERIES, asked
    tables = ("spending_openhold",) if open_holds else ()
    assert scans(lambda: take_hold(call(cast)), tables) == []
