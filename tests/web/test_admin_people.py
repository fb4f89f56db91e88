"""The administration pages of people: the same rules and the same log as the API."""

from html import unescape

import pytest
from django.test import Client

from chatd.accounts.actions import create_organization, create_token
from chatd.accounts.models import (
    APIKey,
    Group,
    GroupMember,
    Organization,
    OrganizationMember,
    User,
    UserStatus,
)
from chatd.providers.models import AIProvider, UserAIProviderKey
from tests.conftest import Cast
from tests.web.administration import PEOPLE, shown, told
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


@pytest.fixture
def helper(cast: Cast) -> Client:
    """Somebody who looks after people and nothing else."""
    cast.bob.rbac_roles = ["user-admin"]
    cast.bob.save()
    return browser_of(cast.bob)


def form_of(user: User, *memberships: OrganizationMember, **changes: object) -> dict[str, object]:
    form: dict[str, object] = {
        "username": user.username,
        "email": user.email,
        "name": user.name,
        "status": user.status,
        "rbac_roles": user.rbac_roles,
        "memberships-TOTAL_FORMS": len(memberships),
        "memberships-INITIAL_FORMS": sum(member.pk is not None for member in memberships),
    }
    for number, member in enumerate(memberships):
        form |= {
            f"memberships-{number}-id": member.pk or "",
            f"memberships-{number}-user": str(user.pk),
            f"memberships-{number}-organization": str(member.organization_id),
            f"memberships-{number}-roles": member.roles,
        }
    return form | changes


def page_of(user: User) -> str:
    return f"{PEOPLE}{user.pk}/change/"


# the list


