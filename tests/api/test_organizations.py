"""Organisations: seen, made, changed."""

from typing import Any

import pytest

from chatd.accounts.models import Group, Organization, OrganizationMember
from chatd.accounts.selectors import list_organizations_for
from chatd.audit.models import AuditEntry
from tests.api.client import NOT_FOUND, Answer, Api
from tests.conftest import Cast

PATH = "/api/v2/organizations"
HERE = f"{PATH}/default"


def fields_of(answer: Answer) -> set[str]:
    return {entry["field"] for entry in answer.body["validations"]}


def names(answer: Answer) -> list[str]:
    return [organization["name"] for organization in answer.body]


def test_one_sees_ones_own_organisations_and_site_roles_see_all(
    alice: Api, carol: Api, root: Api, cast: Cast
) -> None:
    Organization.objects.create(name="gone", deleted=True)
    assert names(alice.get(PATH)) == ["default"]
    assert names(carol.get(PATH)) == ["elsewhere"]
    assert names(root.get(PATH)) == ["default", "elsewhere"]


@pytest.mark.parametrize("named", ["default", "DEFAULT", "{id}", "{ID}"])
def test_an_organisation_is_found_by_name_and_by_id(alice: Api, cast: Cast, named: str) -> None:
    here = str(cast.organization.pk)
    answer = alice.get(f"{PATH}/{named.replace('{id}', here).replace('{ID}', here.upper())}")
    assert (answer.status, answer.body["id"]) == (200, here)


@pytest.mark.parametrize("named", ["nothing", "elsewhere", "gone", "%00", "x" * 4000])
def test_what_is_not_ones_own_does_not_exist(alice: Api, cast: Cast, named: str) -> None:
    Organization.objects.create(name="gone", deleted=True)
    for method in ("GET", "PATCH"):
        assert alice.call(method, f"{PATH}/{named}", {}).body == NOT_FOUND


def test_an_organisation_is_made_with_its_creator_and_everyone(root: Api, cast: Cast) -> None:
    body = {
        "name": "lab",
        "display_name": "The Lab",
        "description": "Research",
        "icon": "/icon.svg",
        "default_org_member_roles": ["organization-auditor"],
    }
    answer = root.post(PATH, body)
    assert answer.status == 201
    assert answer.body | body == answer.body
    assert answer.body["is_default"] is False
    made = Organization.objects.get(pk=answer.body["id"])
    assert Group.objects.get(organization=made).is_everyone
    assert made in list_organizations_for(cast.root)


def test_without_a_word_about_roles_members_may_use_agents(root: Api) -> None:
    answer = root.post(PATH, {"name": "lab"})
    assert answer.body["default_org_member_roles"] == ["agents-access"]
    assert answer.body["display_name"] == "lab"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "a b"}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"name": "a1a1a1a1-0000-4000-8000-000000000000"}, "name"),
    ({"display_name": "x" * 129}, "display_name"),
    ({"description": "x" * 4097}, "description"),
    ({"description": "\u0000"}, "description"),
    ({"icon": "x" * 257}, "icon"),
    ({"default_org_member_roles": ["owner"]}, "default_org_member_roles"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=[str(row[0])[:40] for row in WRONG])
def test_a_wrong_field_is_told(root: Api, cast: Cast, changes: Any, field: str) -> None:
    for answer in (root.post(PATH, {"name": "lab", **changes}), root.patch(HERE, changes)):
        assert (answer.status, fields_of(answer)) == (400, {field})
    assert Organization.objects.count() == 2


def test_a_name_is_taken_in_any_case(root: Api) -> None:
    answers = [root.post(PATH, {"name": "Elsewhere"}), root.patch(HERE, {"name": "ELSEWHERE"})]
    for answer in answers:
        assert (answer.status, fields_of(answer)) == (409, {"name"})
    assert root.patch(HERE, {"name": "DEFAULT"}).status == 200


def test_only_what_is_given_is_changed(admin: Api) -> None:
    before = admin.get(HERE).body
    answer = admin.patch(HERE, {"description": "Ours", "display_name": None})
    assert answer.status == 200
    assert answer.body | {"updated_at": ""} == before | {"description": "Ours", "updated_at": ""}


def test_default_roles_count_with_the_next_request(admin: Api, alice: Api) -> None:
    assert admin.patch(HERE, {"default_org_member_roles": []}).status == 200
    body = {"content": [{"type": "text", "text": "hi"}]}
    assert alice.post("/chats", body).status == 403
    assert admin.patch(HERE, {"default_org_member_roles": ["agents-access"]}).status == 200
    assert alice.post("/chats", body).message == "No default chat model config is configured."


@pytest.mark.parametrize("body", [b"", b"[]", b'{"name": 1}', b'{"default_org_member_roles": "x"}'])
def test_a_body_of_another_type_is_refused(root: Api, body: bytes) -> None:
    for method, path in (("POST", PATH), ("PATCH", HERE)):
        answer = root.call(method, path, raw=body)
        assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")


def test_changes_stand_in_the_audit_log(root: Api, cast: Cast) -> None:
    root.post(PATH, {"name": "lab"})
    root.patch(f"{PATH}/lab", {"icon": "x"})
    root.patch(f"{PATH}/lab", {"icon": "x"})
    made, changed = AuditEntry.objects.order_by("id")
    assert (made.action, made.resource_type, made.resource_name) == (
        "create",
        "organization",
        "lab",
    )
    assert changed.changes == {"icon": {"old": "", "new": "x"}}
    assert OrganizationMember.objects.filter(organization=made.resource_id).count() == 1
