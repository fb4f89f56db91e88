"""Sharing a chat: the ACL, who may change it, and what a reader may and may not."""

import json
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from chatd.accounts.actions import create_organization, create_user
from chatd.accounts.models import (
    Group,
    GroupMember,
    GroupSource,
    Organization,
    OrganizationMember,
    User,
)
from chatd.chats.models import Chat
from chatd.chats.selectors import readable_chats
from tests.api.client import NOT_FOUND, Api, api_of, fresh, rows
from tests.api.conftest import make_admin
from tests.api.routes import CHAT_ROUTES, UPDATE_ACL, WRITES, Route
from tests.api.test_chats_create import UNKNOWN
from tests.conftest import Cast
from tests.sockets.live import LiveServer
from tests.support.people import token_for

EMPTY = {"users": [], "groups": []}
READ = {"permissions": ["read"]}


def acl(chat: Chat) -> str:
    return f"/chats/{chat.pk}/acl"


def share(api: Api, chat: Chat, *users: User, role: str = "read", **groups: str) -> None:
    roles = {str(user.pk): role for user in users}
    body = {"user_roles": roles, "group_roles": groups}
    assert api.patch(acl(chat), body).status == 204


def stored(chat: Chat) -> tuple[dict[str, Any], dict[str, Any]]:
    chat = fresh(chat)
    return chat.user_acl, chat.group_acl


def refused(api: Api, chat: Chat, status: int, body: Any, **options: Any) -> dict[str, Any]:
    before = stored(chat)
    answer = api.patch(acl(chat), body, **options)
    assert answer.status == status
    assert stored(chat) == before
    return dict(answer.body)


@pytest.fixture
def group(cast: Cast) -> Group:
    """A group of the organisation with bob in it."""
    made = Group.objects.create(organization=cast.organization, name="readers")
    GroupMember.objects.create(group=made, user=cast.bob)
    return made


def readable(user: User, chat: Chat) -> bool:
    """Say whether a person may read a chat; a single one and a set of them must agree."""
    status = api_of(user).get(f"/chats/{chat.pk}").status
    assert status in (200, 404)
    assert readable_chats(user).filter(pk=chat.pk).exists() == (status == 200)
    return status == 200


# the ACL itself


def test_a_new_chat_is_shared_with_nobody(alice, chats):
    answer = alice.get(acl(chats.pending()))
    assert (answer.status, answer.body) == (200, EMPTY)


def test_a_person_is_shown_with_a_role(alice, chats, cast):
    chat = chats.pending()
    User.objects.filter(pk=cast.carol.pk).update(name="Carol C.", avatar_url="https://host/c.png")
    share(alice, chat, cast.bob, cast.carol)
    users = alice.get(acl(chat)).body["users"]
    assert sorted(users, key=lambda user: user["username"]) == [
        {"id": str(cast.bob.pk), "username": "bob", "role": "read"},
        {
            "id": str(cast.carol.pk),
            "username": "carol",
            "role": "read",
            "name": "Carol C.",
            "avatar_url": "https://host/c.png",
        },
    ]


def test_a_group_is_shown_with_how_many_people_are_in_it(alice, chats, cast, group):
    chat = chats.pending()
    for number, columns in enumerate(({}, {"deleted": True}, {"is_system": True})):
        user = create_user(username=f"u{number}", email=f"u{number}@x.example", password=None)
        User.objects.filter(pk=user.pk).update(**columns)
        GroupMember.objects.create(group=group, user=user)
    Group.objects.filter(pk=group.pk).update(
        avatar_url="/g.png", quota_allowance=3, source=GroupSource.OIDC
    )
    share(alice, chat, **{str(group.pk): "read"})
    (shown,) = alice.get(acl(chat)).body["groups"]
    assert shown == {
        "id": str(group.pk),
        "name": "readers",
        "display_name": "readers",
        "organization_id": str(cast.organization.pk),
        "members": [],
        "total_member_count": 2,
        "avatar_url": "/g.png",
        "quota_allowance": 3,
        "source": "oidc",
        "organization_name": cast.organization.name,
        "organization_display_name": cast.organization.display_name,
        "role": "read",
    }