def test_people_are_searched_and_filtered(root: Client, cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(status="suspended", rbac_roles=["auditor"])
    assert "alice@" in shown(root, f"{PEOPLE}?q=ALICE")
    assert "bob@" not in shown(root, f"{PEOPLE}?q=ALICE")
    for query in ("status=suspended", "role=auditor"):
        html = shown(root, f"{PEOPLE}?{query}")
        assert "bob@" in html
        assert "alice@" not in html
    assert "bob@" not in shown(root, f"{PEOPLE}?role=none")
    assert "carol@" not in shown(root, f"{PEOPLE}?organization={cast.organization.pk}")
    assert "alice@" in shown(root, f"{PEOPLE}?login_type__exact=none")
    assert "alice@" not in shown(root, f"{PEOPLE}?login_type__exact=password")


def test_people_of_a_group_are_listed(root: Client, cast: Cast) -> None:
    group = Group.objects.create(organization=cast.organization, name="team")
    GroupMember.objects.create(group=group, user=cast.alice)
    html = shown(root, f"{PEOPLE}?group={group.pk}")
    assert "alice@" in html
    assert "bob@" not in html
    assert "bob@" in shown(root, f"{PEOPLE}?group=nonsense")


def test_deleted_people_are_shown_only_to_who_asks(root: Client, cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(deleted=True)
    assert "alice@" not in shown(root, PEOPLE)
    html = shown(root, f"{PEOPLE}?status=deleted")
    assert "alice@" in html
    assert "bob@" not in html
    page = shown(root, page_of(cast.alice))
    assert 'name="_save"' not in page
    assert root.post(page_of(cast.alice), form_of(cast.alice, name="X")).status_code == 403


def test_when_nobody_is_found_the_page_says_so(root: Client) -> None:
    assert "Nothing matches what you look for." in shown(root, f"{PEOPLE}?q=zzz")


# one person


def test_a_person_is_changed_and_every_change_is_told(root: Client, cast: Cast) -> None:
    joined = cast.alice.memberships.get()
    form = form_of(
        cast.alice,
        joined,
        username="alicia",
        email="a@new.example",
        status="suspended",
        rbac_roles=["auditor"],
    )
    assert root.get(page_of(cast.alice)).status_code == 200
    assert root.post(page_of(cast.alice), form).status_code == 302
    changed = User.objects.get(pk=cast.alice.pk)
    assert (changed.username, changed.email, changed.status, changed.rbac_roles) == (
        "alicia",
        "a@new.example",
        UserStatus.SUSPENDED,
        ["auditor"],
    )
    assert told() == [
        ("user", "write", ["email", "username"]),
        ("user", "write", ["status"]),
        ("user", "write", ["roles"]),
    ]


def test_a_name_that_is_taken_is_said_in_words(root: Client, cast: Cast) -> None:
    answer = root.post(page_of(cast.alice), form_of(cast.alice, username="BOB", name="Kept"))
    assert answer.status_code == 200
    html = unescape(answer.content.decode())
    assert "Is already in use; choose another" in html
    assert "Constraint" not in html
    assert 'value="Kept"' in html


def test_memberships_are_changed_added_and_removed(root: Client, cast: Cast) -> None:
    joined = cast.alice.memberships.get()
    joined.roles = ["organization-admin"]
    elsewhere = Organization.objects.get(name="elsewhere")
    added = OrganizationMember(organization=elsewhere, roles=["agents-access"])
    form = form_of(cast.alice, joined, added)
    assert root.post(page_of(cast.alice), form).status_code == 302
    assert {member.organization.name: member.roles for member in cast.alice.memberships.all()} == {
        "default": ["organization-admin"],
        "elsewhere": ["agents-access"],
    }
    form = form_of(cast.alice, joined, **{"memberships-0-DELETE": "on"})
    assert root.post(page_of(cast.alice), form).status_code == 302
    assert [member.organization for member in cast.alice.memberships.all()] == [elsewhere]
    assert {kind for kind, _, _ in told()} == {"organization_member"}


def test_an_organisation_that_is_chosen_is_not_exchanged_for_another(
    root: Client, cast: Cast
) -> None:
    joined = cast.alice.memberships.get()
    moved = form_of(cast.alice, joined)
    moved["memberships-0-organization"] = str(Organization.objects.get(name="elsewhere").pk)
    root.post(page_of(cast.alice), moved)
    assert [member.organization for member in cast.alice.memberships.all()] == [cast.organization]


def test_the_last_owner_stays_one_with_a_form_that_says_why(root: Client, cast: Cast) -> None:
    answer = root.post(page_of(cast.root), form_of(cast.root, rbac_roles=[]))
    assert answer.status_code == 200
    assert "must keep an owner" in answer.content.decode()
    assert User.objects.get(pk=cast.root.pk).rbac_roles == ["owner"]


def test_nobody_suspends_or_deletes_themselves(root: Client, cast: Cast) -> None:
    html = shown(root, page_of(cast.root))
    assert 'name="status"' not in html
    assert "Delete person" not in html
    root.post(page_of(cast.root), form_of(cast.root, status="suspended"))
    assert User.objects.get(pk=cast.root.pk).status == UserStatus.ACTIVE
    assert root.post(f"{PEOPLE}{cast.root.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("role", ["king", "organization-admin"])
def test_a_role_that_is_none_is_refused_by_the_form(root: Client, cast: Cast, role: str) -> None:
    assert root.post(page_of(cast.alice), form_of(cast.alice, rbac_roles=[role])).status_code == 200
    assert User.objects.get(pk=cast.alice.pk).rbac_roles == []


def test_deleting_says_what_happens_and_does_it(root: Client, cast: Cast) -> None:
    provider = AIProvider.objects.create(type="openai", name="one")
    UserAIProviderKey.objects.create(provider=provider, user=cast.alice, api_key="k")
    token, _ = create_token(user=cast.alice)
    page = f"{PEOPLE}{cast.alice.pk}/delete/"
    assert "Their chats and what those cost stay" in shown(root, page)
    assert root.post(page, {"post": "yes"}).status_code == 302
    assert User.objects.get(pk=cast.alice.pk).deleted
    assert not APIKey.objects.filter(pk=token.pk).exists()
    assert not UserAIProviderKey.objects.exists()
    assert told()[-1][:2] == ("user", "delete")


# who looks after people, and no more


def test_a_user_admin_changes_people_and_not_what_they_may(helper: Client, cast: Cast) -> None:
    joined = cast.alice.memberships.get()
    joined.roles = ["organization-admin"]
    form = form_of(cast.alice, joined, name="Alice A.", rbac_roles=["owner"], status="suspended")
    assert helper.post(page_of(cast.alice), form).status_code == 302
    changed = User.objects.get(pk=cast.alice.pk)
    assert (changed.name, changed.rbac_roles, changed.status) == ("Alice A.", [], "suspended")
    assert cast.alice.memberships.get().roles == []


def test_a_user_admin_changes_their_own_name_and_stays_one(helper: Client, cast: Cast) -> None:
    form = form_of(cast.bob, name="Bob B.", rbac_roles=[])  # browsers send no disabled boxes
    assert helper.post(page_of(cast.bob), form).status_code == 302
    changed = User.objects.get(pk=cast.bob.pk)
    assert (changed.name, changed.rbac_roles) == ("Bob B.", ["user-admin"])


def test_a_user_admin_reads_an_owner_and_changes_nothing(helper: Client, cast: Cast) -> None:
    html = shown(helper, page_of(cast.root))
    assert "Site owner" in html
    assert 'name="_save"' not in html
    assert "New password" not in html
    assert "History" not in html  # it is in the audit log, which they may not read
    assert "API tokens</a>" not in html
    assert helper.post(page_of(cast.root), form_of(cast.root, name="X")).status_code == 403
    assert helper.post(f"{PEOPLE}{cast.root.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_user_admin_adds_only_where_they_may_give_what_every_member_is(
    helper: Client, cast: Cast
) -> None:
    create_organization(name="closed", default_roles=["organization-admin"])
    html = shown(helper, page_of(cast.alice))
    assert ">elsewhere</option>" in html
    assert ">closed</option>" not in html


def test_an_auditor_sees_people_and_changes_nothing(cast: Cast) -> None:
    cast.bob.rbac_roles = ["auditor"]
    cast.bob.save()
    page = browser_of(cast.bob)
    assert "alice@" in shown(page, PEOPLE)
    assert 'name="_save"' not in shown(page, page_of(cast.alice))
    assert page.post(page_of(cast.alice), form_of(cast.alice, name="X")).status_code == 403
    for address in ("delete/", "password/"):
        assert page.get(f"{PEOPLE}{cast.alice.pk}/{address}").status_code == 403
