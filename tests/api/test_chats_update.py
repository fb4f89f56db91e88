"""PATCH and DELETE of a chat: every field's rules, what is announced, all or nothing."""

import json
from typing import Any

import pytest

from chatd.chats import runs, states, transition
from chatd.chats.models import Chat, Status
from tests.api.client import NIL, NOT_FOUND, Api, fresh, queue, start
from tests.api.test_chats_create import UNKNOWN
from tests.chats.recorder import Recorder
from tests.conftest import Cast

LOCKED = "Title regeneration already in progress for this chat."


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(transition, "live_backend", lambda: recorder)
    return recorder


def path(chat: Chat) -> str:
    return f"/chats/{chat.pk}"


def state(chat: Chat) -> dict[str, Any]:
    """Return every column of a chat and of its sub-chats."""
    family = Chat.objects.filter(pk=chat.pk) | Chat.objects.filter(root_chat=chat)
    return {str(row["id"]): row for row in family.values()}


def accepted(api: Api, chat: Chat, **fields: Any) -> Chat:
    answer = api.patch(path(chat), fields)
    assert (answer.status, answer.body) == (204, None)
    return fresh(chat)


def refused(api: Api, chat: Chat, status: int, message: str, **fields: Any) -> dict[str, Any]:
    """Send a change that is refused; nothing of the family has changed by it."""
    before = state(chat)
    answer = api.patch(path(chat), fields)
    assert (answer.status, answer.message) == (status, message)
    assert state(chat) == before
    return dict(answer.body)


def events(recorder: Recorder) -> list[tuple[str, str]]:
    """Return kind and chat id of what the owner's watch socket is told."""
    told = [json.loads(payload) for payload in recorder.watch_payloads]
    return [(event["kind"], event["chat"]["id"]) for event in told]


on_commit = pytest.mark.django_db(transaction=True)


# nothing


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"unknown": 1},
        {
            "title": None,
            "labels": None,
            "archived": None,
            "pin_order": None,
            "workspace_id": None,
            "plan_mode": None,
        },
    ],
)
def test_no_change_changes_nothing(alice, chats, body):
    for chat in (chats.waiting(), chats.running(), chats.archived()):
        before = state(chat)
        assert alice.patch(path(chat), body).status == 204
        assert state(chat) == before


