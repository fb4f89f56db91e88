"""Amounts are judged alike wherever they come in: the API, the administration, the database."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client

from chatd.accounts.models import Group, User
from chatd.chats.models import ChatMessage, Role
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.providers.pricing import MAX_DIGITS
from chatd.spending.models import UsageLimitConfig
from tests.api.client import Api, Chats, api_of
from tests.conftest import Cast
from tests.web.administration import model_form
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

LIMITS = "/chats/usage-limits"
PAGE = "/admin/spending/usagelimitconfig/"
MOST = 2**63 - 1
KINDS = ("input", "output", "cache_read", "cache_write")

AMOUNTS: list[tuple[str, bool]] = [
    ("1", True),
    ("999999", True),
    ("12345678", True),
    (str(MOST), True),
    ("0", False),
    ("-0", False),
    ("-1", False),
    (str(-MOST - 1), False),
    (str(MOST + 1), False),
    (str(2**64 + 5), False),
    (str(10**30), False),
    ("9" * 400, False),
    ("0.5", False),
    ("1.5", False),
    ("1e3", False),
    ("1e400", False),
    ("NaN", False),
    ("Infinity", False),
    ("ten", False),
    ('""', False),
    ("[]", False),
    ("true", False),
]
"""Amounts in micros as a client writes them in JSON, and whether they can be limits."""


def accepted(write: Callable[[], Any]) -> bool:
    """Tell whether a column takes something; a number too large for it may not even be sent."""
    try:
        with transaction.atomic():
            write()
    except (DatabaseError, ValueError, TypeError, OverflowError, InvalidOperation):
        return False
    return True


def in_dollars(micros: str) -> str:
    """Return an amount as somebody writes it in a form; what is no plain number stays as it is."""
    if not micros.lstrip("-").replace(".", "", 1).isdigit():
        return micros
    sign, figures = ("-", micros[1:]) if micros.startswith("-") else ("", micros)
    whole, _, rest = figures.partition(".")
    whole = whole.rjust(7, "0")
    return f"{sign}{whole[:-6]}.{whole[-6:]}{rest}"


@pytest.fixture
def root(cast: Cast) -> Api:
    return api_of(cast.root)


@pytest.fixture
def browser(cast: Cast) -> Client:
    return browser_of(cast.root)


@pytest.fixture
def group(cast: Cast) -> Group:
    return Group.objects.create(organization=cast.organization, name="careful")


def limits(cast: Cast, group: Group) -> dict[str, int | None]:
    config = UsageLimitConfig.objects.first()
    return {
        "everybody": config.spend_limit_micros if config else None,
        "person": User.objects.get(pk=cast.alice.pk).chat_spend_limit_micros,
        "group": Group.objects.get(pk=group.pk).chat_spend_limit_micros,
    }


@pytest.mark.parametrize(("amount", "is_one"), AMOUNTS, ids=[row[0][:24] for row in AMOUNTS])
def test_a_limit_is_one_everywhere_or_nowhere(
    root: Api, browser: Client, cast: Cast, group: Group, amount: str, is_one: bool
) -> None:
    none = dict.fromkeys(("everybody", "person", "group"))
    wanted = dict.fromkeys(none, int(amount)) if is_one else none
    before = (UsageLimitConfig.objects.all(), User.objects.all(), Group.objects.all())

    def forget() -> None:
        configs, users, groups = before
        configs.delete()
        users.update(chat_spend_limit_micros=None)
        groups.update(chat_spend_limit_micros=None)

    for path, more in (
        (LIMITS, ', "period": "day"'),
        (f"{LIMITS}/overrides/{cast.alice.pk}", ""),
        (f"{LIMITS}/group-overrides/{group.pk}", ""),
    ):
        answer = root.call("PUT", path, raw=f'{{"spend_limit_micros": {amount}{more}}}'.encode())
        assert answer.status == (200 if is_one else 400)
    assert limits(cast, group) == wanted
    forget()

    whole_name = f"{cast.organization.name}/careful"
    for form in (
        {"enabled": "on", "period": "day"},
        {"whose": "person", "holder": "alice"},
        {"whose": "group", "holder": whole_name},
    ):
        page = browser.post(PAGE, form | {"amount": in_dollars(amount)})
        assert page.status_code == (302 if is_one else 200)
    assert limits(cast, group) == wanted
    forget()

    default = {"enabled": True, "default_limit_micros": amount}
    for write in (
        lambda: UsageLimitConfig.objects.create(**default),
        lambda: User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=amount),
        lambda: Group.objects.filter(pk=group.pk).update(chat_spend_limit_micros=amount),
    ):
        assert accepted(write) == is_one
    assert limits(cast, group) == wanted


def test_no_amount_is_no_limit_for_everybody_and_none_to_give_to_one(
    root: Api, browser: Client, cast: Cast, group: Group
) -> None:
    for path in (f"overrides/{cast.alice.pk}", f"group-overrides/{group.pk}"):
        assert root.put(f"{LIMITS}/{path}", {"spend_limit_micros": None}).status == 400
    assert browser.post(PAGE, {"whose": "person", "holder": "alice"}).status_code == 200
    assert root.put(LIMITS, {"spend_limit_micros": None}).status == 200
    assert browser.post(PAGE, {"period": "day"}).status_code == 302
    enabled = {"enabled": True, "default_limit_micros": None}
    assert not accepted(lambda: UsageLimitConfig.objects.update(**enabled))
    assert not accepted(lambda: UsageLimitConfig.objects.update(enabled=True))
    assert limits(cast, group) == dict.fromkeys(("everybody", "person", "group"))


PRICES: list[tuple[str, bool]] = [
    ("0", True),
    ("0.000000000001", True),
    ("2.5", True),
    ("2.500", True),
    ("1e2", True),
    ("1E-12", True),
    ("9" * MAX_DIGITS, True),
    ("9" * MAX_DIGITS + "." + "9" * MAX_DIGITS, True),
    ("-1", False),
    ("-0.000000000001", False),
    ("0.0000000000001", False),
    ("1.0000000000001", False),
    ("1" + "0" * MAX_DIGITS, False),
    (str(2**63), False),
    (str(10**30), False),
    ("1e12", False),
    ("1e-13", False),
    ("1e400", False),
    ("1e-400", False),
    ("NaN", False),
    ("-NaN", False),
    ("sNaN", False),
    ("Infinity", False),
    ("-Infinity", False),
    ("cheap", False),
    ("1,5", False),
    ("0x10", False),
]
"""Prices as a client writes them in JSON text, and whether they can be prices."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("price", "is_one"), PRICES, ids=[row[0] for row in PRICES])
def test_a_price_is_one_everywhere_or_nowhere(
    root: Api, browser: Client, model: ModelConfig, kind: str, price: str, is_one: bool
) -> None:
    key = f"{kind}_price_per_million_tokens"
    wanted = [Decimal(price)] if is_one else []

    def stored() -> list[Decimal]:
        found = list(ModelPrice.objects.values_list(kind, flat=True))
        ModelPrice.objects.all().delete()
        return found

    path = f"/chats/model-configs/{model.pk}"
    answer = root.patch(path, {"model_config": {"cost": {key: price}}})
    assert (answer.status, stored()) == (200 if is_one else 400, wanted)

    form = model_form(model.ai_provider, confirm_price="on", **{key: price})
    page = browser.post("/admin/providers/modelconfig/add/", form)
    assert (page.status_code, stored()) == (302 if is_one else 200, wanted)

    row = {"model_config": model, "valid_from": now(), kind: price}
    assert accepted(lambda: ModelPrice.objects.create(**row)) == is_one
    assert stored() == wanted


