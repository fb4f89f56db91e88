"""People are found by indexes, however many there are."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chatd.accounts import selectors
from chatd.accounts.models import APIKey, Group, GroupMember, OrganizationMember, User
from chatd.accounts.policy import memberships, rights_over
from chatd.core.clock import now
from tests.conftest import Cast
from tests.support import plans

pytestmark = pytest.mark.django_db

PEOPLE = 3000
TABLES = (
    "accounts_user",
    "accounts_organizationmember",
    "accounts_apikey",
    "accounts_groupmember",
)


@pytest.fixture
def people(cast: Cast) -> list[User]:
    """So many people, with a token each, that reading them all would be the slower plan."""
    made = User.objects.bulk_create(
        User(username=f"u{number}", email=f"u{number}@x.example") for number in range(PEOPLE)
    )
    # Half of them are in the organisation of the cast, so that it is not everybody's.
    OrganizationMember.objects.bulk_create(
        OrganizationMember(organization=cast.organization, user=user) for user in made[::2]
    )
    APIKey.objects.bulk_create(
        APIKey(
            id=f"{number:010}",
            user=user,
            hashed_secret="",
            token_name="ci",
            lifetime_seconds=1,
            expires_at=now(),
        )
        for number, user in enumerate(made)
    )
    groups = Group.objects.bulk_create(
        Group(organization=cast.organization, name=f"g{number}") for number in range(PEOPLE // 10)
    )
    GroupMember.objects.bulk_create(
        GroupMember(group=groups[number // 10], user=user) for number, user in enumerate(made)
    )
    plans.analyze()
    return made


def scans(read: Callable[[], Any]) -> list[str]:
    return plans.scans(read, TABLES)


def test_a_person_is_found_by_the_index(people: list[User], cast: Cast) -> None:
    for who in ("u77", "U77", str(people[77].pk), "nobody"):
        assert scans(lambda who=who: selectors.find_user(cast.root, who)) == []
    for who in ("u77", "U77@x.example", "nobody"):
        assert scans(lambda who=who: selectors.find_live_user(who)) == []


def test_rights_over_a_person_are_found_by_the_index(people: list[User], cast: Cast) -> None:
    OrganizationMember.objects.filter(user=cast.bob).update(roles=["organization-admin"])
    for user in (cast.bob, cast.root, cast.alice):
        assert scans(lambda user=user: rights_over(user, people[78])) == []
    assert scans(lambda: memberships(people[78])) == []


def test_a_page_of_people_is_read_in_the_order_of_the_index(people: list[User], cast: Cast) -> None:
    # How many there are is counted, which takes all of them; only the page is looked at.
    page = selectors.page_of_people(selectors.readable_people(cast.root), limit=50, offset=100)
    assert scans(lambda: list(page)) == []
    assert scans(lambda: selectors.organization_ids_of(people[:5])) == []


def test_groups_and_tokens_of_a_person_are_read_from_the_index(
    people: list[User], cast: Cast
) -> None:
    assert scans(lambda: selectors.list_tokens_for(people[77], "me")) == []
    assert scans(lambda: selectors.group_ids_of(people[78])) == []
    group = Group.objects.get(name="g7")
    assert scans(lambda: selectors.members_of([group])) == []
    keys, ids = [f"{number:010}" for number in range(5)], [user.pk for user in people[:5]]
    assert scans(lambda: selectors.live_key_ids(keys)) == []
    assert scans(lambda: selectors.active_user_ids(ids)) == []


def test_this_test_sees_a_scan_when_there_is_one(people: list[User]) -> None:
    assert scans(lambda: list(User.objects.filter(avatar_url=uuid4().hex)))