def test_everyone_is_the_group_with_the_id_of_the_organization(alice, chats, cast):
    chat = chats.pending()
    share(alice, chat, **{str(cast.organization.pk): "read"})
    (shown,) = alice.get(acl(chat)).body["groups"]
    assert shown["name"] == "Everyone"
    members = OrganizationMember.objects.filter(organization=cast.organization).count()
    assert shown["total_member_count"] == members > 1


def test_changes_are_merged_and_the_empty_role_removes(alice, chats, cast, group):
    chat = chats.pending()
    share(alice, chat, cast.bob)
    share(alice, chat, cast.carol, **{str(group.pk): "read"})
    assert stored(chat) == (
        {str(cast.bob.pk): READ, str(cast.carol.pk): READ},
        {str(group.pk): READ},
    )
    share(alice, chat, cast.bob, role="")
    assert stored(chat) == ({str(cast.carol.pk): READ}, {str(group.pk): READ})
    share(alice, chat, **{str(group.pk): ""})
    assert stored(chat) == ({str(cast.carol.pk): READ}, {})


def test_the_same_twice_and_the_removal_of_what_is_not_there_are_fine(alice, chats, cast):
    chat = chats.pending()
    for _ in range(2):
        share(alice, chat, cast.bob)
    share(alice, chat, cast.carol, role="", **{UNKNOWN: ""})
    assert stored(chat) == ({str(cast.bob.pk): READ}, {})


@pytest.mark.parametrize("body", [{}, {"user_roles": None, "group_roles": None}, {"x": 1}])
def test_no_change_is_fine(alice, chats, cast, body):
    chat = chats.pending()
    share(alice, chat, cast.bob)
    assert alice.patch(acl(chat), body).status == 204
    assert stored(chat) == ({str(cast.bob.pk): READ}, {})


def test_sharing_moves_no_instant_and_no_version(alice, chats, cast):
    chat = chats.pending()
    share(alice, chat, cast.bob)
    after = fresh(chat)
    assert (after.updated_at, after.snapshot_version) == (chat.updated_at, chat.snapshot_version)


def test_an_id_counts_in_any_letter_case(alice, chats, cast, group):
    chat = chats.pending()
    body = {
        "user_roles": {str(cast.bob.pk).upper(): "read"},
        "group_roles": {str(group.pk).upper(): "read"},
    }
    assert alice.patch(acl(chat), body).status == 204
    assert stored(chat) == ({str(cast.bob.pk): READ}, {str(group.pk): READ})
    assert readable(cast.bob, chat)
    assert alice.patch(acl(chat), {"user_roles": {str(cast.bob.pk).upper(): ""}}).status == 204
    assert stored(chat)[0] == {}


def test_stored_entries_that_mean_nothing_grant_nothing_and_break_nothing(alice, chats, cast):
    chat = chats.pending()
    Chat.objects.filter(pk=chat.pk).update(
        user_acl={
            str(cast.bob.pk): {"permissions": ["read", "update"]},
            str(cast.carol.pk): {"permissions": []},
            "nonsense": READ,
            str(uuid4()): READ,
        },
        group_acl={"x": READ, str(cast.organization.pk): {"permissions": ["write"]}},
    )
    body = alice.get(acl(chat)).body
    assert {user["username"]: user["role"] for user in body["users"]} == {"bob": "", "carol": ""}
    assert [entry["role"] for entry in body["groups"]] == [""]
    assert not readable(cast.bob, chat)
    assert not readable(cast.carol, chat)


def test_people_and_groups_that_are_gone_are_not_shown(alice, chats, cast, group):
    chat = chats.pending()
    share(alice, chat, cast.bob, **{str(group.pk): "read"})
    User.objects.filter(pk=cast.bob.pk).update(deleted=True)
    group.delete()
    assert alice.get(acl(chat)).body == EMPTY


# who may


@pytest.mark.parametrize("who", ["alice", "admin", "root"])
def test_owner_and_administrators_may_share(who, chats, cast, request):
    chat = chats.pending()
    share(request.getfixturevalue(who), chat, cast.carol)
    assert readable(cast.carol, chat)


