"""People: found, made, renamed, given roles, stopped, deleted; and who may do that to whom."""

from typing import Any

import pytest

from chatd.accounts.actions import create_organization, create_token, create_user
from chatd.accounts.models import (
    APIKey,
    Group,
    GroupMember,
    KeyType,
    LoginType,
    OrganizationMember,
    SiteRole,
    User,
    UserStatus,
)
from chatd.audit.models import Action, AuditEntry
from tests.api.client import NIL, NOT_FOUND, Api, api_of
from tests.conftest import Cast
from tests.support.people import token_for

pytestmark = pytest.mark.usefixtures("hashes")

USERS = "/api/v2/users"
PASSWORD = "correct horse battery"
OTHER = "another staple 42"
BAD_JSON = "Request body must be valid JSON."
UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"


def new(**fields: Any) -> dict[str, Any]:
    return {"username": "dora", "email": "dora@x.example", "password": PASSWORD} | fields


def person(username: str = "dora", *roles: SiteRole, password: str | None = None) -> User:
    return create_user(
        username=username, email=f"{username}@x.example", password=password, site_roles=roles
    )


@pytest.fixture
def dora(cast: Cast) -> User:
    """Somebody with a password."""
    return person(password=PASSWORD)


@pytest.fixture
def keeper(cast: Cast) -> Api:
    """A user admin."""
    return api_of(person("keeper", SiteRole.USER_ADMIN))


def fields_of(answer: Any) -> set[str]:
    return {entry["field"] for entry in answer.body["validations"]}


def stored(user: User) -> User:
    return User.objects.get(pk=user.pk)


# Finding people


def names(answer: Any) -> list[str]:
    assert answer.status == 200
    return [user["username"] for user in answer.body["users"]]


def test_people_are_listed_by_name_with_their_number(root: Api, cast: Cast) -> None:
    User.objects.create(username="daemon", email="d@x.example", is_system=True)
    User.objects.create(username="gone", email="g@x.example", deleted=True)
    answer = root.get(USERS)
    assert names(answer) == ["alice", "bob", "carol", "root"]
    assert answer.body["count"] == 4
    assert answer.body["users"][0]["organization_ids"] == [str(cast.organization.pk)]
    assert answer.body["users"][3]["roles"] == [{"name": "owner", "display_name": "Site owner"}]


def test_a_list_is_paged_and_counted_over_all_pages(root: Api, cast: Cast) -> None:
    answer = root.get(f"{USERS}?limit=2&offset=1")
    assert (names(answer), answer.body["count"]) == (["bob", "carol"], 4)
    assert names(root.get(f"{USERS}?offset=9")) == []


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("LIC", ["alice"]),
        ("o", ["alice", "bob", "carol", "root"]),
        ("bob@", ["bob"]),
        ("Miss", ["carol"]),
        ("%25", []),
        ("_", []),
        ("%00", []),
        ("nobody", []),
    ],
)
def test_a_search_finds_parts_of_names_and_addresses(
    root: Api, cast: Cast, search: str, found: list[str]
) -> None:
    User.objects.filter(pk=cast.carol.pk).update(name="The Missing One")
    answer = root.get(f"{USERS}?q={search}")
    assert (names(answer), answer.body["count"]) == (found, len(found))


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "offset=1.5", "limit=1&limit=2"])
def test_a_bad_query_of_the_list_is_told(root: Api, query: str) -> None:
    answer = root.get(f"{USERS}?{query}")
    assert (answer.status, answer.message) == (400, "Query parameters have invalid values.")
    assert fields_of(answer) <= {"limit", "offset"}


def test_an_organisation_admin_finds_the_people_of_the_organisation_alone(
    admin: Api, cast: Cast
) -> None:
    assert names(admin.get(USERS)) == ["alice", "bob", "root"]
    assert admin.get(f"{USERS}/alice").status == 200
    answer = admin.get(f"{USERS}/carol")
    assert (answer.status, answer.body) == (404, NOT_FOUND)


