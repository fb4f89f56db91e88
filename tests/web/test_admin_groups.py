"""The administration pages of groups and of who is in them."""

from html import unescape

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client

from chatd.accounts.models import Group, GroupMember, User
from tests.conftest import Cast
from tests.web.administration import GROUPS, PEOPLE, shown, told
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


@pytest.fixture
def team(cast: Cast) -> Group:
    return Group.objects.create(organization=cast.organization, name="team", display_name="Team")


def everyone(cast: Cast) -> Group:
    return Group.objects.get(pk=cast.organization.pk)


def members(group: Group) -> set[str]:
    return set(group.memberships.values_list("user__username", flat=True))


def page_of(group: Group) -> str:
    return f"{GROUPS}{group.pk}/change/"


def members_of(group: Group) -> str:
    return f"{GROUPS}{group.pk}/members/"


def test_a_group_is_made_and_its_members_are_asked_for(root: Client, cast: Cast) -> None:
    form = {"organization": str(cast.organization.pk), "name": "lab", "display_name": "The lab"}
    answer = root.post(f"{GROUPS}add/", form)
    lab = Group.objects.get(name="lab")
    assert (answer.status_code, answer["Location"]) == (302, f"{members_of(lab)}?add=1")
    html = shown(root, answer["Location"])
    assert "alice@" in html
    assert "carol@" not in html
    assert told() == [("group", "create", ["avatar_url", "display_name", "members", "name"])]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("everyone", "Would be read as something else"),
        ("two words", "Must be 1 to 36 letters"),
        ("TEAM", "already in use"),
        ("", "This field is required."),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_the_form(
    root: Client, cast: Cast, team: Group, name: str, said: str
) -> None:
    form = {"organization": str(cast.organization.pk), "name": name, "display_name": "Kept"}
    answer = root.post(f"{GROUPS}add/", form)
    assert answer.status_code == 200
    assert said in unescape(answer.content.decode())
    assert 'value="Kept"' in answer.content.decode()


