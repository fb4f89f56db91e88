"""The page of the usage limits: every limit, and who is near theirs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_user
from chatd.accounts.models import Group, GroupMember, SiteRole, User
from chatd.audit.models import AuditEntry
from chatd.providers.models import ModelConfig
from chatd.providers.prices import set_prices
from chatd.providers.pricing import Prices
from chatd.spending.models import UsageLimitConfig
from chatd.spending.periods import Period
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

PAGE = "/admin/spending/usagelimitconfig/"


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 7, 15, 12, tzinfo=UTC), tick=False):
        yield


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


@pytest.fixture
def group(cast: Cast) -> Group:
    made = Group.objects.create(organization=cast.organization, name="research")
    GroupMember.objects.create(group=made, user=cast.bob)
    return made


def shown(browser: Client) -> str:
    answer = browser.get(PAGE)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def post(browser: Client, **form: str) -> str:
    return unescape(browser.post(PAGE, form, follow=True).content.decode())


def limit_of(holder: Any) -> int | None:
    holder.refresh_from_db()
    return holder.chat_spend_limit_micros


def test_the_limit_of_everybody_is_set_shown_exactly_and_switched_off(root: Client) -> None:
    assert "The limit was saved." in post(root, enabled="on", amount="12.345678", period="week")
    stored = UsageLimitConfig.objects.get()
    assert (stored.enabled, stored.default_limit_micros, stored.period) == (
        True,
        12_345_678,
        "week",
    )
    html = shown(root)
    assert 'value="12.345678"' in html
    assert '<option value="week" selected>' in html
    post(root, amount="0", period="week")
    stored.refresh_from_db()
    assert (stored.enabled, stored.default_limit_micros) == (False, 0)
    assert [entry.actor_name for entry in AuditEntry.objects.all()] == ["root", "root"]


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "Spend limit must be greater than 0."),
        ("-3", "Spend limit must be greater than 0."),
        ("0.0000001", "An amount has at most 6 digits after the point."),
        ("1" + "0" * 30, "Spend limit must be at most $9223372036854.775807."),
        ("a lot", "Write an amount of dollars such as 25 or 12.50."),
    ],
)
def test_an_amount_that_cannot_be_a_limit_is_refused_everywhere_and_kept(
    root: Client, cast: Cast, group: Group, amount: str, words: str
) -> None:
    for form in (
        {"enabled": "on", "period": "day"},
        {"whose": "person", "holder": "alice"},
        {"whose": "group", "holder": f"{cast.organization.name}/research"},
    ):
        html = post(root, **form, amount=amount)
        assert html.count(words) == 1, form
        assert f'value="{amount}"' in html
        assert form.get("holder", "") in html
    assert not UsageLimitConfig.objects.exists()
    assert limit_of(cast.alice) is None
    assert limit_of(group) is None


def test_an_amount_is_needed(root: Client) -> None:
    assert "Write how much each person may spend." in post(root, enabled="on", period="day")


def test_a_person_gets_a_limit_by_name_or_e_mail_and_loses_it(root: Client, cast: Cast) -> None:
    post(root, whose="person", holder="Alice", amount="5")
    post(root, whose="person", holder="bob@example.com", amount="0.000001")
    assert (limit_of(cast.alice), limit_of(cast.bob)) == (5_000_000, 1)
    html = shown(root)
    assert "<strong>alice</strong>" in html
    assert 'value="0.000001"' in html
    row = {"whose": "person", "prefix": str(cast.alice.pk), f"{cast.alice.pk}-holder": "alice"}
    post(root, **row, **{f"{cast.alice.pk}-amount": "7.5"})
    assert limit_of(cast.alice) == 7_500_000
    refused = post(root, **row, **{f"{cast.alice.pk}-amount": "-1"})
    assert refused.count("Spend limit must be greater than 0.") == 1
    assert 'value="-1"' in refused
    assert "was taken away" in post(root, **row, **{f"{cast.alice.pk}-amount": ""}, remove="1")
    assert limit_of(cast.alice) is None
    again = post(root, **row, remove="1")
    assert "was taken away" not in again
    assert [entry.action for entry in AuditEntry.objects.filter(refused="").order_by("pk")] == [
        "create",
        "create",
        "write",
        "delete",
    ]


def test_a_group_gets_a_limit_and_loses_it(root: Client, cast: Cast, group: Group) -> None:
    name = f"{cast.organization.name}/Research"
    post(root, whose="group", holder=name, amount="5")
    assert limit_of(group) == 5_000_000
    assert "1 member" in shown(root)
    row = {"whose": "group", "prefix": str(group.pk), f"{group.pk}-holder": name}
    post(root, **row, remove="1")
    assert limit_of(group) is None


@pytest.mark.parametrize(
    ("whose", "words"),
    [("person", "There is nobody with this"), ("group", "There is no such group.")],
)
def test_a_name_that_nobody_has_is_said_next_to_it(root: Client, whose: str, words: str) -> None:
    html = post(root, whose=whose, holder="nobody", amount="5")
    assert html.count(words) == 1
    assert 'value="nobody"' in html
    assert 'value="5"' in html


def test_names_are_suggested_while_they_are_written(root: Client, cast: Cast, group: Group) -> None:
    def suggested(query: str) -> list[str]:
        return [each["value"] for each in root.get(f"{PAGE}suggest/?{query}").json()]

    assert suggested("whose=person&q=AL") == ["alice"]
    assert suggested("whose=person&q=bob@") == ["bob"]
    assert suggested("whose=group&q=res") == [f"{cast.organization.name}/research"]
    assert suggested("whose=group&q=x/res") == [f"{cast.organization.name}/research"]


def test_models_without_a_price_are_told_of_with_a_way_there(
    root: Client, model: ModelConfig
) -> None:
    html = shown(root)
    assert "One model has no price" in html
    assert 'href="/admin/providers/modelconfig/"' in html
    set_prices(model.pk, Prices(input=1), by=None)
    assert "no price" not in shown(root)


def test_who_is_nearest_to_a_limit_comes_first(root: Client, cast: Cast, group: Group) -> None:
    limit_everybody(10_000_000, Period.MONTH)
    User.objects.filter(pk=cast.carol.pk).update(chat_spend_limit_micros=1_000_000_000)
    Group.objects.filter(pk=group.pk).update(chat_spend_limit_micros=2_000_000)
    for user, micros in ((cast.alice, 5_000_000), (cast.bob, 1_900_001), (cast.carol, 9_000_000)):
        spend(micros, owner_id=user.pk, organization_id=cast.organization.pk)
    at = datetime(2026, 6, 30, 23, 59, tzinfo=UTC)
    spend(99, owner_id=cast.root.pk, organization_id=cast.organization.pk, at=at)
    html = shown(root)
    places = [html.index(f"<td>{name}</td>") for name in ("bob", "alice", "carol")]
    assert places == sorted(places)
    for words in ("$1.900001", "95%", "50%", "0%", "$15.900001 since 1 July 2026"):
        assert words in html
    assert "<td>root</td>" not in html
    limit_everybody(None)
    html = shown(root)
    places = [html.index(f"<td>{name}</td>") for name in ("carol", "alice", "bob")]
    assert places == sorted(places)


def test_the_page_costs_the_same_for_few_people_and_for_many(
    root: Client, cast: Cast, group: Group
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            shown(root)
        return len(captured)

    limit_everybody(10_000_000)
    Group.objects.filter(pk=group.pk).update(chat_spend_limit_micros=2_000_000)
    spend(5, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
    User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=5)
    before = queries()
    for number in range(30):
        user = create_user(username=f"u{number}", email=f"u{number}@example.com", password=None)
        User.objects.filter(pk=user.pk).update(chat_spend_limit_micros=5)
        spend(number, owner_id=user.pk, organization_id=cast.organization.pk)
        made = Group.objects.create(
            organization=cast.organization, name=f"g{number}", chat_spend_limit_micros=5
        )
        GroupMember.objects.create(group=made, user=user)
    assert queries() == before
    assert shown(root).count("</meter>") == 20


def test_auditors_see_the_page_and_change_nothing(cast: Cast) -> None:
    cast.alice.rbac_roles = [SiteRole.AUDITOR]
    cast.alice.save()
    browser = browser_of(cast.alice)
    limit_everybody(10_000_000)
    html = shown(browser)
    assert 'value="10.00"' in html
    assert "Save the limit" not in html
    assert "Give a limit" not in html
    assert browser.post(PAGE, {"amount": "1", "period": "day"}).status_code == 403
    assert browser.get(f"{PAGE}suggest/?q=a").status_code == 403