@pytest.mark.parametrize("named", ["bob", "BOB", "{id}", "{ID}"])
def test_a_person_is_found_by_name_and_by_id(root: Api, cast: Cast, named: str) -> None:
    bob = str(cast.bob.pk)
    path = named.replace("{id}", bob).replace("{ID}", bob.upper())
    assert root.get(f"{USERS}/{path}").body["id"] == bob


# Making people


def test_a_person_is_made_with_all_that_was_asked_for(root: Api, cast: Cast) -> None:
    other = create_organization(name="other")
    body = new(
        name=" Dora D. ",
        organization_ids=[str(other.pk), str(cast.organization.pk)],
        roles=["auditor", "auditor"],
        user_status="dormant",
    )
    answer = root.post(USERS, body)
    assert answer.status == 201
    assert answer.body | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "username": "dora",
        "name": "Dora D.",
        "avatar_url": "",
        "email": "dora@x.example",
        "created_at": "",
        "updated_at": "",
        "last_seen_at": "0001-01-01T00:00:00Z",
        "status": "dormant",
        "login_type": "password",
        "organization_ids": [str(cast.organization.pk), str(other.pk)],
        "roles": [{"name": "auditor", "display_name": "Auditor"}],
    }
    assert User.objects.get(username="dora").check_password(PASSWORD)


@pytest.mark.parametrize("ids", [None, []])
def test_without_an_organisation_it_is_the_default_one(root: Api, cast: Cast, ids: Any) -> None:
    answer = root.post(USERS, new(organization_ids=ids))
    assert answer.body["organization_ids"] == [str(cast.organization.pk)]


@pytest.mark.parametrize("login_type", ["none", "oidc"])
def test_who_signs_in_elsewhere_has_no_password(root: Api, login_type: str) -> None:
    answer = root.post(USERS, new(login_type=login_type, password=""))
    assert (answer.status, answer.body["login_type"]) == (201, login_type)
    assert not User.objects.get(username="dora").has_usable_password()
    assert fields_of(root.post(USERS, new(username="e", login_type=login_type))) == {"password"}


WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({"username": ""}, {"username"}),
    ({"username": None}, {"username"}),
    ({"username": "-x"}, {"username"}),
    ({"username": "x--y"}, {"username"}),
    ({"username": "x" * 33}, {"username"}),
    ({"username": "a\u0000"}, {"username"}),
    ({"username": "Me"}, {"username"}),
    ({"username": "login"}, {"username"}),
    ({"username": "0" * 32}, {"username"}),
    ({"email": ""}, {"email"}),
    ({"email": "nonsense"}, {"email"}),
    ({"email": "a\u0000@x.example"}, {"email"}),
    ({"email": f"a@{'x' * 250}.example"}, {"email"}),
    ({"name": "x" * 129}, {"name"}),
    ({"name": "a\u0000b"}, {"name"}),
    ({"password": ""}, {"password"}),
    ({"password": None}, {"password"}),
    ({"login_type": "github"}, {"login_type"}),
    ({"user_status": "suspended"}, {"user_status"}),
    ({"user_status": "nonsense"}, {"user_status"}),
    ({"roles": ["king"]}, {"roles"}),
    ({"roles": ["agents-access"]}, {"roles"}),
    ({"organization_ids": [UNKNOWN]}, {"organization_ids"}),
    ({"organization_ids": [NIL]}, {"organization_ids"}),
    ({"username": "", "email": "", "password": ""}, {"username", "email", "password"}),
]


@pytest.mark.parametrize(("changes", "wrong"), WRONG, ids=[str(row[0])[:40] for row in WRONG])
def test_every_wrong_field_of_a_new_person_is_told(
    root: Api, cast: Cast, changes: dict[str, Any], wrong: set[str]
) -> None:
    before = User.objects.count()
    answer = root.post(USERS, new(**changes))
    assert (answer.status, answer.message) == (400, "Validation failed.")
    assert fields_of(answer) == wrong
    assert User.objects.count() == before


