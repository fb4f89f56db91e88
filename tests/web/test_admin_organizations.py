"""The administration pages of organisations and of who is in them."""

import re
from html import unescape

import pytest
from django.test import Client

from chatd.accounts.models import Group, Organization, OrganizationMember
from tests.conftest import Cast
from tests.web.administration import ORGANIZATIONS, shown, told
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

FIELDS = ["default_org_member_roles", "description", "display_name", "icon", "name"]


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def page_of(organization: Organization) -> str:
    return f"{ORGANIZATIONS}{organization.pk}/change/"


def members_of(organization: Organization) -> str:
    return f"{ORGANIZATIONS}{organization.pk}/members/"


def names(organization: Organization) -> set[str]:
    return set(organization.memberships.values_list("user__username", flat=True))


def test_an_organisation_is_made_with_everyone_and_changed(root: Client, cast: Cast) -> None:
    form = {"name": "lab", "display_name": "Lab", "default_org_member_roles": ["agents-access"]}
    answer = root.post(f"{ORGANIZATIONS}add/", form)
    lab = Organization.objects.get(name="lab")
    assert (answer.status_code, answer["Location"]) == (302, members_of(lab))
    assert Group.objects.get(organization=lab).is_everyone
    assert names(lab) == {"root"}
    assert root.post(page_of(lab), form | {"icon": "x"}).status_code == 302
    assert Organization.objects.get(pk=lab.pk).icon == "x"
    assert told() == [("organization", "create", FIELDS), ("organization", "write", ["icon"])]


def test_a_taken_name_is_refused_in_words(root: Client, cast: Cast) -> None:
    answer = root.post(f"{ORGANIZATIONS}add/", {"name": "ELSEWHERE", "description": "Kept"})
    assert answer.status_code == 200
    html = unescape(answer.content.decode())
    assert "already in use" in html
    assert "Kept" in html
    assert Organization.objects.count() == 2


def test_the_roles_of_every_member_are_chosen_in_words(root: Client, cast: Cast) -> None:
    html = shown(root, page_of(cast.organization))
    assert "Have chats; by default every member may." in html
    root.post(page_of(cast.organization), {"name": "default"})
    assert Organization.objects.get(pk=cast.organization.pk).default_org_member_roles == []
    assert "Member only" in shown(root, ORGANIZATIONS)


def test_the_list_says_how_many_are_in_each(root: Client, cast: Cast) -> None:
    Group.objects.create(organization=cast.organization, name="team")
    html = shown(root, ORGANIZATIONS)
    assert re.findall(r"field-members[^>]*>\s*(\d+)", html) == ["3", "1"]
    assert re.findall(r"field-groups[^>]*>\s*(\d+)", html) == ["2", "1"]
    assert "For new people" in html


def test_nobody_deletes_an_organisation(root: Client, cast: Cast) -> None:
    page = f"{ORGANIZATIONS}{cast.organization.pk}/delete/"
    assert root.get(page).status_code == 403
    assert root.post(page, {"post": "yes"}).status_code == 403


def test_members_are_searched_added_and_removed(root: Client, cast: Cast) -> None:
    page = members_of(cast.organization)
    found = shown(root, f"{page}?q=BOB@")
    assert "bob@" in found
    assert "alice@" not in found
    assert "carol@" in shown(root, f"{page}?add=1&q=carol@")
    answer = root.post(f"{page}?add=1", {"chosen": [str(cast.carol.pk)]}, follow=True)
    assert "1 added." in answer.content.decode()
    assert names(cast.organization) == {"alice", "bob", "carol", "root"}
    root.post(page, {"chosen": [str(cast.carol.pk), str(cast.bob.pk)]})
    assert names(cast.organization) == {"alice", "root"}
    assert [entry[:2] for entry in told()] == [
        ("organization_member", "create"),
        ("organization_member", "delete"),
        ("organization_member", "delete"),
    ]


def test_further_roles_of_members_are_shown(root: Client, cast: Cast) -> None:
    OrganizationMember.objects.filter(user=cast.bob).update(roles=["organization-auditor"])
    assert "Organisation auditor" in shown(root, members_of(cast.organization))


def test_one_who_cannot_be_removed_keeps_all_of_them_in(cast: Cast) -> None:
    cast.bob.rbac_roles = ["user-admin"]
    cast.bob.save()
    OrganizationMember.objects.filter(user=cast.root).update(roles=["organization-admin"])
    page, chosen = members_of(cast.organization), [str(cast.alice.pk), str(cast.root.pk)]
    answer = browser_of(cast.bob).post(page, {"chosen": chosen}, follow=True)
    assert "You may not give or take the roles: organization-admin" in answer.content.decode()
    assert names(cast.organization) == {"alice", "bob", "root"}


def test_a_user_admin_reads_an_organisation_and_looks_after_its_members(cast: Cast) -> None:
    cast.bob.rbac_roles = ["user-admin"]
    cast.bob.save()
    page = browser_of(cast.bob)
    html = shown(page, page_of(cast.organization))
    assert 'name="_save"' not in html
    assert "Agents user" in html
    assert page.post(page_of(cast.organization), {"name": "mine"}).status_code == 403
    assert page.get(f"{ORGANIZATIONS}add/").status_code == 403
    page.post(f"{members_of(cast.organization)}?add=1", {"chosen": [str(cast.carol.pk)]})
    assert "carol" in names(cast.organization)


def test_an_auditor_changes_no_members(cast: Cast) -> None:
    cast.bob.rbac_roles = ["auditor"]
    cast.bob.save()
    page = browser_of(cast.bob)
    assert "alice@" in shown(page, members_of(cast.organization))
    chosen = {"chosen": [str(cast.alice.pk)]}
    assert page.post(members_of(cast.organization), chosen).status_code == 403
