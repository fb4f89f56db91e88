"""Groups: seen, made, changed, filled, deleted; and Everyone, whom nobody changes."""

from typing import Any
from uuid import uuid4

import pytest

from chatd.accounts.models import Group, GroupMember, Organization, OrganizationMember, User
from chatd.audit.models import AuditEntry
from chatd.chats.models import Chat
from tests.api.client import NOT_FOUND, Answer, Api, Chats
from tests.conftest import Cast

GROUPS = "/api/v2/groups"
HERE = "/api/v2/organizations/default/groups"


@pytest.fixture
def readers(cast: Cast) -> Group:
    """A group of bob."""
    group = Group.objects.create(organization=cast.organization, name="readers")
    GroupMember.objects.create(group=group, user=cast.bob)
    return group


def names(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [group["name"] for group in answer.body]


def members(answer: Answer) -> list[str]:
    assert answer.status == 200
    assert answer.body["total_member_count"] == len(answer.body["members"])
    return [user["username"] for user in answer.body["members"]]


def test_groups_are_listed_with_everyone_first(
    alice: Api, root: Api, cast: Cast, readers: Group
) -> None:
    Group.objects.create(organization=cast.organization, name="Admins")
    assert names(alice.get(HERE)) == ["Everyone", "Admins", "readers"]
    assert names(alice.get(GROUPS)) == ["Everyone", "Admins", "readers"]
    assert names(root.get(GROUPS)) == ["Everyone", "Admins", "readers", "Everyone"]


def test_a_group_has_every_field(alice: Api, cast: Cast, readers: Group) -> None:
    body = alice.get(f"{GROUPS}/{readers.pk}").body
    (member,) = body.pop("members")
    assert set(member) == {
        "id",
        "username",
        "name",
        "avatar_url",
        "email",
        "created_at",
        "updated_at",
        "last_seen_at",
        "status",
        "login_type",
    }
    assert body == {
        "id": str(readers.pk),
        "name": "readers",
        "display_name": "readers",
        "organization_id": str(cast.organization.pk),
        "total_member_count": 1,
        "avatar_url": "",
        "source": "user",
        "organization_name": "default",
        "organization_display_name": "Default",
    }


def test_everyone_has_the_organisations_id_and_its_members(alice: Api, cast: Cast) -> None:
    for fields in ({"is_system": True}, {"deleted": True}):
        user = User.objects.create(username=next(iter(fields)), email="", **fields)
        OrganizationMember.objects.create(user=user, organization=cast.organization)
    assert members(alice.get(f"{GROUPS}/{cast.organization.pk}")) == ["alice", "bob", "root"]


def test_a_group_is_made(admin: Api, cast: Cast) -> None:
    body = {"name": "Team-7", "display_name": "Team seven", "avatar_url": "/7.png"}
    answer = admin.post(HERE, body)
    assert (answer.status, answer.body | body) == (201, answer.body)
    assert members(admin.get(f"{GROUPS}/{answer.body['id']}")) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "name"),
    ({"name": "-a"}, "name"),
    ({"name": "a--b"}, "name"),
    ({"name": "x" * 37}, "name"),
    ({"name": "Everyone"}, "name"),
    ({"name": "everyone"}, "name"),
    ({"display_name": "x" * 129}, "display_name"),
    ({"avatar_url": "x" * 513}, "avatar_url"),
    ({"avatar_url": "\u0000"}, "avatar_url"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=[str(row[0])[:40] for row in WRONG])
def test_a_wrong_field_is_told(admin: Api, readers: Group, changes: Any, field: str) -> None:
    path = f"{GROUPS}/{readers.pk}"
    for answer in (admin.post(HERE, {"name": "new", **changes}), admin.patch(path, changes)):
        assert answer.status == 400
        assert {entry["field"] for entry in answer.body["validations"]} == {field}
    assert Group.objects.filter(organization=readers.organization).count() == 2


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": None}])
def test_a_group_needs_a_name(admin: Api, body: Any) -> None:
    assert admin.post(HERE, body).status == 400


def test_a_name_is_taken_once_per_organisation(admin: Api, root: Api, readers: Group) -> None:
    other = Group.objects.create(organization=readers.organization, name="other")
    answers = [
        admin.post(HERE, {"name": "READERS"}),
        admin.patch(f"{GROUPS}/{other.pk}", {"name": "Readers"}),
    ]
    for answer in answers:
        assert answer.status == 409
        assert [entry["field"] for entry in answer.body["validations"]] == ["name"]
    elsewhere = "/api/v2/organizations/elsewhere/groups"
    assert root.post(elsewhere, {"name": "readers"}).status == 201