@pytest.mark.parametrize("password", ["short", "12345678", "password1", "dora-dora"])
def test_a_weak_password_is_refused_and_never_shown(root: Api, password: str) -> None:
    answer = root.post(USERS, new(username="dora-dora", password=password))
    assert (answer.status, answer.message) == (400, "The password is too weak.")
    assert fields_of(answer) == {"password"}
    assert not User.objects.filter(username="dora-dora").exists()


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"username": "ALICE"}, {"username"}),
        ({"email": "Alice@Example.com"}, {"email"}),
        ({"username": "alice", "email": "bob@example.com"}, {"username", "email"}),
    ],
)
def test_what_is_taken_is_told_by_field(
    root: Api, changes: dict[str, Any], wrong: set[str]
) -> None:
    answer = root.post(USERS, new(**changes))
    assert (answer.status, fields_of(answer)) == (409, wrong)
    assert {entry["detail"] for entry in answer.body["validations"]} == {
        "This value is already in use and should be unique."
    }


def test_the_same_person_cannot_be_made_twice(root: Api) -> None:
    assert [root.post(USERS, new()).status for _ in range(2)] == [201, 409]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"username": 1}', b'{"organization_ids": ["x"]}'],
)
def test_a_body_of_another_type_is_refused(root: Api, body: bytes) -> None:
    answer = root.post(USERS, raw=body)
    assert (answer.status, answer.message) == (400, BAD_JSON)


def test_a_body_that_is_too_large_is_refused(root: Api) -> None:
    assert root.post(USERS, new(name="x" * 70_000)).message == BAD_JSON


def test_unknown_fields_are_ignored(root: Api) -> None:
    assert root.post(USERS, new(rbac_roles=["owner"], is_system=True, id=UNKNOWN)).status == 201
    made = User.objects.get(username="dora")
    assert (made.rbac_roles, made.is_system, str(made.pk) == UNKNOWN) == ([], False, False)


def test_an_organisation_admin_makes_people_in_their_organisation_alone(
    admin: Api, cast: Cast
) -> None:
    elsewhere = OrganizationMember.objects.get(user=cast.carol).organization
    assert admin.post(USERS, new()).status == 201
    both = [str(cast.organization.pk), str(elsewhere.pk)]
    for ids in (both, both[1:]):
        assert admin.post(USERS, new(username="eve", organization_ids=ids)).status == 404
    assert admin.post(USERS, new(username="eve", roles=["auditor"])).status == 403
    assert not User.objects.filter(username="eve").exists()


# Renaming


def test_one_renames_oneself_and_an_administrator_others(alice: Api, keeper: Api) -> None:
    answer = alice.put(f"{USERS}/me/profile", {"username": "alicia", "name": " Alice "})
    assert (answer.status, answer.body["username"], answer.body["name"]) == (200, "alicia", "Alice")
    answer = keeper.put(f"{USERS}/alicia/profile", {"username": "alice", "name": ""})
    assert (answer.body["username"], answer.body["name"]) == ("alice", "")


def test_a_name_of_somebody_else_is_taken_and_ones_own_is_not(alice: Api) -> None:
    answer = alice.put(f"{USERS}/me/profile", {"username": "BOB"})
    assert (answer.status, fields_of(answer)) == (409, {"username"})
    assert alice.put(f"{USERS}/me/profile", {"username": "ALICE"}).body["username"] == "ALICE"


def test_a_bad_profile_is_told(alice: Api) -> None:
    answer = alice.put(f"{USERS}/me/profile", {"username": "x y", "name": "x" * 129})
    assert (answer.status, fields_of(answer)) == (400, {"username", "name"})
    assert alice.put(f"{USERS}/me/profile", raw=b"[]").message == BAD_JSON


# Passwords


def sessions(user: User) -> int:
    return APIKey.objects.filter(user=user, login_type=KeyType.SESSION).count()


def sign_in(name: str, password: str) -> Any:
    return Api().post(f"{USERS}/login", {"email": name, "password": password})


