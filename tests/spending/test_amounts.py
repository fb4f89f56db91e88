"""Amounts: what may be a limit is the same for forms, the API and the database."""

import re

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.core.errors import ChatdError
from chatd.spending.actions import OF_USER, WantedLimit, set_override, set_usage_limit
from chatd.spending.amounts import (
    MAX_MICROS,
    exact_dollars,
    parse_dollars,
    refused_limit,
)
from chatd.spending.models import UsageLimitConfig
from tests.conftest import Cast


@given(st.integers(1, MAX_MICROS))
def test_what_is_shown_is_read_again_to_the_last_micro(micros: int) -> None:
    assert parse_dollars(exact_dollars(micros)) == micros


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (12_500_000, "12.50"),
        (1_234_567, "1.234567"),
        (-1, "-0.000001"),
    ],
)
def test_amounts_are_shown_exactly_and_in_cents_at_least(micros: int, shown: str) -> None:
    assert exact_dollars(micros) == shown


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("25", 25_000_000),
        (" $1,000.50 ", 1_000_500_000),
        ("0.000001", 1),
        ("0", 0),
        ("-1", -1_000_000),
        ("9223372036854.775807", MAX_MICROS),
        ("9223372036854.775808", MAX_MICROS + 1),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, micros: int) -> None:
    assert parse_dollars(text) == micros


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Write an amount of dollars"),
        ("ten", "Write an amount of dollars"),
        ("nan", "Write an amount of dollars"),
        ("1_000", "Write an amount of dollars"),
        ("0.0000001", "at most 6 digits"),
        ("Infinity", "at most $9223372036854.775807"),
        ("9" * 1000, "at most $9223372036854.775807"),
        ("1e3", "Write an amount of dollars"),
        ("1E999999", "Write an amount of dollars"),
        ("1.0000000000000000000000000000000000001", "at most 6 digits"),
        ("1e-999999", "Write an amount of dollars"),
    ],
)
def test_what_is_no_amount_is_refused_with_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_dollars(text)


@pytest.mark.django_db
@pytest.mark.parametrize("micros", [-MAX_MICROS, -1, 0, 1, MAX_MICROS, MAX_MICROS + 1])
def test_actions_and_database_take_the_same_limits(cast: Cast, micros: int) -> None:
    refused = bool(refused_limit(micros))
    assert refused == (not 0 < micros <= MAX_MICROS)
    root = Actor(cast.root)
    for store in (
        lambda: set_override(root, OF_USER, lambda: cast.alice.pk, lambda: micros),
        lambda: set_usage_limit(root, lambda: WantedLimit(spend_limit_micros=micros, period="day")),
    ):
        assert _raises(store, ChatdError) == refused
    for write in (
        lambda: User.objects.filter(pk=cast.bob.pk).update(chat_spend_limit_micros=micros),
        lambda: UsageLimitConfig.objects.update_or_create(
            defaults={"enabled": True, "default_limit_micros": micros}
        ),
    ):
        # What is too great for the column matches no row where it would be compared.
        refusals = (IntegrityError, DatabaseError, OverflowError)
        assert _raises(write, refusals) == refused


def _raises(call, errors) -> bool:
    try:
        with transaction.atomic():
            call()
    except errors:
        return True
    return False