# title


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("New", "New"),
        ("  \t\n New words \u00a0", "New words"),
        ("a\x00b", "ab"),
        ("\x00 x \x00", "x"),
        ("x" * 200, "x" * 200),
        (" " + "\U0001f600" * 200 + " ", "\U0001f600" * 200),
        ("<b>&amp;", "<b>&amp;"),
        ("\u202e\u200f", "\u202e\u200f"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_title_is_trimmed_and_moves_no_instant(alice, chats, raw, title):
    chat = chats.waiting()
    changed = accepted(alice, chat, title=raw)
    assert changed.title == title
    assert changed.updated_at == chat.updated_at
    assert alice.get(path(chat)).body["title"] == title


@pytest.mark.parametrize("raw", ["", " ", "\n\t", "\x00", "\u00a0\u2003"])
def test_a_title_is_not_empty(alice, chats, raw):
    refused(alice, chats.waiting(), 400, "Title cannot be empty.", title=raw)


@pytest.mark.parametrize("raw", ["x" * 201, "\U0001f600" * 201, "x" * 2_000_000])
def test_a_title_has_at_most_two_hundred_characters(alice, chats, raw):
    refused(alice, chats.waiting(), 400, "Title must be at most 200 characters.", title=raw)


@pytest.mark.parametrize("status", [Status.RUNNING, Status.WAITING, Status.ERROR])
def test_a_chat_with_a_runner_or_none_can_be_renamed(alice, chats, status):
    chat = chats.in_status(status)
    assert accepted(alice, chat, title="Renamed").status == status


def test_an_archived_chat_can_be_renamed(alice, chats):
    assert accepted(alice, chats.archived(), title="Renamed").title == "Renamed"


def test_a_pending_chat_cannot_be_renamed_for_its_title_is_locked(alice, chats):
    refused(alice, chats.pending(), 409, LOCKED, title="Renamed")


def test_the_title_a_pending_chat_has_already_is_no_change(alice, chats):
    chat = chats.pending()
    assert accepted(alice, chat, title=f" {chat.title} ").title == chat.title


def test_a_bad_title_is_told_before_the_lock(alice, chats):
    refused(alice, chats.pending(), 400, "Title cannot be empty.", title="")


@on_commit
def test_a_rename_is_announced_once_and_only_when_it_changes_something(alice, chats, recorder):
    chat = chats.waiting()
    recorder.clear()
    accepted(alice, chat, title="Renamed")
    assert events(recorder) == [("title_change", str(chat.pk))]
    (payload,) = recorder.watch_payloads
    shown = json.loads(payload)["chat"]
    assert shown["title"] == "Renamed"
    assert shown["children"] == []
    assert "diff_status" not in shown
    accepted(alice, chat, title="Renamed")
    assert len(events(recorder)) == 1
    assert recorder.notifications == []


# labels


def test_labels_replace_the_whole_map_and_move_the_instant(alice, chats):
    chat = chats.waiting(labels={"old": "1"})
    changed = accepted(alice, chat, labels={"new": "2", "a.b/c-d_e": "x y:z"})
    assert changed.labels == {"new": "2", "a.b/c-d_e": "x y:z"}
    assert changed.updated_at > chat.updated_at
    cleared = accepted(alice, changed, labels={})
    assert cleared.labels == {}
    assert cleared.updated_at > changed.updated_at
    assert alice.get(path(chat)).body["labels"] == {}


def test_labels_at_their_limits_are_taken(alice, chats):
    labels = {f"{number:02}".ljust(64, "k"): "\u00e9" * 128 for number in range(50)}
    assert accepted(alice, chats.waiting(), labels=labels).labels == labels


@pytest.mark.parametrize("value", ["a\x00b", "\ue000", "\x00", '"\\', "\U0001f600"])
def test_a_label_value_may_hold_any_character(alice, chats, value):
    chat = chats.waiting()
    accepted(alice, chat, labels={"k": value})
    assert alice.get(path(chat)).body["labels"] == {"k": value}


BAD_LABELS = {
    "51 labels": ({f"k{number}": "v" for number in range(51)}, 1),
    "empty key": ({"": "v"}, 1),
    "long key": ({"k" * 65: "v"}, 1),
    "odd start": ({"-k": "v"}, 1),
    "space": ({"a b": "v"}, 1),
    "letter": ({"\u00e9": "v"}, 1),
    "newline": ({"k\n": "v"}, 1),
    "NUL": ({"k\x00": "v"}, 1),
    "quote": ({'k"': "v"}, 1),
    "empty value": ({"k": ""}, 1),
    "long value": ({"k": "\u00e9" * 128 + "x"}, 1),
    "long key and letter": ({"\u00e9" * 33: "v"}, 2),
    "several": ({"": "", "a b": "", "ok": "v"}, 4),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_every_violation_of_the_labels_is_told(alice, chats, name):
    labels, count = BAD_LABELS[name]
    body = refused(alice, chats.waiting(labels={"a": "b"}), 400, "Invalid labels.", labels=labels)
    assert [entry["field"] for entry in body["validations"]] == ["labels"] * count


# archived


@pytest.mark.parametrize("status", ["waiting", "pending", "running", "error", "requires_action"])
def test_archiving_and_coming_back(alice, chats, status):
    chat = chats.in_status(Status(status))
    archived = accepted(alice, chat, archived=True)
    idle = status in (Status.PENDING, Status.RUNNING)
    assert archived.status == (Status.WAITING if idle else status)
    assert archived.archived
    assert archived.updated_at > chat.updated_at
    assert alice.get("/chats").body == []
    back = accepted(alice, chat, archived=False)
    assert not back.archived
    assert back.status == archived.status
    assert back.updated_at > archived.updated_at
    assert len(alice.get("/chats").body) == 1


def test_what_is_archived_cannot_be_archived_again(alice, chats):
    refused(alice, chats.archived(), 400, "Chat is already archived.", archived=True)


def test_what_is_active_cannot_come_back(alice, chats):
    refused(alice, chats.running(), 400, "Chat is already not archived.", archived=False)


def test_the_queue_is_kept_in_the_archive(alice, chats):
    chat = chats.running()
    queued = queue(chat)
    archived = accepted(alice, chat, archived=True)
    assert [row.pk for row in archived.queued_messages.all()] == [queued.pk]
    assert archived.status == Status.WAITING


def test_a_root_takes_its_sub_chats_along_both_ways(alice, chats):
    root = chats.waiting()
    children = [chats.child_of(root), chats.child_of(root)]
    other = chats.waiting()
    states.archive_chat(children[0].pk)
    accepted(alice, root, archived=True)
    assert all(fresh(child).archived for child in children)
    assert not fresh(other).archived
    accepted(alice, root, archived=False)
    assert not any(fresh(child).archived for child in children)


def test_a_running_sub_chat_is_stopped_with_its_root(alice, chats):
    root, child = chats.waiting(), chats.running()
    Chat.objects.filter(pk=child.pk).update(parent_chat=root, root_chat=root)
    accepted(alice, root, archived=True)
    assert (fresh(child).status, fresh(child).runner_id) == (Status.WAITING, None)


def test_a_sub_chat_goes_and_comes_alone_while_its_parent_is_active(alice, chats):
    root = chats.waiting()
    child, sibling = chats.child_of(root), chats.child_of(root)
    accepted(alice, child, archived=True)
    assert [fresh(chat).archived for chat in (root, child, sibling)] == [False, True, False]
    refused(alice, child, 400, "Chat is already archived.", archived=True)
    assert not accepted(alice, child, archived=False).archived
    refused(alice, child, 400, "Chat is already not archived.", archived=False)


def test_a_sub_chat_does_not_come_back_before_its_parent(alice, chats):
    root = chats.waiting()
    child = chats.child_of(root)
    accepted(alice, root, archived=True)
    refused(
        alice,
        child,
        400,
        "Cannot unarchive a child chat while its parent is archived."
        " Unarchive the parent chat to cascade.",
        archived=False,
    )


@on_commit
def test_the_archive_is_announced_for_every_chat_it_takes(alice, chats, recorder):
    root = chats.waiting()
    child, gone = chats.child_of(root), chats.child_of(root)
    states.archive_chat(gone.pk)
    recorder.clear()
    accepted(alice, root, archived=True)
    assert events(recorder) == [("deleted", str(root.pk)), ("deleted", str(child.pk))]
    assert all(json.loads(raw)["chat"]["archived"] for raw in recorder.watch_payloads)
    recorder.clear()
    accepted(alice, root, archived=False)
    assert events(recorder)[0] == ("created", str(root.pk))
    assert sorted(events(recorder)) == sorted(
        ("created", str(chat.pk)) for chat in (root, child, gone)
    )
    assert not any(json.loads(raw)["chat"]["archived"] for raw in recorder.watch_payloads)


@on_commit
def test_a_chat_that_was_working_is_announced_as_stopped_first(alice, chats, recorder):
    chat = chats.running()
    recorder.clear()
    accepted(alice, chat, archived=True)
    assert events(recorder) == [("status_change", str(chat.pk)), ("deleted", str(chat.pk))]
    assert recorder.cancelled == [chat.runner_id]
    assert any(notice.status == "waiting" for notice in recorder.notifications)


# plan mode


def test_plan_mode_is_set_and_cleared_and_moves_no_instant(alice, chats):
    chat = chats.running()
    assert accepted(alice, chat, plan_mode="plan").plan_mode == "plan"
    assert alice.get(path(chat)).body["plan_mode"] == "plan"
    for _ in range(2):
        cleared = accepted(alice, chat, plan_mode="")
        assert cleared.plan_mode is None
        assert cleared.updated_at == chat.updated_at
    assert "plan_mode" not in alice.get(path(chat)).body


@pytest.mark.parametrize("value", ["Plan", " plan", "off", "x" * 100_000, "plan\x00"])
def test_another_plan_mode_is_refused_before_anything_else(alice, chats, value):
    refused(alice, chats.pending(), 400, "Invalid plan_mode value.", plan_mode=value, title="")


# workspace


def test_the_nil_workspace_clears_the_binding(alice, chats):
    chat = chats.waiting()
    bound = {"workspace_id": UNKNOWN, "build_id": UNKNOWN, "agent_id": UNKNOWN}
    Chat.objects.filter(pk=chat.pk).update(**bound)
    assert bound.items() <= alice.get(path(chat)).body.items()
    cleared = accepted(alice, chat, workspace_id=NIL)
    assert (cleared.workspace_id, cleared.build_id, cleared.agent_id) == (None, None, None)
    assert cleared.updated_at > chat.updated_at
    assert not bound.keys() & alice.get(path(chat)).body.keys()


def test_any_other_workspace_is_not_found(alice, chats):
    refused(
        alice,
        chats.waiting(),
        400,
        "Workspace not found or you do not have access to this resource",
        workspace_id=UNKNOWN,
    )


# pin (how positions move is tested beside the pins)


def test_a_pin_moves_no_instant_and_is_shown(alice, chats):
    chat = chats.waiting()
    pinned = accepted(alice, chat, pin_order=9)
    assert (pinned.pin_order, pinned.updated_at) == (1, chat.updated_at)
    assert alice.get("/chats").body[0]["pin_order"] == 1
    for _ in range(2):
        assert accepted(alice, chat, pin_order=0).pin_order == 0


@pytest.mark.parametrize("position", [-1, -(2**31)])
def test_a_pin_is_not_negative(alice, chats, position):
    for chat in (chats.waiting(), chats.archived(), chats.child_of(chats.waiting())):
        refused(alice, chat, 400, "Pin order must be non-negative.", pin_order=position)


def test_an_archived_chat_is_not_pinned(alice, chats):
    chat = chats.archived()
    refused(alice, chat, 400, "Cannot pin an archived chat.", pin_order=1)
    assert accepted(alice, chat, pin_order=0).pin_order == 0


def test_a_sub_chat_is_not_pinned(alice, chats):
    child = chats.child_of(chats.waiting())
    refused(alice, child, 400, "Cannot pin a child chat.", pin_order=1)
    assert accepted(alice, child, pin_order=0).pin_order == 0


def test_a_pin_and_the_archive_in_one_request(alice, chats):
    loose, pinned = chats.waiting(), chats.waiting()
    accepted(alice, pinned, pin_order=1)
    refused(alice, loose, 400, "Cannot pin an archived chat.", archived=True, pin_order=1)
    refused(alice, pinned, 400, "Pin order must be non-negative.", archived=True, pin_order=-1)
    archived = accepted(alice, pinned, archived=True, pin_order=1)
    assert (archived.archived, archived.pin_order) == (True, 0)
    refused(alice, archived, 400, "Cannot pin an archived chat.", archived=False, pin_order=1)
    back = accepted(alice, archived, archived=False, pin_order=0)
    assert (back.archived, back.pin_order) == (False, 0)
    again = accepted(alice, loose, archived=True, pin_order=0)
    assert (again.archived, again.pin_order) == (True, 0)


@on_commit
def test_what_is_neither_title_nor_archive_is_not_announced(alice, chats, recorder):
    chat = chats.waiting()
    recorder.clear()
    accepted(alice, chat, labels={"a": "b"}, pin_order=1, plan_mode="plan", workspace_id=NIL)
    assert recorder.notices == []


# several fields


def test_all_fields_of_a_request_are_applied(alice, chats):
    changed = accepted(
        alice,
        chats.waiting(),
        title="Renamed",
        labels={"a": "b"},
        pin_order=1,
        plan_mode="plan",
        workspace_id=NIL,
    )
    assert (changed.title, changed.labels, changed.pin_order, changed.plan_mode) == (
        "Renamed",
        {"a": "b"},
        1,
        "plan",
    )


REFUSED_TOGETHER = {
    "labels": ({"labels": {"": "v"}}, "Invalid labels."),
    "archived": ({"archived": False}, "Chat is already not archived."),
    "pin": ({"archived": True, "pin_order": 1}, "Cannot pin an archived chat."),
    "negative pin": ({"pin_order": -1}, "Pin order must be non-negative."),
    "workspace": (
        {"archived": True, "workspace_id": UNKNOWN},
        "Workspace not found or you do not have access to this resource",
    ),
    "plan mode": ({"plan_mode": "x"}, "Invalid plan_mode value."),
}


@on_commit
@pytest.mark.parametrize("name", REFUSED_TOGETHER)
def test_one_refusal_leaves_everything_as_it_was_and_announces_nothing(
    name, alice, chats, recorder
):
    fields, message = REFUSED_TOGETHER[name]
    chat = chats.waiting(labels={"old": "1"})
    chats.child_of(chat)
    recorder.clear()
    good = {"title": "Renamed", "labels": {"new": "2"}, "plan_mode": "plan"}
    refused(alice, chat, 400, message, **(good | fields))
    assert recorder.notices == []


def test_the_first_field_of_the_order_is_the_one_that_is_told(alice, chats):
    chat = chats.waiting()
    wrong = {
        "plan_mode": "x",
        "title": "",
        "labels": {"": ""},
        "archived": False,
        "pin_order": -1,
        "workspace_id": UNKNOWN,
    }
    for message in (
        "Invalid plan_mode value.",
        "Title cannot be empty.",
        "Invalid labels.",
        "Chat is already not archived.",
        "Pin order must be non-negative.",
        "Workspace not found or you do not have access to this resource",
    ):
        refused(alice, chat, 400, message, **wrong)
        del wrong[next(iter(wrong))]
    assert wrong == {}


# bodies


@pytest.mark.parametrize(
    "fields",
    [
        {"title": 1},
        {"title": []},
        {"labels": []},
        {"labels": {"a": 1}},
        {"labels": {"a": None}},
        {"labels": "a:b"},
        {"archived": 1},
        {"archived": "true"},
        {"pin_order": "1"},
        {"pin_order": 1.5},
        {"pin_order": 2**31},
        {"pin_order": -(2**31) - 1},
        {"pin_order": 10**40},
        {"workspace_id": "x"},
        {"workspace_id": ""},
        {"plan_mode": True},
    ],
)
def test_a_value_of_the_wrong_type_is_no_json_of_this_route(alice, chats, fields):
    body = refused(
        alice,
        chats.waiting(),
        400,
        "Request body must be valid JSON.",
        **({"title": "Renamed"} | fields),
    )
    assert body["detail"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b'{"title":"\xff"}', b" " * 4 * 2**20])
def test_a_body_that_is_no_json_object_is_refused(alice, chats, raw):
    chat = chats.waiting()
    answer = alice.patch(path(chat), raw=raw)
    assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")


def test_a_chat_of_somebody_else_does_not_exist_whatever_the_body(bob, chats):
    chat = chats.waiting()
    before = state(chat)
    for raw in (b"nonsense", b'{"plan_mode":"x"}', b'{"title":"Mine"}'):
        answer = bob.patch(path(chat), raw=raw)
        assert (answer.status, answer.body) == (404, NOT_FOUND)
    assert state(chat) == before


@pytest.mark.parametrize("who", ["admin", "root"])
def test_administrators_may_change_everything_and_the_owner_keeps_the_chat(
    who, chats, request, cast: Cast
):
    api = request.getfixturevalue(who)
    changed = accepted(api, chats.waiting(), title="Theirs", labels={"a": "b"}, pin_order=1)
    assert (changed.title, changed.pin_order) == ("Theirs", 1)
    assert changed.owner_id == cast.alice.pk
    assert accepted(api, changed, archived=True).archived


# delete


@on_commit
def test_deleting_archives_the_family_and_repeats_without_harm(alice, chats, recorder):
    root = chats.running()
    child = chats.child_of(root)
    recorder.clear()
    assert alice.delete(path(root)).status == 204
    assert fresh(root).archived
    assert fresh(child).archived
    assert [kind for kind, _ in events(recorder)] == ["status_change", "deleted", "deleted"]
    before = state(root)
    assert alice.delete(path(root)).status == 204
    assert state(root) == before
    assert not accepted(alice, root, archived=False).archived


def test_deleting_a_sub_chat_leaves_its_root(alice, chats):
    root = chats.waiting()
    child = chats.child_of(root)
    assert alice.delete(path(child)).status == 204
    assert (fresh(root).archived, fresh(child).archived) == (False, True)


def test_deleting_closes_the_gap_of_the_pin(alice, chats):
    first, second = chats.waiting(), chats.waiting()
    for chat in (first, second):
        accepted(alice, chat, pin_order=1)
    alice.delete(path(first))
    assert (fresh(first).pin_order, fresh(second).pin_order) == (0, 1)


def test_a_runner_that_lost_its_chat_to_the_archive_stores_nothing(alice, chats):
    chat = chats.pending()
    fence = start(chat)
    accepted(alice, chat, archived=True)
    with pytest.raises(transition.StateConflictError):
        runs.finish(fence)
