"""What a call costs: exact, rounded up once, and priced only where there is something to price."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.core.errors import ChatdError
from chatd.providers.pricing import MAX_MICROS, Prices, cost_micros, read_prices

INPUT = "input_price_per_million_tokens"


@dataclass(frozen=True)
class Tokens:
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None


def d(text: str) -> Decimal:
    return Decimal(text)


amounts = st.none() | st.integers(0, 10**9)
prices = st.none() | st.decimals(0, 10**5, places=12) | st.sampled_from([d("0"), d("1E-12")])
calls = st.builds(Tokens, amounts, amounts, amounts, amounts)
price_lists = st.builds(Prices, input=prices, output=prices, cache_read=prices, cache_write=prices)


def slow_reference(usage: Tokens, listed: Prices) -> int | None:
    """Add up in fractions, category by category."""
    pairs = [
        (usage.input_tokens, listed.input),
        (usage.output_tokens, listed.output),
        (usage.cache_read_tokens, listed.cache_read),
        (usage.cache_creation_tokens, listed.cache_write),
    ]
    total, is_priced = Fraction(0), False
    for tokens, price in pairs:
        if not tokens or price is None:
            continue
        is_priced = True
        dollars = Fraction(price) * tokens / 1_000_000
        total += dollars * 1_000_000
    return ceil(total) if is_priced else None


@given(calls, price_lists)
def test_the_cost_is_that_of_the_slow_reference(usage: Tokens, listed: Prices) -> None:
    assert cost_micros(usage, listed) == slow_reference(usage, listed)


@given(calls, price_lists)
def test_it_is_never_negative_and_grows_with_every_token(usage: Tokens, listed: Prices) -> None:
    cost = cost_micros(usage, listed)
    more = Tokens(
        *((tokens or 0) + 1 for tokens in (usage.input_tokens, usage.output_tokens)),
        usage.cache_read_tokens,
        usage.cache_creation_tokens,
    )
    assert cost is None or 0 <= cost <= (cost_micros(more, listed) or 0)


@pytest.mark.parametrize(
    ("usage", "listed", "cost"),
    [
        (Tokens(1_000_000, 0), Prices(input=d("2.5")), 2_500_000),
        (Tokens(1), Prices(input=d("0.000000000001")), 1),
        (Tokens(1, 1), Prices(input=d("0.4"), output=d("0.4")), 1),
        (Tokens(1, 1), Prices(input=d("0.6"), output=d("0.6")), 2),
        (Tokens(10, 20, 30, 40), Prices(cache_read=d("1")), 30),
        (Tokens(10, 20, 30, 40), Prices(cache_write=d("1"), output=d("2")), 80),
        (Tokens(10), Prices(input=d("0")), 0),
        (Tokens(10), Prices(output=d("1")), None),
        (Tokens(0), Prices(input=d("1")), None),
        (Tokens(), Prices(input=d("1"), output=d("1")), None),
        (Tokens(10, 10, 10, 10), Prices(), None),
        (Tokens(10**30), Prices(input=d("1")), MAX_MICROS),
    ],
)
def test_examples(usage: Tokens, listed: Prices, cost: int | None) -> None:
    assert cost_micros(usage, listed) == cost


@pytest.mark.parametrize(
    ("given_price", "shown"),
    [
        ("2.50", "2.5"),
        ("0", "0"),
        ("-0", "0"),
        ("1E+2", "100"),
        ("999999999999.5", "999999999999.5"),
    ],
)
def test_a_price_is_kept_exactly_and_shown_in_its_shortest_form(
    given_price: str, shown: str
) -> None:
    assert read_prices({INPUT: d(given_price)}).texts() == {INPUT: shown}


def test_no_price_is_not_a_price_of_zero() -> None:
    assert read_prices({}) == Prices() != read_prices({INPUT: d("0")})


@pytest.mark.parametrize("odd", ["-0.000000000001", "1E+12", "1E-13", "1E+9999", "1E-9999"])
def test_a_price_that_cannot_be_one_is_refused(odd: str) -> None:
    with pytest.raises(ChatdError) as caught:
        read_prices({INPUT: d(odd)})
    assert (caught.value.http_status, caught.value.message) == (400, "Invalid model config.")
    assert caught.value.detail.startswith(f"cost.{INPUT} must ")