def test_a_mere_reader_sees_the_acl_and_may_not_change_it(alice, bob, chats, cast):
    chat = chats.pending()
    share(alice, chat, cast.bob, cast.carol)
    names = {user["username"] for user in bob.get(acl(chat)).body["users"]}
    assert names == {"bob", "carol"}
    body = refused(bob, chat, 403, {"user_roles": {str(cast.carol.pk): ""}})
    assert body["message"] == "Forbidden."
    assert refused(bob, chat, 403, None, raw=b"nonsense")["message"] == "Forbidden."


@pytest.mark.parametrize("who", ["bob", "carol"])
def test_for_others_there_is_no_acl(who, chats, cast, request):
    chat = chats.pending()
    api = request.getfixturevalue(who)
    assert api.get(acl(chat)).body == NOT_FOUND
    assert refused(api, chat, 404, None, raw=b"nonsense") == NOT_FOUND


# refusals


@pytest.mark.parametrize("change", [str, str.upper])
@pytest.mark.parametrize("who", ["alice", "admin", "root"])
@pytest.mark.parametrize("role", ["read", "", "nonsense"])
def test_nobody_changes_their_own_role(who, role, change, chats, cast, request):
    user = {"alice": cast.alice, "admin": cast.bob, "root": cast.root}[who]
    body = {"user_roles": {change(str(user.pk)): role, "x": "y"}, "group_roles": {"z": "w"}}
    answer = refused(request.getfixturevalue(who), chats.pending(), 400, body)
    assert answer == {"message": "Cannot change your own chat sharing role."}


def test_every_violation_is_told_groups_first(alice, chats, cast):
    gone = create_user(username="gone", email="gone@x.example", password=None)
    User.objects.filter(pk=gone.pk).update(deleted=True)
    body = {
        "user_roles": {
            str(cast.bob.pk): "write",
            "x": "read",
            str(gone.pk): "read",
            UNKNOWN.upper(): "read",
        },
        "group_roles": {"": "", str(cast.bob.pk): "read", UNKNOWN: "Read"},
    }
    answer = refused(alice, chats.pending(), 400, body)
    assert answer["message"] == "Invalid request to update chat ACL."
    found = [(entry["field"], entry["detail"]) for entry in answer["validations"]]
    fields = [field for field, _ in found]
    assert fields == sorted(fields)
    assert set(found) == {
        ("group_roles", " is not a valid UUID."),
        ("group_roles", f"group with ID {cast.bob.pk} does not exist"),
        ("group_roles", 'role "Read" is not a valid chat role'),
        ("group_roles", f"group with ID {UNKNOWN} does not exist"),
        ("user_roles", 'role "write" is not a valid chat role'),
        ("user_roles", "x is not a valid UUID."),
        ("user_roles", f"user with ID {gone.pk} does not exist"),
        ("user_roles", f"user with ID {UNKNOWN} does not exist"),
    }


def test_one_violation_leaves_the_good_entries_out_too(alice, chats, cast):
    body = {"user_roles": {str(cast.bob.pk): "read", UNKNOWN: "read"}}
    refused(alice, chats.pending(), 400, body)


def test_a_sub_chat_has_no_acl_of_its_own(alice, root, chats):
    parent = chats.waiting()
    child = chats.child_of(parent)
    for api in (alice, root):
        for answer in (api.get(acl(child)), api.patch(acl(child), raw=b"nonsense")):
            assert (answer.status, answer.message) == (
                400,
                "Chat ACLs can only be set on root chats.",
            )
            assert str(parent.pk) in answer.detail


@pytest.mark.parametrize(
    "body",
    [
        {"user_roles": []},
        {"user_roles": {"x": 1}},
        {"user_roles": {"x": None}},
        {"group_roles": "x"},
        [],
    ],
)
def test_a_body_of_another_form_is_refused(alice, chats, body):
    answer = refused(alice, chats.pending(), 400, body)
    assert answer["message"] == "Request body must be valid JSON."


@pytest.mark.parametrize(
    "key",
    ["\x00", "\U0001f600", "x" * 100_000, f"{{{UNKNOWN}}}", UNKNOWN.replace("-", ""), "' OR 1=1"],
)
def test_an_odd_id_is_told(alice, chats, key):
    answer = refused(alice, chats.pending(), 400, {"user_roles": {key: "read"}})
    assert answer["validations"] == [
        {"field": "user_roles", "detail": f"{key} is not a valid UUID."}
    ]


