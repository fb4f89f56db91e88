"""GET /chats and GET /chats/{chat}: shapes, order, pages, sub-chats, and what they cost."""

from datetime import timedelta
from typing import Any

import pytest

from chatd.chats import states
from chatd.chats.models import Chat
from chatd.core.clock import now, rfc3339
from tests.api.client import NIL, Chats, fresh
from tests.api.test_chats_create import UNKNOWN
from tests.support.contract import CHAT_ALWAYS
from tests.support.people import user_content


def ids(answer) -> list[str]:
    return [chat["id"] for chat in answer.body]


def changed(chat: Chat, **columns: Any) -> Chat:
    Chat.objects.filter(pk=chat.pk).update(**columns)
    return fresh(chat)


def diff_of(chat: Chat) -> dict:
    return {
        "chat_id": str(chat.pk),
        "pull_request_title": "",
        "pull_request_draft": False,
        "changes_requested": False,
        "additions": 0,
        "deletions": 0,
        "changed_files": 0,
    }


def test_nothing_is_an_empty_list(alice):
    answer = alice.get("/chats")
    assert (answer.status, answer.body, answer.raw) == (200, [], b"[]\n")


def test_a_chat_in_the_list_has_a_diff_status_and_one_that_was_got_has_none(alice, chats):
    chat = chats.pending()
    (listed,) = alice.get("/chats").body
    got = alice.get(f"/chats/{chat.pk}").body
    assert set(got) == CHAT_ALWAYS
    assert set(listed) == CHAT_ALWAYS | {"diff_status"}
    assert listed.pop("diff_status") == diff_of(chat)
    assert listed == got
    assert got["root_chat_id"] == str(chat.pk)
    assert got["children"] == []
    assert got["updated_at"] == rfc3339(chat.updated_at)


def test_a_failed_chat_shows_its_error(alice, chats):
    chat = chats.failed()
    body = alice.get(f"/chats/{chat.pk}").body
    assert body["status"] == "error"
    assert body["last_error"] == {
        "message": "It broke.",
        "kind": "overloaded",
        "retryable": True,
    }


def test_an_error_without_kind_and_message_gets_the_generic_ones(alice, chats):
    chat = changed(chats.failed(), last_error={})
    assert alice.get(f"/chats/{chat.pk}").body["last_error"] == {
        "message": "The chat request failed unexpectedly.",
        "kind": "generic",
        "retryable": False,
    }


def test_no_internal_field_is_shown(alice, chats):
    context = [
        {
            "type": "context-file",
            "context_file_path": "/a/AGENTS.md",
            "context_file_content": "secret",
            "context_file_os": "linux",
            "context_file_directory": "/a",
        },
        {"type": "skill", "skill_name": "s", "skill_dir": "/b", "provider_metadata": {"x": 1}},
    ]
    chat = changed(chats.running(), last_injected_context=context)
    body = alice.get(f"/chats/{chat.pk}").body
    assert set(body) == CHAT_ALWAYS | {"last_injected_context"}
    assert body["last_injected_context"] == [
        {"type": "context-file", "context_file_path": "/a/AGENTS.md"},
        {"type": "skill", "skill_name": "s"},
    ]


def test_sub_chats_are_embedded_newest_first_and_have_no_children(alice, chats):
    parent = chats.waiting()
    older, newer = (chats.child_of(parent) for _ in range(2))
    for body in (alice.get(f"/chats/{parent.pk}").body, alice.get("/chats").body[0]):
        assert [child["id"] for child in body["children"]] == [str(newer.pk), str(older.pk)]
        child = body["children"][0]
        assert set(child) == CHAT_ALWAYS | {"parent_chat_id", "diff_status"}
        assert child["parent_chat_id"] == child["root_chat_id"] == str(parent.pk)
        assert child["children"] == []
        assert child["has_unread"] is True
    alone = alice.get(f"/chats/{newer.pk}").body
    assert set(alone) == CHAT_ALWAYS | {"parent_chat_id"}
    assert alone["children"] == []


def test_a_sub_chat_that_is_archived_on_its_own_is_in_no_list(alice, chats):
    parent = chats.waiting()
    child = chats.child_of(parent)
    states.archive_chat(child.pk)
    assert alice.get("/chats").body[0]["children"] == []
    assert alice.get(f"/chats/{parent.pk}").body["children"] == []
    assert alice.get(f"/chats/{child.pk}").body["archived"] is True


