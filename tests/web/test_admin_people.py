"""The administration pages of people: the same rules and the same log as the API."""

import pytest
from django.test import Client

from chatd.accounts.actions import create_token
from chatd.accounts.models import (
    APIKey,
    Group,
    Organization,
    OrganizationMember,
    User,
    UserStatus,
)
from chatd.audit.models import AuditEntry
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


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
    return f"/admin/accounts/user/{user.pk}/change/"


def told() -> list[tuple[str, str, list[str]]]:
    return [
        (entry.resource_type, str(entry.action), sorted(entry.changes))
        for entry in AuditEntry.objects.order_by("id")
    ]


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


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rbac_roles": []}, "must keep an owner"),
        ({"status": "suspended"}, "You cannot suspend yourself"),
    ],
)
def test_the_last_owner_stays_one_with_a_form_that_says_why(
    root: Client, cast: Cast, changes: dict[str, object], reason: str
) -> None:
    answer = root.post(page_of(cast.root), form_of(cast.root, **changes))
    assert answer.status_code == 200
    assert reason in answer.content.decode()
    kept = User.objects.get(pk=cast.root.pk)
    assert (kept.rbac_roles, kept.status) == (["owner"], UserStatus.ACTIVE)


@pytest.mark.parametrize("role", ["king", "organization-admin"])
def test_a_role_that_is_none_is_refused_by_the_form(root: Client, cast: Cast, role: str) -> None:
    assert root.post(page_of(cast.alice), form_of(cast.alice, rbac_roles=[role])).status_code == 200
    assert User.objects.get(pk=cast.alice.pk).rbac_roles == []


def test_an_organisation_is_made_with_everyone_and_changed(root: Client, cast: Cast) -> None:
    form = {"name": "lab", "display_name": "Lab", "default_org_member_roles": ["agents-access"]}
    assert root.post("/admin/accounts/organization/add/", form).status_code == 302
    lab = Organization.objects.get(name="lab")
    assert Group.objects.get(organization=lab).is_everyone
    page = f"/admin/accounts/organization/{lab.pk}/change/"
    assert root.post(page, form | {"icon": "x"}).status_code == 302
    assert Organization.objects.get(pk=lab.pk).icon == "x"
    assert told() == [
        ("organization", "create", sorted(form | {"description": "", "icon": ""})),
        ("organization", "write", ["icon"]),
    ]
    assert root.post("/admin/accounts/organization/add/", form).status_code == 200
    assert Organization.objects.filter(name="lab").count() == 1


def test_a_revoked_token_is_told_of(root: Client, cast: Cast) -> None:
    key, _ = create_token(user=cast.alice)
    root.post(f"/admin/accounts/apikey/{key.pk}/delete/", {"post": "yes"})
    assert not APIKey.objects.filter(pk=key.pk).exists()
    assert [(kind, action) for kind, action, _ in told()] == [("api_key", "delete")]