NUMBERS = [row for row in PRICES if row[0][0].isdigit() and set(row[0]).isdisjoint(",x")]


@pytest.mark.parametrize(("price", "is_one"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_price_may_be_a_number_of_json(
    root: Api, model: ModelConfig, price: str, is_one: bool
) -> None:
    raw = f'{{"model_config": {{"cost": {{"output_price_per_million_tokens": {price}}}}}}}'
    answer = root.call("PATCH", f"/chats/model-configs/{model.pk}", raw=raw.encode())
    assert answer.status == (200 if is_one else 400)


@pytest.mark.parametrize(
    ("micros", "is_one"),
    [(None, True), (0, True), (1, True), (MOST, True), (-1, False), (MOST + 1, False)],
)
def test_a_message_costs_nothing_or_more(
    cast: Cast, model: ModelConfig, micros: int | None, is_one: bool
) -> None:
    chat = Chats(cast.alice, cast.organization, model).pending()
    row = {"chat": chat, "revision": 1, "role": Role.ASSISTANT, "total_cost_micros": micros}
    assert accepted(lambda: ChatMessage.objects.create(**row)) == is_one
    written = ChatMessage.objects.filter(chat=chat)
    assert accepted(lambda: written.update(total_cost_micros=micros)) == is_one


def test_prices_with_more_digits_are_shortened_before_they_are_refused() -> None:
    short = import_module("chatd.providers.migrations.0004_prices_are_short")._short
    assert short(None) is None
    assert format(short(Decimal("2.500")), "f") == "2.5"
    assert format(short(Decimal("100")), "f") == "100"
    most = "9" * 12 + "." + "9" * 12
    assert format(short(Decimal(most + "9")), "f") == most