def test_a_new_password_ends_the_other_sessions_and_no_token(dora: User) -> None:
    script = api_of(dora)
    mine, other = (Api(sign_in("dora", PASSWORD).body["session_token"]) for _ in range(2))
    body = {"old_password": PASSWORD, "password": OTHER}
    assert mine.put(f"{USERS}/me/password", body).status == 204
    assert [api.get(f"{USERS}/me").status for api in (mine, other, script)] == [200, 401, 200]
    assert sign_in("dora", PASSWORD).status == 401
    assert sign_in("dora", OTHER).status == 201


@pytest.mark.parametrize("old", ["", "wrong", None])
def test_ones_own_password_takes_the_old_one(dora: User, old: str | None) -> None:
    answer = api_of(dora).put(f"{USERS}/me/password", {"old_password": old, "password": OTHER})
    assert (answer.status, fields_of(answer)) == (400, {"old_password"})
    assert stored(dora).check_password(PASSWORD)


def test_an_administrator_sets_a_password_without_the_old_one(keeper: Api, dora: User) -> None:
    assert sign_in("dora", PASSWORD).status == 201
    assert keeper.put(f"{USERS}/dora/password", {"password": OTHER}).status == 204
    assert stored(dora).check_password(OTHER)
    assert sessions(dora) == 0


@pytest.mark.parametrize("password", ["", "short", "dora@x.example"])
def test_a_weak_new_password_is_refused(keeper: Api, dora: User, password: str) -> None:
    answer = keeper.put(f"{USERS}/dora/password", {"password": password})
    assert (answer.status, fields_of(answer)) == (400, {"password"})
    assert stored(dora).check_password(PASSWORD)