def test_a_group_is_renamed_and_deleted(root: Client, team: Group) -> None:
    assert root.post(page_of(team), {"name": "crew"}).status_code == 302
    assert str(Group.objects.get(pk=team.pk)) == "crew"
    assert "Its members stay" in shown(root, f"{GROUPS}{team.pk}/delete/")
    assert root.post(f"{GROUPS}{team.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Group.objects.filter(pk=team.pk).exists()
    assert [entry[:2] for entry in told()] == [("group", "write"), ("group", "delete")]


def test_people_are_searched_added_and_removed(root: Client, cast: Cast, team: Group) -> None:
    page = members_of(team)
    assert "Nobody is in this group yet." in shown(root, page)
    found = shown(root, f"{page}?add=1&q=ALI")
    assert "alice@" in found
    assert "bob@" not in found
    chosen = {"chosen": [str(cast.alice.pk), str(cast.bob.pk)]}
    answer = root.post(f"{page}?add=1", chosen, follow=True)
    assert "2 added." in answer.content.decode()
    assert members(team) == {"alice", "bob"}
    assert "alice@" not in shown(root, f"{page}?add=1")
    root.post(page, {"chosen": [str(cast.alice.pk)]})
    assert members(team) == {"bob"}
    assert told() == [("group", "write", ["members"])] * 2
    assert "Nothing was found for “zz”" in shown(root, f"{page}?q=zz")


def test_nothing_chosen_and_strangers_are_told_of(root: Client, cast: Cast, team: Group) -> None:
    page = f"{members_of(team)}?add=1"
    assert "tick a box first" in root.post(page, follow=True).content.decode()
    answer = root.post(page, {"chosen": [str(cast.carol.pk)]}, follow=True)
    assert "Only members of the organization can be in its groups." in answer.content.decode()
    assert members(team) == set()


def test_everyone_is_marked_and_nobody_changes_it(root: Client, cast: Cast) -> None:
    group = everyone(cast)
    assert "All of the organisation" in shown(root, GROUPS)
    html = shown(root, page_of(group))
    assert 'name="_save"' not in html
    assert "Delete group" not in html
    page = shown(root, members_of(group))
    assert "alice@" in page
    assert "Add people" not in page
    assert root.post(f"{members_of(group)}?add=1", {"chosen": ["x"]}).status_code == 403
    assert root.post(page_of(group), {"name": "us"}).status_code == 403


def test_deleting_several_with_everyone_deletes_none_and_says_why(
    root: Client, cast: Cast, team: Group
) -> None:
    chosen = [str(team.pk), str(everyone(cast).pk)]
    form = {"action": "delete_selected", ACTION_CHECKBOX_NAME: chosen, "post": "yes"}
    answer = root.post(GROUPS, form, follow=True)
    assert "The Everyone group cannot be changed." in answer.content.decode()
    assert Group.objects.filter(pk=team.pk).exists()


def test_members_of_the_identity_provider_are_changed_there(
    root: Client, cast: Cast, team: Group
) -> None:
    Group.objects.filter(pk=team.pk).update(source="oidc")
    GroupMember.objects.create(group=team, user=cast.alice)
    html = shown(root, members_of(team))
    assert "come from the identity provider" in html
    assert "alice@" in html
    assert "Remove from the group" not in html
    page = f"{members_of(team)}?add=1"
    assert root.post(page, {"chosen": [str(cast.bob.pk)]}).status_code == 403
    assert members(team) == {"alice"}


def test_a_spending_limit_is_shown(root: Client, team: Group) -> None:
    assert "None set" in shown(root, GROUPS)
    Group.objects.filter(pk=team.pk).update(chat_spend_limit_micros=2_500_000)
    assert "$2.50" in shown(root, GROUPS)
    assert "$2.50" in shown(root, page_of(team))


def test_groups_are_searched_and_filtered(root: Client, cast: Cast, team: Group) -> None:
    for query in ("q=tea", "source__exact=user", f"organization={cast.organization.pk}"):
        assert f"{team.pk}/change/" in shown(root, f"{GROUPS}?{query}")
    assert f"{team.pk}/change/" not in shown(root, f"{GROUPS}?source__exact=oidc")
    assert "Nothing matches" in shown(root, f"{GROUPS}?q=zz")


# from the side of a person


def test_a_person_is_put_into_groups_and_taken_out(root: Client, cast: Cast, team: Group) -> None:
    theirs = Group.objects.create(organization=cast.organization, name="theirs", source="oidc")
    page = f"{PEOPLE}{cast.alice.pk}/groups/"
    assert "alice is in no group." in shown(root, page)
    offered = shown(root, f"{page}?add=1")
    assert str(team.pk) in offered
    assert str(theirs.pk) not in offered
    assert str(cast.organization.pk) not in offered
    root.post(f"{page}?add=1", {"chosen": [str(team.pk)]})
    assert members(team) == {"alice"}
    assert "Team" in shown(root, page)
    root.post(page, {"chosen": [str(team.pk)]})
    assert members(team) == set()
    refused = root.post(f"{page}?add=1", {"chosen": [str(cast.organization.pk)]}, follow=True)
    assert "Everyone group cannot be changed" in refused.content.decode()


def test_what_is_no_id_is_refused_and_not_an_error(root: Client, cast: Cast, team: Group) -> None:
    for page in (members_of(team), f"{PEOPLE}{cast.alice.pk}/groups/"):
        assert root.post(f"{page}?add=1", {"chosen": ["nonsense"]}).status_code == 302
        assert root.get(f"{page}?q=%00&page=-3").status_code == 200
    assert root.get(f"{GROUPS}{cast.alice.pk}/members/").status_code == 404


def test_an_auditor_reads_members_and_changes_none(cast: Cast, team: Group) -> None:
    cast.bob.rbac_roles = ["auditor"]
    cast.bob.save()
    page = browser_of(cast.bob)
    assert "Add people" not in shown(page, members_of(team))
    for address in (members_of(team), f"{PEOPLE}{cast.alice.pk}/groups/"):
        assert page.post(f"{address}?add=1", {"chosen": [str(cast.alice.pk)]}).status_code == 403
    assert page.get(f"{GROUPS}add/").status_code == 403


def test_a_user_admin_looks_after_groups(cast: Cast, team: Group) -> None:
    User.objects.filter(pk=cast.bob.pk).update(rbac_roles=["user-admin"])
    page = browser_of(User.objects.get(pk=cast.bob.pk))
    page.post(f"{members_of(team)}?add=1", {"chosen": [str(cast.alice.pk)]})
    assert members(team) == {"alice"}
