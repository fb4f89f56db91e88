"""GET /chats/by-workspace: the newest chat of each workspace that the caller may read."""

from datetime import timedelta
from uuid import uuid4

import pytest

from chatd.chats import states
from chatd.chats.models import Chat
from chatd.core.clock import now
from tests.api.client import NIL, Api, Chats

WORKSPACE = "b1b1b1b1-0000-4000-8000-000000000000"
ANOTHER = "c1c1c1c1-0000-4000-8000-000000000000"
EMPTY = "d1d1d1d1-0000-4000-8000-000000000000"


def bind(chat: Chat, workspace: str = WORKSPACE, *, minutes_ago: int = 0) -> Chat:
    at = now() - timedelta(minutes=minutes_ago)
    Chat.objects.filter(pk=chat.pk).update(workspace_id=workspace, updated_at=at)
    return chat


def found(api: Api, *workspaces: str) -> dict[str, str]:
    answer = api.get(f"/chats/by-workspace?workspace_ids={','.join(workspaces)}")
    assert answer.status == 200
    return answer.body


def share(api: Api, chat: Chat, user) -> None:
    body = {"user_roles": {str(user.pk): "read"}}
    assert api.patch(f"/chats/{chat.pk}/acl", body).status == 204


@pytest.mark.parametrize("query", ["", "?workspace_ids=", "?workspace_ids=,%20,", "?x=y"])
def test_nothing_asked_is_nothing_found(alice, query):
    answer = alice.get(f"/chats/by-workspace{query}")
    assert (answer.status, answer.body) == (200, {})


def test_each_workspace_has_its_newest_chat_and_an_empty_one_is_absent(alice, chats):
    bind(chats.waiting(), minutes_ago=2)
    newest = bind(chats.pending(), minutes_ago=1)
    bind(chats.failed(), minutes_ago=3)
    other = bind(chats.waiting(), ANOTHER, minutes_ago=9)
    chats.waiting()
    assert found(alice, WORKSPACE, ANOTHER, EMPTY) == {
        WORKSPACE: str(newest.pk),
        ANOTHER: str(other.pk),
    }
    assert found(alice, ANOTHER) == {ANOTHER: str(other.pk)}


def test_of_two_of_the_same_instant_the_greater_id_is_taken(alice, chats):
    pair = [chats.waiting(), chats.waiting()]
    Chat.objects.update(workspace_id=WORKSPACE, updated_at=now())
    assert found(alice, WORKSPACE) == {WORKSPACE: str(max(chat.pk for chat in pair))}


def test_archived_chats_are_left_out(alice, chats):
    kept = bind(chats.waiting(), minutes_ago=9)
    bind(chats.archived())
    assert found(alice, WORKSPACE) == {WORKSPACE: str(kept.pk)}
    states.archive_chat(kept.pk)
    assert found(alice, WORKSPACE) == {}


def test_sub_chats_count(alice, chats):
    root = bind(chats.waiting(), minutes_ago=1)
    child = bind(chats.child_of(root))
    assert found(alice, WORKSPACE) == {WORKSPACE: str(child.pk)}


def test_only_readable_chats_are_found(alice, bob, carol, chats: Chats):
    chat = bind(chats.waiting())
    assert found(alice, WORKSPACE) == {WORKSPACE: str(chat.pk)}
    assert found(bob, WORKSPACE) == found(carol, WORKSPACE) == {}


@pytest.mark.parametrize("who", ["admin", "root"])
def test_administrators_find_everybodys(who, chats, request):
    chat = bind(chats.waiting())
    assert found(request.getfixturevalue(who), WORKSPACE) == {WORKSPACE: str(chat.pk)}


def test_without_agents_access_ones_own_are_not_found(alice, chats, without_access):
    bind(chats.waiting())
    without_access()
    assert found(alice, WORKSPACE) == {}


def test_shared_chats_are_found_and_unreadable_newer_ones_do_not_hide_them(
    alice, carol, chats, cast
):
    shared = bind(chats.waiting(), minutes_ago=5)
    bind(chats.waiting())
    share(alice, shared, cast.carol)
    assert found(carol, WORKSPACE) == {WORKSPACE: str(shared.pk)}
    child = bind(chats.child_of(shared), minutes_ago=3)
    assert found(carol, WORKSPACE) == {WORKSPACE: str(child.pk)}


def test_an_id_counts_in_any_letter_case_and_between_spaces(alice, chats):
    chat = bind(chats.waiting())
    assert found(alice, WORKSPACE.upper()) == {WORKSPACE: str(chat.pk)}
    assert found(alice, f"%20{WORKSPACE}%20", "", WORKSPACE) == {WORKSPACE: str(chat.pk)}


def test_the_nil_workspace_is_nobodys(alice, chats):
    chats.waiting()
    assert found(alice, NIL) == {}


@pytest.mark.parametrize("raw", ["x", "%00", "a" * 36, WORKSPACE[:-1], "\U0001f600", "a" * 6000])
def test_a_bad_id_is_named(alice, raw):
    answer = alice.get(f"/chats/by-workspace?workspace_ids={WORKSPACE},{raw}")
    assert answer.status == 400
    shown = "\x00" if raw == "%00" else raw
    assert answer.message.startswith(f'Invalid workspace ID "{shown}": ')


def test_twenty_five_are_not_too_many_and_one_more_is(alice):
    ids = [str(uuid4()) for _ in range(26)]
    assert found(alice, *ids[:25]) == {}
    answer = alice.get(f"/chats/by-workspace?workspace_ids={','.join(ids)}")
    assert (answer.status, answer.message) == (400, "Too many workspace IDs, maximum is 25.")


def test_too_many_are_told_before_a_bad_one(alice):
    answer = alice.get(f"/chats/by-workspace?workspace_ids={','.join(['x'] * 26)}")
    assert (answer.status, answer.message) == (400, "Too many workspace IDs, maximum is 25.")