def test_who_signs_in_elsewhere_cannot_be_given_a_password(root: Api, cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(login_type=LoginType.OIDC)
    answer = root.put(f"{USERS}/bob/password", {"password": OTHER})
    assert answer.status == 400
    assert not stored(cast.bob).has_usable_password()


# Suspending and waking


def test_a_suspended_person_is_stopped_until_they_are_activated(keeper: Api, cast: Cast) -> None:
    theirs = api_of(cast.alice)
    for times in range(2):
        answer = keeper.put(f"{USERS}/alice/status/suspend")
        assert (answer.status, answer.body["status"]) == (200, "suspended"), times
    refused = theirs.get("/chats")
    assert (refused.status, refused.detail) == (401, "The account is suspended or deleted.")
    assert keeper.put(f"{USERS}/alice/status/activate").body["status"] == "active"
    assert theirs.get("/chats").status == 200


def test_a_dormant_person_is_activated(keeper: Api, cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(status=UserStatus.DORMANT)
    assert keeper.put(f"{USERS}/alice/status/activate").body["status"] == "active"


def test_nobody_suspends_themselves(root: Api, keeper: Api, alice: Api) -> None:
    for api in (root, keeper):
        answer = api.put(f"{USERS}/me/status/suspend")
        assert (answer.status, answer.message) == (400, "You cannot suspend yourself.")
    assert alice.put(f"{USERS}/me/status/suspend").status == 403
    assert not User.objects.filter(status=UserStatus.SUSPENDED).exists()


# Deleting


def test_a_deleted_person_leaves_their_name_and_takes_access_along(
    keeper: Api, alice: Api, cast: Cast
) -> None:
    group = Group.objects.create(organization=cast.organization, name="readers")
    GroupMember.objects.create(group=group, user=cast.alice)
    answer = keeper.delete(f"{USERS}/alice")
    assert (answer.status, answer.body) == (200, {"message": "User has been deleted!"})
    gone = stored(cast.alice)
    assert gone.deleted
    assert not gone.api_keys.exists()
    assert not gone.memberships.exists()
    assert not gone.group_memberships.exists()
    assert alice.get("/chats").status == 401
    for path in (f"{USERS}/alice", f"{USERS}/{gone.pk}"):
        assert keeper.get(path).status == 404
    assert keeper.delete(f"{USERS}/alice").status == 404
    assert keeper.post(USERS, new(username="alice", email=gone.email)).status == 201


def test_chats_of_a_deleted_person_stay(root: Api, alice: Api, chats: Any) -> None:
    chat = chats.waiting()
    assert root.delete(f"{USERS}/alice").status == 200
    assert root.get(f"/chats/{chat.pk}").status == 200


def test_nobody_deletes_themselves(root: Api, alice: Api) -> None:
    for api in (root, alice):
        assert api.delete(f"{USERS}/me").status == 403
    assert not User.objects.filter(deleted=True).exists()


# Roles


def test_an_owner_gives_and_takes_site_roles(root: Api, cast: Cast) -> None:
    for roles in (["user-admin", "auditor"], ["owner"], []):
        answer = root.put(f"{USERS}/alice/roles", {"roles": roles})
        assert {role["name"] for role in answer.body["roles"]} == set(roles)
        assert set(root.get(f"{USERS}/alice/roles").body["roles"]) == set(roles)


def test_ones_roles_are_shown_with_those_of_organisations(admin: Api, cast: Cast) -> None:
    assert admin.get(f"{USERS}/me/roles").body == {
        "roles": [],
        "organization_roles": {str(cast.organization.pk): ["organization-admin"]},
    }


@pytest.mark.parametrize("roles", [["king"], ["agents-access"], [""], ["owner", "OWNER"]])
def test_an_unknown_role_is_refused(root: Api, cast: Cast, roles: list[str]) -> None:
    answer = root.put(f"{USERS}/alice/roles", {"roles": roles})
    assert (answer.status, fields_of(answer)) == (400, {"roles"})
    assert stored(cast.alice).rbac_roles == []


def test_the_last_owner_keeps_the_role_and_may_act(root: Api, cast: Cast) -> None:
    other = person("heir", SiteRole.OWNER)
    assert root.put(f"{USERS}/heir/status/suspend").status == 200  # a suspended owner cannot act
    for roles in ([], ["auditor"]):
        answer = root.put(f"{USERS}/me/roles", {"roles": roles})
        assert (answer.status, answer.message) == (
            400,
            "The deployment must keep an owner who can act.",
        )
    assert root.put(f"{USERS}/heir/status/activate").status == 200
    assert root.put(f"{USERS}/me/roles", {"roles": []}).status == 200
    heir = api_of(other)
    assert heir.put(f"{USERS}/me/roles", {"roles": []}).status == 400
    assert heir.delete(f"{USERS}/root").status == 200


# Escalation

OUT_OF_REACH: list[tuple[str, str, Any]] = [
    ("PUT", "profile", {"username": "mine"}),
    ("PUT", "password", {"password": OTHER}),
    ("PUT", "status/suspend", None),
    ("PUT", "status/activate", None),
    ("PUT", "roles", {"roles": []}),
    ("GET", "keys/tokens", None),
    ("POST", "keys/tokens", {}),
    ("DELETE", "keys/{key}", None),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "what", "body"), OUT_OF_REACH)
@pytest.mark.parametrize("who", ["owner", "auditor", "user-admin", "organization-admin"])
def test_a_user_admin_has_no_power_over_who_holds_more(
    keeper: Api, cast: Cast, who: str, method: str, what: str, body: Any
) -> None:
    target = person("boss", password=PASSWORD)
    if who in SiteRole.values:
        User.objects.filter(pk=target.pk).update(rbac_roles=[who])
    else:
        OrganizationMember.objects.filter(user=target).update(roles=[who])
    key = create_token(user=target)[0].pk
    before = list(User.objects.filter(pk=target.pk).values())
    path = f"{USERS}/boss/{what}".rstrip("/").replace("{key}", key)
    answer = keeper.call(method, path) if body is None else keeper.call(method, path, body)
    assert (answer.status, answer.message) == (403, "Forbidden.")
    assert list(User.objects.filter(pk=target.pk).values()) == before
    assert APIKey.objects.filter(pk=key).exists()


@pytest.mark.parametrize("role", SiteRole.values)
def test_a_user_admin_gives_no_site_role_to_anybody(keeper: Api, cast: Cast, role: str) -> None:
    for path in (f"{USERS}/alice/roles", f"{USERS}/me/roles"):
        assert keeper.put(path, {"roles": [role]}).status == 403
    assert keeper.post(USERS, new(roles=[role])).status == 403
    assert stored(cast.alice).rbac_roles == []
    assert not User.objects.filter(username="dora").exists()


def test_membership_that_gives_power_is_not_given_by_a_user_admin(keeper: Api, cast: Cast) -> None:
    OrganizationMember.objects.filter(user__username="keeper").delete()
    cast.organization.default_org_member_roles = ["organization-admin"]
    cast.organization.save()
    assert keeper.post(USERS, new()).status == 403
    assert keeper.post("/api/v2/organizations/default/members/carol").status == 403
    assert keeper.put(f"{USERS}/alice/password", {"password": OTHER}).status == 403


@pytest.mark.parametrize("role", [*SiteRole.values, "organization-admin"])
def test_nobody_gives_themselves_a_site_role(alice: Api, admin: Api, role: str) -> None:
    for api in (alice, admin):
        assert api.put(f"{USERS}/me/roles", {"roles": [role]}).status == 403
    assert User.objects.exclude(rbac_roles=[]).count() == 1


def test_an_organisation_admin_changes_nobodys_account(admin: Api, cast: Cast) -> None:
    for method, what, body in OUT_OF_REACH:
        path = f"{USERS}/alice/{what}".rstrip("/").replace("{key}", "x")
        answer = admin.call(method, path) if body is None else admin.call(method, path, body)
        assert answer.status == 403, what


# The audit log


def entries() -> list[tuple[str, str, str]]:
    return [
        (entry.actor_name, str(entry.action), ",".join(sorted(entry.changes)))
        for entry in AuditEntry.objects.order_by("id")
    ]


def test_every_change_of_a_person_leaves_its_entry_without_a_secret(root: Api) -> None:
    root.post(USERS, new())
    root.put(f"{USERS}/dora/profile", {"username": "dorothy", "name": "D"})
    root.put(f"{USERS}/dorothy/profile", {"username": "dorothy", "name": "D"})
    root.put(f"{USERS}/dorothy/password", {"password": OTHER})
    root.put(f"{USERS}/dorothy/status/suspend")
    root.put(f"{USERS}/dorothy/status/activate")
    root.put(f"{USERS}/dorothy/roles", {"roles": ["auditor"]})
    root.delete(f"{USERS}/dorothy")
    made = "deleted,email,login_type,name,organizations,password,roles,status,username"
    assert [entry[1:] for entry in entries()] == [
        (Action.CREATE, made),
        (Action.WRITE, "name,username"),
        (Action.WRITE, "password"),
        (Action.WRITE, "status"),
        (Action.WRITE, "status"),
        (Action.WRITE, "roles"),
        (Action.DELETE, "deleted"),
    ]
    assert {entry[0] for entry in entries()} == {"root"}
    told = str(list(AuditEntry.objects.values()))
    hashed = User.objects.get(username="dorothy").password
    for secret in (PASSWORD, OTHER, hashed, hashed.split("$")[-1]):
        assert secret not in told


def test_a_refusal_of_the_last_owners_change_is_recorded(root: Api) -> None:
    assert root.put(f"{USERS}/me/roles", {"roles": []}).status == 400
    entry = AuditEntry.objects.get()
    assert entry.refused == "The deployment must keep an owner who can act."


def test_a_retry_with_the_same_key_makes_one_person(root: Api) -> None:
    again = [root.post(USERS, new(), headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status for answer in again] == [201, 201]
    assert again[0].body == again[1].body
    assert token_for(User.objects.get(username="dora"))
