"""Who am I, and which organisations am I in."""

import pytest

from chatd.accounts.models import Organization, OrganizationMember
from tests.api.client import NOT_FOUND


def test_me_is_the_caller_with_every_field(alice, cast):
    answer = alice.get("/api/v2/users/me")
    for name in ("created_at", "updated_at"):
        assert answer.body.pop(name).endswith("Z")
    assert answer.body == {
        "id": str(cast.alice.pk),
        "username": "alice",
        "name": "",
        "avatar_url": "",
        "email": "alice@example.com",
        "last_seen_at": "0001-01-01T00:00:00Z",
        "status": "active",
        "login_type": "none",
        "organization_ids": [str(cast.organization.pk)],
        "roles": [],
    }


def test_roles_have_a_name_to_show(root):
    assert root.get("/api/v2/users/me").body["roles"] == [
        {"name": "owner", "display_name": "Site owner"}
    ]


@pytest.mark.parametrize("name", ["me", "ME", "alice", "ALICE", "{id}", "{ID}"])
def test_one_may_call_oneself_by_id_and_by_name(alice, cast, name):
    own = name.replace("{id}", str(cast.alice.pk)).replace("{ID}", str(cast.alice.pk).upper())
    for path in (f"/api/v2/users/{own}", f"/api/v2/users/{own}/organizations"):
        assert alice.get(path).status == 200


@pytest.mark.parametrize("name", ["bob", "nobody", "%00", "%ff", "a" * 4000, "me%20"])
def test_others_and_unknown_people_are_the_same_404(alice, root, cast, name):
    for api in (alice, root) if name != "bob" else (alice,):
        for path in (f"/api/v2/users/{name}", f"/api/v2/users/{name}/organizations"):
            answer = api.get(path)
            assert (answer.status, answer.body) == (404, NOT_FOUND)


def test_ones_organisations_are_listed_by_name_with_every_field(alice, cast):
    other = Organization.objects.create(name="another")
    gone = Organization.objects.create(name="gone", deleted=True)
    for organization in (other, gone):
        OrganizationMember.objects.create(organization=organization, user=cast.alice)
    first, second = alice.get("/api/v2/users/me/organizations").body
    assert [first["name"], second["name"]] == ["another", "default"]
    for name in ("created_at", "updated_at"):
        assert second.pop(name).endswith("Z")
    assert second == {
        "id": str(cast.organization.pk),
        "name": "default",
        "display_name": "Default",
        "icon": "",
        "description": "",
        "is_default": True,
        "default_org_member_roles": ["agents-access"],
    }


def test_a_person_in_no_organisation_gets_an_empty_list(alice, cast):
    OrganizationMember.objects.filter(user=cast.alice).delete()
    assert alice.get("/api/v2/users/me/organizations").body == []
    assert alice.get("/api/v2/users/me").body["organization_ids"] == []