def test_more_ids_than_a_query_can_hold_break_nothing(alice, chats):
    ids = {str(uuid4()): "read" for _ in range(40_000)}
    answer = refused(alice, chats.pending(), 400, {"user_roles": ids})
    assert len(answer["validations"]) == 40_000


# a deployment without sharing


def test_without_sharing_nobody_may_see_or_change_an_acl(alice, root, admin, chats, disable):
    parent = chats.waiting()
    disable()
    for chat in (parent, chats.child_of(parent)):
        for api in (alice, root, admin):
            for answer in (api.get(acl(chat)), api.patch(acl(chat), raw=b"nonsense")):
                assert answer.status == 403
                assert answer.body == {"message": "Chat sharing is disabled for this deployment."}


def test_without_sharing_what_was_shared_is_kept_and_counts_for_nothing(
    alice, bob, chats, cast, disable
):
    chat = chats.waiting()
    child = chats.child_of(chat)
    share(alice, chat, cast.bob, cast.carol)
    assert readable(cast.bob, chat)
    disable()
    for user in (cast.bob, cast.carol):
        assert not readable(user, chat)
        assert not readable(user, child)
    assert bob.get(acl(chat)).body == NOT_FOUND
    assert stored(chat)[0].keys() == {str(cast.bob.pk), str(cast.carol.pk)}
    assert readable(cast.alice, chat)
    assert readable(cast.root, chat)
    assert alice.patch(f"/chats/{chat.pk}", {"title": "Still mine"}).status == 204


# readers


def by_user(api: Api, chat: Chat, cast: Cast, group: Group) -> User:
    share(api, chat, cast.bob)
    return cast.bob


def by_user_outside(api: Api, chat: Chat, cast: Cast, group: Group) -> User:
    share(api, chat, cast.carol)
    return cast.carol


def by_group(api: Api, chat: Chat, cast: Cast, group: Group) -> User:
    share(api, chat, **{str(group.pk): "read"})
    return cast.bob


def by_everyone(api: Api, chat: Chat, cast: Cast, group: Group) -> User:
    share(api, chat, **{str(cast.organization.pk): "read"})
    return cast.bob


WAYS = [by_user, by_user_outside, by_group, by_everyone]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@each_way
@pytest.mark.parametrize("route", [route for route in CHAT_ROUTES if route.reads], ids=str)
def test_a_reader_may_read_everything(route: Route, way, alice, chats, cast, group):
    scene = route.scene(chats)
    reader = api_of(way(alice, scene.chat, cast, group))
    answer = reader.call(route.method, scene.path)
    assert answer.status == route.status
    assert answer.body == alice.call(route.method, scene.path).body


@each_way
@pytest.mark.parametrize("route", [route for route in WRITES if route != UPDATE_ACL], ids=str)
def test_every_write_of_a_reader_is_a_404(route: Route, way, alice, chats, cast, group):
    scene = route.scene(chats)
    reader = api_of(way(alice, scene.chat, cast, group))
    before = (rows(), Chat.objects.filter(pk=scene.chat.pk).values().get())
    for options in ({"body": route.body}, {"raw": b"nonsense"}):
        answer = reader.call(route.method, scene.path, **options)
        assert (answer.status, answer.body) == (404, NOT_FOUND)
    assert (rows(), Chat.objects.filter(pk=scene.chat.pk).values().get()) == before


@each_way
def test_sub_chats_follow_their_root(way, alice, chats, cast, group):
    root, other = chats.waiting(), chats.waiting()
    child, stranger = chats.child_of(root), chats.child_of(other)
    reader = way(alice, root, cast, group)
    assert readable(reader, root)
    assert readable(reader, child)
    later = chats.child_of(root)
    assert readable(reader, later)
    assert not readable(reader, other)
    assert not readable(reader, stranger)
    children = api_of(reader).get(f"/chats/{root.pk}").body["children"]
    assert {entry["id"] for entry in children} == {str(child.pk), str(later.pk)}
    assert api_of(reader).patch(f"/chats/{child.pk}", {"title": "Mine"}).status == 404
    assert api_of(reader).get(f"/chats/{child.pk}/messages").status == 200


