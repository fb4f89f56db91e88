"""Members of an organisation: listed, added, removed, given roles."""

from typing import Any

import pytest

from chatd.accounts.actions import create_user
from chatd.accounts.models import (
    Group,
    GroupMember,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
)
from chatd.audit.models import AuditEntry
from tests.api.client import NOT_FOUND, Answer, Api, api_of
from tests.conftest import Cast

HERE = "/api/v2/organizations/default"
MEMBERS = f"{HERE}/members"
THERE = "/api/v2/organizations/elsewhere/members"


def roles_of(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [role["name"] for role in answer.body["roles"]]


def is_member(user: User) -> bool:
    return OrganizationMember.objects.filter(user=user, organization__name="default").exists()


@pytest.fixture
def keeper(cast: Cast) -> Api:
    """A user admin."""
    return api_of(
        create_user(username="keeper", email="", password=None, site_roles=[SiteRole.USER_ADMIN])
    )


def test_members_are_listed_by_name_with_every_field(alice: Api, cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(name="Alice", avatar_url="/a.png")
    for fields in ({"is_system": True}, {"deleted": True}):
        user = User.objects.create(username=next(iter(fields)), email="", **fields)
        OrganizationMember.objects.create(user=user, organization=cast.organization)
    found = alice.get(MEMBERS).body
    assert [member["username"] for member in found] == ["alice", "bob", "root"]
    for name in ("created_at", "updated_at"):
        assert found[0].pop(name).endswith("Z")
    assert found[0] == {
        "user_id": str(cast.alice.pk),
        "organization_id": str(cast.organization.pk),
        "roles": [],
        "username": "alice",
        "name": "Alice",
        "avatar_url": "/a.png",
        "email": "alice@example.com",
        "status": "active",
        "login_type": "none",
        "global_roles": [],
    }
    assert "name" not in found[1]
    assert found[2]["global_roles"] == [{"name": "owner", "display_name": "Site owner"}]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?limit=2", ["alice", "bob"]),
        ("?limit=2&offset=2", ["root"]),
        ("?offset=1", ["bob", "root"]),
        ("?limit=0", ["alice", "bob", "root"]),
    ],
)
def test_members_can_be_paged(alice: Api, query: str, names: list[str]) -> None:
    assert [member["username"] for member in alice.get(MEMBERS + query).body] == names


def test_a_member_is_added_once(admin: Api, cast: Cast) -> None:
    answer = admin.post(f"{MEMBERS}/carol")
    assert roles_of(answer) == []
    assert answer.body["user_id"] == str(cast.carol.pk)
    again = admin.post(f"{MEMBERS}/{cast.carol.pk}")
    assert (again.status, again.message) == (
        409,
        '"carol" is a member of this organization already.',
    )
    assert OrganizationMember.objects.filter(user=cast.carol).count() == 2


@pytest.mark.parametrize("who", ["nobody", "%00", "a1a1a1a1-0000-4000-8000-000000000000", "gone"])
def test_somebody_unknown_cannot_be_a_member(admin: Api, who: str) -> None:
    User.objects.create(username="gone", email="", deleted=True)
    for method, path in (("POST", ""), ("DELETE", ""), ("PUT", "/roles")):
        answer = admin.call(method, f"{MEMBERS}/{who}{path}", {"roles": []})
        assert (answer.status, answer.body) == (404, NOT_FOUND)


def test_who_leaves_leaves_the_groups_of_the_organisation_too(admin: Api, cast: Cast) -> None:
    elsewhere = Organization.objects.get(name="elsewhere")
    OrganizationMember.objects.create(user=cast.alice, organization=elsewhere)
    for organization in (cast.organization, elsewhere):
        group = Group.objects.create(organization=organization, name="readers")
        GroupMember.objects.create(group=group, user=cast.alice)
    assert admin.delete(f"{MEMBERS}/alice").status == 204
    assert not is_member(cast.alice)
    left = GroupMember.objects.get(user=cast.alice)
    assert left.group.organization == elsewhere
    assert admin.delete(f"{MEMBERS}/alice").status == 404


def test_chats_of_who_left_are_out_of_their_reach(admin: Api, alice: Api, chats: Any) -> None:
    path = f"/chats/{chats.pending().pk}"
    assert alice.get(path).status == 200
    assert admin.delete(f"{MEMBERS}/alice").status == 204
    assert alice.get(path).status == 404
    assert admin.post(f"{MEMBERS}/alice").status == 200
    assert alice.get(path).status == 200