def test_an_archived_chat_is_not_listed_but_can_be_got_with_its_sub_chats(alice, chats):
    parent = chats.waiting()
    child = chats.child_of(parent)
    states.archive_chat(parent.pk)
    assert alice.get("/chats").body == []
    body = alice.get(f"/chats/{parent.pk}").body
    assert body["archived"] is True
    assert [entry["id"] for entry in body["children"]] == [str(child.pk)]


def test_unread_is_shown_in_the_list_and_reading_does_not_change_it(alice, chats):
    unread, quiet = chats.waiting(), chats.pending()
    read = chats.waiting()
    newest = read.messages.order_by("-id").first()
    changed(read, last_read_message_id=newest.pk)
    for _ in range(2):
        flags = {chat["id"]: chat["has_unread"] for chat in alice.get("/chats").body}
        assert flags == {str(unread.pk): True, str(quiet.pk): False, str(read.pk): False}
        assert alice.get(f"/chats/{unread.pk}").body["has_unread"] is False
        assert alice.get(f"/chats/{unread.pk}/messages").status == 200


def test_only_ones_own_chats_are_listed_even_for_administrators(chats, bob, root, admin):
    chats.pending()
    for api in (bob, root, admin):
        assert api.get("/chats").body == []


@pytest.fixture
def ordered(chats: Chats) -> list[Chat]:
    """Seven chats in the order of the list: two pinned, then newest first, ties by id."""
    base = now()
    made = [chats.pending() for _ in range(7)]
    made[3:5] = sorted(made[3:5], key=lambda chat: chat.pk, reverse=True)
    ages = [60, 0, 1, 2, 2, 3, 4]
    for age, pin, chat in zip(ages, [1, 2, 0, 0, 0, 0, 0], made, strict=True):
        changed(chat, updated_at=base - timedelta(minutes=age), pin_order=pin)
    return made


def test_pinned_come_first_then_the_newest(alice, ordered):
    assert ids(alice.get("/chats")) == [str(chat.pk) for chat in ordered]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_by_cursor_and_by_offset_show_every_chat_once(alice, ordered, size):
    expected = [str(chat.pk) for chat in ordered]
    by_cursor: list[str] = []
    while page := ids(
        alice.get(f"/chats?limit={size}" + (f"&after_id={by_cursor[-1]}" if by_cursor else ""))
    ):
        by_cursor += page
    by_offset = [
        shown
        for offset in range(0, 7, size)
        for shown in ids(alice.get(f"/chats?limit={size}&offset={offset}"))
    ]
    assert by_cursor == by_offset == expected


# The cursor is the last chat of a page, at the place that it has by now


MOVES: list[tuple[str, Any, list[int]]] = [
    ("renamed", {"title": "Renamed"}, [4, 5, 6]),
    ("planned", {"plan_mode": "plan"}, [4, 5, 6]),
    ("pinned, so after all pins", {"pin_order": 1}, [2, 4, 5, 6]),
    ("labelled, so the newest", {"labels": {"a": "b"}}, [2, 4, 5, 6]),
    ("archived, so the newest", {"archived": True}, [2, 4, 5, 6]),
]


@pytest.mark.parametrize(("how", "change", "rest"), MOVES, ids=[how for how, *_ in MOVES])
def test_the_next_page_starts_where_the_cursor_is_by_now(alice, ordered, how, change, rest):
    page = ids(alice.get("/chats?limit=4"))
    assert page[-1] == str(ordered[3].pk)
    changed(ordered[3], status="waiting")
    assert alice.patch(f"/chats/{page[-1]}", change).status == 204
    found = ids(alice.get(f"/chats?after_id={page[-1]}"))
    assert found == [str(ordered[index].pk) for index in rest]


def test_the_next_page_after_a_chat_that_goes_on_starts_at_the_newest(alice, ordered):
    cursor = changed(ordered[3], status="waiting")
    states.send_message(cursor.pk, user_content(cursor.owner_id))
    found = ids(alice.get(f"/chats?after_id={cursor.pk}"))
    assert found == [str(ordered[index].pk) for index in (2, 4, 5, 6)]


def test_the_next_page_after_a_chat_that_was_unpinned_is_that_of_its_instant(alice, ordered):
    assert alice.patch(f"/chats/{ordered[0].pk}", {"pin_order": 0}).status == 204
    assert ids(alice.get(f"/chats?after_id={ordered[0].pk}")) == []
    assert ids(alice.get(f"/chats?after_id={ordered[5].pk}")) == [
        str(ordered[6].pk),
        str(ordered[0].pk),
    ]