@each_way
def test_what_is_taken_back_is_gone_with_the_next_request(way, alice, chats, cast, group):
    chat = chats.waiting()
    child = chats.child_of(chat)
    reader = way(alice, chat, cast, group)
    assert readable(reader, chat)
    user_acl, group_acl = stored(chat)
    body = {
        "user_roles": dict.fromkeys(user_acl, ""),
        "group_roles": dict.fromkeys(group_acl, ""),
    }
    assert alice.patch(acl(chat), body).status == 204
    assert stored(chat) == ({}, {})
    assert not readable(reader, chat)
    assert not readable(reader, child)


@each_way
def test_an_archived_chat_stays_readable_and_no_shared_chat_is_listed(
    way, alice, chats, cast, group
):
    chat = chats.archived()
    reader = way(alice, chat, cast, group)
    assert readable(reader, chat)
    for query in ("", "?q=archived:true"):
        assert api_of(reader).get(f"/chats{query}").body == []


def test_a_reader_does_not_need_agents_access(alice, chats, cast, group, without_access):
    chats_of_ways = []
    for way in WAYS:
        chat = chats.waiting()
        chats_of_ways.append((way(alice, chat, cast, group), chat))
    without_access()
    assert all(readable(user, chat) for user, chat in chats_of_ways)
    of_everyone = [way is by_everyone for way in WAYS]
    assert [readable(cast.alice, chat) for _, chat in chats_of_ways] == of_everyone


def test_a_group_means_its_members_and_nobody_else(alice, chats, cast, group):
    chat = chats.waiting()
    share(alice, chat, **{str(group.pk): "read"})
    dave = create_user(username="dave", email="dave@x.example", password=None)
    assert not readable(dave, chat)
    assert not readable(cast.carol, chat)
    GroupMember.objects.create(group=group, user=dave)
    assert readable(dave, chat)
    GroupMember.objects.filter(user=cast.bob).delete()
    assert not readable(cast.bob, chat)


def test_who_left_the_organization_is_in_none_of_its_groups(alice, chats, cast, group):
    by_its_group, by_all = chats.waiting(), chats.waiting()
    share(alice, by_its_group, **{str(group.pk): "read"})
    share(alice, by_all, **{str(cast.organization.pk): "read"})
    OrganizationMember.objects.filter(user=cast.bob).delete()
    assert not readable(cast.bob, by_its_group)
    assert not readable(cast.bob, by_all)


def test_a_group_of_another_organization_reads_only_as_far_as_its_people_are_members(
    alice, chats, cast
):
    chat = chats.waiting()
    elsewhere = Organization.objects.get(name="elsewhere")
    share(alice, chat, **{str(elsewhere.pk): "read"})
    assert not readable(cast.carol, chat)
    OrganizationMember.objects.create(organization=cast.organization, user=cast.carol)
    assert readable(cast.carol, chat)


def test_the_chats_of_a_deleted_organization_are_nobodys_but_the_site_owners(
    alice, chats, cast, group
):
    chat = chats.waiting()
    share(alice, chat, **{str(group.pk): "read"})
    make_admin(cast.bob)
    Organization.objects.filter(pk=cast.organization.pk).update(deleted=True)
    assert not readable(cast.alice, chat)
    assert not readable(cast.bob, chat)
    assert alice.get("/chats").body == []
    assert readable(cast.root, chat)


def test_an_administrator_of_another_organization_is_an_outsider(chats, cast):
    elsewhere = create_organization(name="third")
    boss = create_user(
        username="boss", email="boss@x.example", password=None, organizations=[elsewhere]
    )
    make_admin(boss)
    assert not readable(boss, chats.waiting())


# the stream


@pytest.mark.django_db(transaction=True)
def test_a_reader_may_follow_the_stream_until_it_is_taken_back(alice, chats, cast):
    chat = chats.waiting()
    child = chats.child_of(chat)
    tokens = {user: token_for(user) for user in (cast.bob, cast.carol)}
    share(alice, chat, *tokens)
    with LiveServer() as server:
        for token in tokens.values():
            for followed in (chat, child):
                with server.follow(followed, token) as follower:
                    assert follower.read()
        assert fresh(chat).last_read_message_id is None
        share(alice, chat, *tokens, role="")
        for token in tokens.values():
            with pytest.raises(InvalidStatus) as caught:
                server.follow(chat, token)
            assert caught.value.response.status_code == 404
            assert json.loads(caught.value.response.body or b"") == NOT_FOUND