def test_roles_of_a_member_are_replaced(admin: Api, cast: Cast) -> None:
    for roles in (["organization-auditor", "organization-admin"], ["agents-access"], []):
        answer = admin.put(f"{MEMBERS}/alice/roles", {"roles": roles})
        assert sorted(roles_of(answer)) == sorted(roles)
        assert all(
            role["organization_id"] == str(cast.organization.pk) for role in answer.body["roles"]
        )


@pytest.mark.parametrize("roles", [["owner"], ["nonsense"], ["agents-access", ""]])
def test_an_unknown_role_is_refused(admin: Api, cast: Cast, roles: list[str]) -> None:
    answer = admin.put(f"{MEMBERS}/alice/roles", {"roles": roles})
    assert (answer.status, answer.message) == (400, "Validation failed.")
    assert {entry["field"] for entry in answer.body["validations"]} == {"roles"}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"roles": "x"}', b'{"roles": [1]}'])
def test_a_body_of_another_type_is_refused(admin: Api, body: bytes) -> None:
    answer = admin.put(f"{MEMBERS}/alice/roles", raw=body)
    assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")


# Escalation


def test_an_organisation_admin_acts_in_no_other_organisation(admin: Api, cast: Cast) -> None:
    for method, path in (
        ("GET", THERE),
        ("POST", f"{THERE}/bob"),
        ("DELETE", f"{THERE}/carol"),
        ("PUT", f"{THERE}/carol/roles"),
        ("GET", "/api/v2/organizations/elsewhere/groups"),
        ("POST", "/api/v2/organizations/elsewhere/groups"),
        ("PATCH", "/api/v2/organizations/elsewhere"),
    ):
        assert admin.call(method, path, {"name": "x", "roles": []}).status == 404
    everyone = OrganizationMember.objects.get(user=cast.carol).organization_id
    assert admin.get(f"/api/v2/groups/{everyone}").status == 404


def test_a_user_admin_adds_and_removes_plain_members_alone(keeper: Api, cast: Cast) -> None:
    assert keeper.post(f"{MEMBERS}/carol").status == 200
    assert roles_of(keeper.put(f"{MEMBERS}/carol/roles", {"roles": ["agents-access"]})) == [
        "agents-access"
    ]
    for role in ("organization-admin", "organization-auditor"):
        for who in ("carol", "me"):
            assert keeper.put(f"{MEMBERS}/{who}/roles", {"roles": [role]}).status == 403
    OrganizationMember.objects.filter(user=cast.bob).update(roles=["organization-admin"])
    assert keeper.put(f"{MEMBERS}/bob/roles", {"roles": []}).status == 403
    assert keeper.delete(f"{MEMBERS}/bob").status == 403
    assert is_member(cast.bob)
    assert keeper.delete(f"{MEMBERS}/carol").status == 204
    assert keeper.patch(HERE, {"default_org_member_roles": []}).status == 403


def test_plain_members_change_nothing_not_even_about_themselves(alice: Api) -> None:
    for method, path in (
        ("POST", "carol"),
        ("DELETE", "me"),
        ("PUT", "me/roles"),
        ("DELETE", "bob"),
    ):
        answer = alice.call(method, f"{MEMBERS}/{path}", {"roles": ["organization-admin"]})
        assert answer.status == 403
    assert OrganizationMember.objects.exclude(roles=[]).count() == 0


def test_an_admin_who_lost_the_role_lost_it_with_the_next_request(admin: Api) -> None:
    assert admin.put(f"{MEMBERS}/me/roles", {"roles": []}).status == 200
    assert admin.post(f"{MEMBERS}/carol").status == 403


def test_changes_stand_in_the_audit_log(admin: Api, cast: Cast) -> None:
    admin.post(f"{MEMBERS}/carol")
    admin.put(f"{MEMBERS}/carol/roles", {"roles": ["agents-access"]})
    admin.put(f"{MEMBERS}/carol/roles", {"roles": ["agents-access"]})
    admin.delete(f"{MEMBERS}/carol")
    entries = list(AuditEntry.objects.order_by("id"))
    assert [entry.action for entry in entries] == ["create", "write", "delete"]
    assert {
        (entry.resource_type, entry.resource_id, entry.resource_name, entry.organization_id)
        for entry in entries
    } == {("organization_member", str(cast.carol.pk), "carol", cast.organization.pk)}
    assert entries[1].changes == {"roles": {"old": [], "new": ["agents-access"]}}


def test_a_refused_grant_is_recorded(keeper: Api) -> None:
    keeper.put(f"{MEMBERS}/alice/roles", {"roles": ["organization-admin"]})
    assert AuditEntry.objects.get().refused == "Forbidden."