def test_people_are_added_and_removed_together(admin: Api, cast: Cast, readers: Group) -> None:
    path = f"{GROUPS}/{readers.pk}"
    alice, bob = str(cast.alice.pk), str(cast.bob.pk)
    both = {"add_users": [alice.upper(), str(cast.root.pk), alice], "remove_users": [bob]}
    assert members(admin.patch(path, both)) == ["alice", "root"]
    assert members(admin.patch(path, both)) == ["alice", "root"]
    assert members(admin.patch(path, {"add_users": [], "remove_users": None})) == ["alice", "root"]


def test_only_members_of_the_organisation_come_in_and_nothing_is_half_done(
    admin: Api, cast: Cast, readers: Group
) -> None:
    path = f"{GROUPS}/{readers.pk}"
    for stranger in (cast.carol.pk, uuid4()):
        answer = admin.patch(
            path, {"name": "new", "add_users": [str(cast.alice.pk), str(stranger)]}
        )
        assert answer.status == 400
        assert [entry["detail"] for entry in answer.body["validations"]] == [
            f"{stranger} is not a member of the organization."
        ]
    assert admin.get(path).body["name"] == "readers"
    assert members(admin.get(path)) == ["bob"]


@pytest.mark.parametrize("field", ["add_users", "remove_users"])
@pytest.mark.parametrize("raw", ["", "x", "bob", "{" + "0" * 32 + "}"])
def test_an_id_that_is_none_is_told(admin: Api, readers: Group, field: str, raw: str) -> None:
    answer = admin.patch(f"{GROUPS}/{readers.pk}", {field: [raw]})
    assert answer.status == 400
    assert [entry["field"] for entry in answer.body["validations"]] == [field]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"name": 1}', b'{"add_users": "x"}'])
def test_a_body_of_another_type_is_refused(admin: Api, readers: Group, body: bytes) -> None:
    answer = admin.call("PATCH", f"{GROUPS}/{readers.pk}", raw=body)
    assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")


def test_everyone_cannot_be_changed(root: Api, cast: Cast) -> None:
    path = f"{GROUPS}/{cast.organization.pk}"
    bob = [str(cast.bob.pk)]
    for body in ({}, {"display_name": "All"}, {"add_users": bob}, {"remove_users": bob}):
        answer = root.patch(path, body)
        assert (answer.status, answer.message) == (400, "The Everyone group cannot be changed.")
    assert root.delete(path).status == 400
    assert "bob" in members(root.get(path))


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_group_of_others_and_an_unknown_one_do_not_exist(
    alice: Api, cast: Cast, method: str
) -> None:
    elsewhere = Organization.objects.get(name="elsewhere")
    group = Group.objects.create(organization=elsewhere, name="theirs")
    for group_id in (group.pk, elsewhere.pk, uuid4()):
        assert alice.call(method, f"{GROUPS}/{group_id}", {}).body == NOT_FOUND
    answer = alice.call(method, f"{GROUPS}/nonsense", {})
    assert (answer.status, answer.message) == (400, 'Invalid UUID "nonsense".')


def test_what_was_shared_with_a_group_is_shared_no_more_without_it(
    admin: Api, carol: Api, cast: Cast, chats: Chats
) -> None:
    admin.post("/api/v2/organizations/default/members/carol")
    group = admin.post(HERE, {"name": "new"}).body["id"]
    admin.patch(f"{GROUPS}/{group}", {"add_users": [str(cast.carol.pk)]})
    chat = chats.pending()
    Chat.objects.filter(pk=chat.pk).update(group_acl={group: {"permissions": ["read"]}})
    assert carol.get(f"/chats/{chat.pk}").status == 200
    assert admin.delete(f"{GROUPS}/{group}").status == 200
    assert carol.get(f"/chats/{chat.pk}").status == 404
    assert admin.get(f"/chats/{chat.pk}/acl").body["groups"] == []
    assert admin.delete(f"{GROUPS}/{group}").status == 404


def test_changes_stand_in_the_audit_log(admin: Api, cast: Cast) -> None:
    group = admin.post(HERE, {"name": "new"}).body["id"]
    admin.patch(f"{GROUPS}/{group}", {"add_users": [str(cast.alice.pk)]})
    admin.patch(f"{GROUPS}/{group}", {"add_users": [str(cast.alice.pk)]})
    admin.delete(f"{GROUPS}/{group}")
    entries = list(AuditEntry.objects.order_by("id"))
    assert [entry.action for entry in entries] == ["create", "write", "delete"]
    assert entries[1].changes == {"members": {"old": [], "new": [str(cast.alice.pk)]}}
    assert {entry.organization_id for entry in entries} == {cast.organization.pk}
