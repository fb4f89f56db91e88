"""What is done with many people at once: each by the action of the API, with an entry each."""

from html import unescape
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client

from chatd.accounts.actions import create_token
from chatd.accounts.administration import people_bulk
from chatd.accounts.models import APIKey, Group, OrganizationMember, User, UserStatus
from tests.conftest import Cast
from tests.web.administration import PEOPLE, shown, told
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def run(client: Client, action: str, *people: User, query: str = "", **more: Any) -> str:
    """Choose people in the list and run an action; return the page that comes."""
    chosen = {"action": action, ACTION_CHECKBOX_NAME: [str(person.pk) for person in people]}
    answer = client.post(f"{PEOPLE}{query}", chosen | more, follow=True)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def statuses() -> dict[str, str]:
    return dict(User.objects.values_list("username", "status"))


def test_suspending_asks_first_and_then_tells_of_each(root: Client, cast: Cast) -> None:
    asked = run(root, "suspend", cast.alice, cast.bob)
    assert "Suspend these people?" in asked
    assert "2 people:" in asked
    assert set(statuses().values()) == {"active"}
    done = run(root, "suspend", cast.alice, cast.bob, confirmed="yes")
    assert "2 people are suspended." in done
    assert {name for name, status in statuses().items() if status == "suspended"} == {
        "alice",
        "bob",
    }
    assert told() == [("user", "write", ["status"])] * 2
    assert "2 people are activated." in run(root, "activate", cast.alice, cast.bob)
    assert set(statuses().values()) == {"active"}


def test_who_cannot_be_suspended_is_named_and_the_others_are(root: Client, cast: Cast) -> None:
    done = run(root, "suspend", cast.alice, cast.root, confirmed="yes")
    assert "1 person is suspended." in done
    assert "root: You cannot suspend yourself." in done
    assert statuses()["root"] == UserStatus.ACTIVE


def test_a_user_admin_suspends_nobody_who_is_more(cast: Cast) -> None:
    cast.bob.rbac_roles = ["user-admin"]
    cast.bob.save()
    done = run(browser_of(cast.bob), "suspend", cast.root, cast.alice, confirmed="yes")
    assert "root: Your roles do not let you do this" in done
    assert (statuses()["root"], statuses()["alice"]) == ("active", "suspended")


def test_an_auditor_is_offered_no_action(cast: Cast) -> None:
    cast.bob.rbac_roles = ["auditor"]
    cast.bob.save()
    page = browser_of(cast.bob)
    assert 'value="suspend"' not in shown(page, PEOPLE)
    run(page, "suspend", cast.alice, confirmed="yes")
    assert statuses()["alice"] == "active"


def test_all_tokens_of_people_are_ended_each_with_an_entry(root: Client, cast: Cast) -> None:
    for person in (cast.alice, cast.alice, cast.bob, cast.carol):
        create_token(user=person)
    assert "cannot be brought" in run(root, "end_tokens", cast.alice, cast.bob)
    assert APIKey.objects.count() == 4
    run(root, "end_tokens", cast.alice, cast.bob, confirmed="yes")
    assert [key.user for key in APIKey.objects.all()] == [cast.carol]
    assert [entry[:2] for entry in told()] == [("api_key", "delete")] * 3


def test_people_are_added_to_a_group_and_who_cannot_be_is_named(root: Client, cast: Cast) -> None:
    group = Group.objects.create(organization=cast.organization, name="team")
    Group.objects.create(organization=cast.organization, name="theirs", source="oidc")
    people = (cast.alice, cast.bob, cast.carol)
    asked = run(root, "add_to_group", *people)
    assert ">team</option>" in asked
    assert ">theirs</option>" not in asked
    assert ">Everyone</option>" not in asked
    assert "This field is required." in run(root, "add_to_group", *people, confirmed="yes")
    done = run(root, "add_to_group", *people, confirmed="yes", group=str(group.pk))
    assert "2 people are added to team." in done
    assert "not in the organisation Default, so not in its groups: carol." in done
    assert set(group.memberships.values_list("user__username", flat=True)) == {"alice", "bob"}
    assert told() == [("group", "write", ["members"])]
    again = run(root, "add_to_group", cast.alice, confirmed="yes", group=str(group.pk))
    assert "0 people are added" in again


def test_all_who_were_found_can_be_chosen_and_not_more_than_that(root: Client, cast: Cast) -> None:
    User.objects.bulk_create(User(username=f"temp{number}") for number in range(60))
    some = User.objects.get(username="temp0")
    across = {"query": "?q=temp", "select_across": "1"}
    assert "60 people:" in run(root, "suspend", some, **across)
    run(root, "suspend", some, confirmed="yes", **across)
    assert User.objects.filter(status="suspended").count() == 60
    assert statuses()["alice"] == "active"


def test_too_many_at_once_are_refused(
    root: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_bulk, "MOST_AT_ONCE", 1)
    for action in ("suspend", "activate", "end_tokens", "add_to_group"):
        done = run(root, action, cast.alice, cast.bob, confirmed="yes")
        assert "at most 1 can be changed at once" in done
    assert told() == []
    assert OrganizationMember.objects.count() == 4
