"""Lists of the administration with many rows: as many queries as with few, read by the indexes."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from chatd.accounts.models import (
    APIKey,
    Group,
    GroupMember,
    Organization,
    OrganizationMember,
    User,
)
from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from tests.conftest import Cast
from tests.support import plans
from tests.web.administration import AUDIT, GROUPS, ORGANIZATIONS, PEOPLE, TOKENS, cost, shown
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def fill(organization: Organization, prefix: str, people: int) -> list[User]:
    """Make people with a token, memberships and a group each, and as many entries of the log."""
    made = User.objects.bulk_create(
        User(username=f"{prefix}{number}", email=f"{prefix}{number}@x.example")
        for number in range(people)
    )
    OrganizationMember.objects.bulk_create(
        OrganizationMember(organization=organization, user=user) for user in made
    )
    groups = Group.objects.bulk_create(
        Group(organization=organization, name=f"{prefix}g{number}") for number in range(people)
    )
    GroupMember.objects.bulk_create(
        GroupMember(group=group, user=user) for group, user in zip(groups, made, strict=True)
    )
    GroupMember.objects.bulk_create(GroupMember(group=groups[0], user=user) for user in made[1:])
    APIKey.objects.bulk_create(
        APIKey(
            id=f"{prefix[:3]}{number:07}",
            user=user,
            hashed_secret="",
            token_name="ci",
            lifetime_seconds=1,
            created_at=now() - timedelta(seconds=number),
            expires_at=now(),
        )
        for number, user in enumerate(made)
    )
    AuditEntry.objects.bulk_create(
        AuditEntry(action="write", resource_type="user", at=now() - timedelta(seconds=number))
        for number in range(people)
    )
    return made


def pages(cast: Cast) -> dict[str, int]:
    """Return the pages that list something, with the exact number of their queries."""
    organization = cast.organization.pk
    group = Group.objects.get(organization=organization, name="fewg0").pk
    person = User.objects.get(username="few0").pk
    return {
        PEOPLE: 7,
        f"{PEOPLE}?q=few&status=active&role=none": 7,
        f"{PEOPLE}?organization={organization}": 7,
        f"{PEOPLE}{person}/change/": 14,
        f"{PEOPLE}{person}/groups/?add=1": 6,
        ORGANIZATIONS: 7,
        f"{ORGANIZATIONS}{organization}/change/": 6,
        f"{ORGANIZATIONS}{organization}/members/": 6,
        f"{ORGANIZATIONS}{organization}/members/?add=1&q=e": 6,
        GROUPS: 8,
        f"{GROUPS}{group}/change/": 6,
        f"{GROUPS}{group}/members/": 6,
        f"{GROUPS}{group}/members/?add=1": 6,
        f"{GROUPS}{organization}/members/": 6,
        TOKENS: 5,
        AUDIT: 6,
    }


def test_pages_cost_the_same_for_few_rows_and_for_many(root: Client, cast: Cast) -> None:
    few = fill(cast.organization, "few", 10)
    expected = pages(cast)
    for page in (f"{PEOPLE}{few[0].pk}/change/", f"{ORGANIZATIONS}{cast.organization.pk}/change/"):
        shown(root, page)  # what kinds of rows there are is read once in a process
    shown(root, f"{GROUPS}{cast.organization.pk}/change/")
    assert {address: cost(root, address) for address in expected} == expected
    fill(cast.organization, "many", 150)
    assert {address: cost(root, address) for address in expected} == expected


def test_a_page_shows_a_page_of_rows_and_not_all(root: Client, cast: Cast) -> None:
    fill(cast.organization, "many", 150)
    page = shown(root, f"{ORGANIZATIONS}{cast.organization.pk}/members/")
    assert page.count('name="chosen"') == 50
    assert "1\N{EN DASH}50 of 153" in page
    assert 'href="?page=2"' in page
    last = shown(root, f"{ORGANIZATIONS}{cast.organization.pk}/members/?page=4&q=many")
    assert last.count('name="chosen"') == 50
    assert "101\N{EN DASH}150 of 150" in last


def test_a_page_of_a_list_is_read_in_the_order_of_an_index(root: Client, cast: Cast) -> None:
    fill(cast.organization, "many", 3000)
    plans.analyze()
    for address, table in (
        (PEOPLE, "accounts_user"),
        (f"{PEOPLE}?p=20", "accounts_user"),
        (TOKENS, "accounts_apikey"),
        (AUDIT, "audit_auditentry"),
    ):
        (page,) = [
            sql for sql in plans.statements(lambda at=address: shown(root, at)) if "LIMIT 50" in sql
        ]
        steps = plans.ordered_steps(page)
        assert [step for step in steps if plans.is_scan(step, [table])] == []
        assert [step for step in steps if plans.sorts_everything(step)] == []
    unindexed = plans.statements(lambda: list(User.objects.order_by("name")[:50]))
    assert [step for step in plans.ordered_steps(unindexed[0]) if plans.sorts_everything(step)]


def test_the_kinds_of_changes_are_found_without_reading_all_entries(root: Client) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(action="write", resource_type=kind)
        for kind in ["chat"] * 3000 + ["user", "ai_provider"]
    )
    plans.analyze()
    html = shown(root, AUDIT)
    for kind in ("Chat", "User", "Ai provider"):
        assert re.search(rf">\s*{kind}\s*</option>", html)
    sent = plans.statements(lambda: shown(root, AUDIT))
    (kinds,) = [sql for sql in sent if "RECURSIVE" in sql]
    assert not [step for step in plans.steps(kinds) if plans.is_scan(step, ["audit_auditentry"])]
    assert not any("DISTINCT" in sql for sql in sent)