def test_chats_that_come_while_pages_are_turned_are_not_doubled(alice, chats, ordered):
    page = ids(alice.get("/chats?limit=4"))
    chats.pending()
    assert ids(alice.get(f"/chats?after_id={page[-1]}")) == [str(chat.pk) for chat in ordered[4:]]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 50),
        ("limit=", 50),
        ("limit=0", 50),
        ("limit=+3", 3),
        ("limit=60", 52),
        ("limit=2147483647", 52),
        ("offset=51", 1),
        ("offset=52", 0),
        ("offset=2147483647&limit=2147483647", 0),
        (f"after_id={UNKNOWN}", 0),
        (f"after_id={NIL}", 50),
        ("after_id=", 50),
        ("unknown=1&unknown=2", 50),
    ],
)
def test_a_page_has_fifty_chats_unless_told(alice, chats, query, count):
    first = chats.pending()
    copies = []
    for _ in range(51):
        copy = fresh(first)
        copy.pk = None
        copy._state.adding = True
        copy.id = Chat._meta.pk.get_default()
        copies.append(copy)
    Chat.objects.bulk_create(copies)
    answer = alice.get(f"/chats?{query}")
    assert (answer.status, len(answer.body)) == (200, count)


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize(
    "value", ["-1", "x", "1.5", "2147483648", "9" * 5000, "%00", "0x10", "1e3", "\u0661", "%ff"]
)
def test_a_bad_number_is_named(alice, name, value):
    answer = alice.get(f"/chats?{name}={value}")
    assert (answer.status, answer.message) == (400, "Query parameters have invalid values.")
    (entry,) = answer.body["validations"]
    assert entry["field"] == name
    assert entry["detail"].startswith(f'Query param "{name}" must be a valid ')


@pytest.mark.parametrize("value", ["x", "%00", "1", "a" * 36, NIL[:-1], "%ed%a0%80", "a" * 6000])
def test_a_bad_cursor_is_named(alice, value):
    answer = alice.get(f"/chats?after_id={value}")
    assert (answer.status, answer.body["validations"][0]["field"]) == (400, "after_id")


def test_everything_wrong_is_told_at_once(alice):
    answer = alice.get("/chats?limit=x&offset=-1&after_id=y")
    assert [entry["field"] for entry in answer.body["validations"]] == [
        "limit",
        "offset",
        "after_id",
    ]


def test_a_parameter_given_twice_is_told(alice):
    answer = alice.get("/chats?limit=1&limit=2")
    assert answer.body["validations"] == [
        {
            "field": "limit",
            "detail": 'Query param "limit" provided more than once, found 2 times.'
            " Only provide 1 instance of this query param.",
        }
    ]


def test_more_parameters_than_anybody_needs_are_refused(alice):
    answer = alice.get("/chats?" + "&".join(f"a{i}=1" for i in range(1500)))
    assert answer.status == 400


BAD_IDS = [
    ("x", "invalid UUID length: 1"),
    ("%00", "invalid UUID length: 1"),
    ("a" * 36, "invalid UUID format"),
    ("g" * 36, "invalid UUID format"),
    ("{" + "a" * 34 + "}", "invalid UUID format"),
    ("0x" + "a" * 34, "invalid UUID format"),
    ("aaaaaaaa_aaaa_4aaa_8aaa_aaaaaaaaaaaa", "invalid UUID format"),
    ("a" * 32, "invalid UUID length: 32"),
    ("%ff%fe", None),
    ("%ed%a0%80", None),
    ("%F0%9F%98%80", "invalid UUID length: 1"),
    ("a" * 6000, "invalid UUID length: 6000"),
    ("%0a", "invalid UUID length: 1"),
    ("..%3b", None),
]


@pytest.mark.parametrize(("raw", "detail"), BAD_IDS)
def test_an_id_that_is_none_is_a_400(alice, raw, detail):
    answer = alice.get(f"/chats/{raw}")
    assert answer.status == 400
    assert answer.message.startswith('Invalid UUID "')
    if detail is not None:
        assert answer.detail == detail


def test_a_slash_in_an_id_makes_another_route(alice):
    assert alice.get(f"/chats/{NIL}%2Fx").body == {"message": "Route not found."}
