"""GET /chats narrowed by `q` and `label`: what is found, and that nothing else is."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection

from chatd.chats import states
from chatd.chats.models import Chat, ChatDiffStatus
from chatd.core.clock import now
from tests.api.client import Answer, Api, Chats, fresh


@pytest.fixture
def search(alice: Api):
    """Return a function that lists chats of alice and returns their titles, sorted."""

    def titles(q: str = "", *labels: str) -> list[str]:
        return sorted(chat["title"] for chat in asked(alice, q, *labels).body)

    return titles


def asked(api: Api, q: str = "", *labels: str, **more: str) -> Answer:
    query = urlencode([("q", q), *(("label", label) for label in labels), *more.items()])
    answer = api.get(f"/chats?{query}")
    assert answer.status in (200, 400)
    return answer


def named(chat: Chat, title: str, **columns) -> Chat:
    Chat.objects.filter(pk=chat.pk).update(title=title, **columns)
    return fresh(chat)


def diff(chat: Chat, **columns) -> ChatDiffStatus:
    return ChatDiffStatus.objects.create(chat=chat, **columns)


# archived


def test_archived_chats_are_found_only_when_they_are_asked_for(search, chats):
    named(chats.waiting(), "active")
    named(chats.archived(), "gone")
    assert search() == search("archived:false") == ["active"]
    assert search("archived:true") == search("ARCHIVED:1") == ["gone"]


def test_sub_chats_follow_the_archived_state_of_the_search(alice, chats):
    active, archived = chats.waiting(), chats.waiting()
    stays, leaves = chats.child_of(active), chats.child_of(active)
    states.archive_chat(leaves.pk)
    with_it = chats.child_of(archived)
    states.archive_chat(archived.pk)
    (listed,) = asked(alice).body
    assert [child["id"] for child in listed["children"]] == [str(stays.pk)]
    (listed,) = asked(alice, "archived:true").body
    assert listed["id"] == str(archived.pk)
    assert [child["id"] for child in listed["children"]] == [str(with_it.pk)]


def test_a_sub_chat_is_never_found_by_itself(search, chats):
    parent = named(chats.waiting(), "parent")
    child = chats.child_of(parent, title="child", labels={"team": "core"})
    diff(child, pr_number=7, pull_request_state="open")
    assert search("title:child") == search("", "team:core") == search("pr:7") == []
    assert search("pr_status:open") == []


def test_a_search_finds_only_ones_own_chats(bob, admin, root, chats):
    named(chats.waiting(), "hers", labels={"team": "core"})
    for api in (bob, admin, root):
        assert asked(api, "title:hers").body == asked(api, "", "team:core").body == []


# title


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("title:weather", ["Weather in Oslo"]),
        ("title:WEATHER", ["Weather in Oslo"]),
        ('title:"r in o"', ["Weather in Oslo"]),
        ("title:%", ["100% sure"]),
        ("title:_", ["snake_case"]),
        ("title:100%sure", []),
        ("title:\\", ["back\\slash"]),
        ("title:'", ["it's"]),
        ("title:s title:s", None),
        ("title:nowhere", []),
    ],
)
def test_a_title_is_found_by_a_part_of_it_taken_literally(search, alice, chats, query, found):
    for title in ("Weather in Oslo", "100% sure", "snake_case", "back\\slash", "it's"):
        named(chats.pending(), title)
    if found is None:
        assert asked(alice, query).status == 400
    else:
        assert search(query) == found


def test_a_title_may_hold_any_character_and_nothing_breaks(search, chats):
    named(chats.pending(), "caf\u00e9 \U0001f600 \u200f")
    assert len(search("title:caf\u00e9")) == len(search("title:\U0001f600")) == 1
    assert search(f"title:{'x' * 8000}") == []
    assert len(search('title:"\x00"')) == len(search("title:caf\x00\u00e9")) == 1


def test_letters_beyond_ascii_have_a_case_too(search, chats):
    named(chats.pending(), "\u00c5lesund \u0416")
    # PostgreSQL knows the case of those letters that the locale of the database knows.
    folds = connection.vendor == "sqlite"
    words = ("\u00e5LESUND", "\u0436") if folds else ("\u00c5LESUND", "\u0416")
    for word in words:
        assert len(search(f"title:{word}")) == 1


@pytest.mark.parametrize("value", [".", "L.n", "(", "[", "*", "^L", "n$", "(?i)", "\\w", "a|b"])
def test_a_title_is_no_pattern_of_any_kind(search, chats, value):
    named(chats.pending(), "London")
    assert search(f"title:{value}") == []


# unread


def test_unread_is_one_of_both(search, chats):
    named(chats.waiting(), "unread")
    named(chats.pending(), "quiet")
    seen = named(chats.waiting(), "seen")
    named(seen, "seen", last_read_message_id=seen.messages.latest("id").pk)
    assert search("has_unread:true") == ["unread"]
    assert search("has_unread:false") == ["quiet", "seen"]
    assert search("has_unread:true archived:true") == []


# pull requests


@pytest.fixture
def with_diffs(chats: Chats) -> None:
    """One chat for each state of a pull request, and one without any."""
    rows = {
        "draft": {"pull_request_state": "open", "pull_request_draft": True, "pr_number": 1},
        "open": {"pull_request_state": "open", "pr_number": 2},
        "merged": {"pull_request_state": "merged", "pr_number": 3},
        "closed": {"pull_request_state": "closed", "pr_number": 3},
        "branch": {"git_remote_origin": "git@host:acme/100%_Shop.git", "git_branch": "main"},
    }
    for title, columns in rows.items():
        shared = {"pull_request_title": f"Fix {title} 5%"}
        url = {} if title == "branch" else {"url": f"https://host/acme/Web/pull/{title}"}
        diff(named(chats.pending(), title), **shared, **url, **columns)
    named(chats.pending(), "nothing")


@pytest.mark.usefixtures("with_diffs")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("pr_status:draft", ["draft"]),
        ("pr_status:open", ["open"]),
        ("pr_status:OPEN", ["open"]),
        ("pr_status:open,draft", ["draft", "open"]),
        ("pr_status:merged pr_status:closed", ["closed", "merged"]),
        ("pr:3", ["closed", "merged"]),
        ("pr:4", []),
        ("pr:3 pr_status:merged", ["merged"]),
        ("pr:3 pr_status:open", []),
        ("repo:ACME", ["branch", "closed", "draft", "merged", "open"]),
        ("repo:acme/web", ["closed", "draft", "merged", "open"]),
        ("repo:shop", ["branch"]),
        ("repo:%_S", ["branch"]),
        ("repo:a%b", []),
        ('pr_title:"fix op"', ["open"]),
        ("pr_title:5%", ["branch", "closed", "draft", "merged", "open"]),
        ("pr_title:F_x", []),
        ("title:merged pr_title:merged pr:3 repo:web pr_status:merged", ["merged"]),
        ("title:merged pr_title:closed", []),
        ('diff_url:"https://host/acme/Web/pull/open"', ["open"]),
        ('diff_url:"HTTPS://HOST/ACME/WEB/PULL/OPEN"', ["open"]),
        ('diff_url:"https://host/acme/Web/pull/ope_"', []),
        ('diff_url:"https://host/acme/Web/pull/%"', []),
        ('diff_url:"https://host/acme/Web/pull"', []),
    ],
)
def test_chats_are_found_by_their_pull_request(search, query, found):
    assert search(query) == found


def test_only_the_diff_url_looks_at_sub_chats_too(search, chats):
    parent = named(chats.waiting(), "parent")
    named(chats.waiting(), "another")
    child = chats.child_of(parent)
    diff(child, url="https://host/a/pull/1", pr_number=1, pull_request_title="Fix")
    assert search('diff_url:"https://HOST/a/pull/1"') == ["parent"]
    assert search("pr:1") == search("pr_title:Fix") == search("repo:host") == []


# labels


@pytest.fixture
def labelled(chats: Chats) -> None:
    for title, labels in {
        "both": {"team": "core", "env": "prod"},
        "team": {"team": "core"},
        "env": {"env": "prod", "team": "web"},
        "odd": {"1": "one", "a.b/c-d_e": "x:y", "nul": "a\x00b", "quote": "\"%_'\\", "u": "\u00e9"},
        "none": {},
    }.items():
        named(chats.pending(), title, labels=labels)


@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["team:core"], ["both", "team"]),
        (["team:core", "env:prod"], ["both"]),
        (["team:core", "team:web"], ["env"]),
        (["team:CORE"], []),
        (["TEAM:core"], []),
        (["team:cor"], []),
        (["team:%"], []),
        (["unknown:core"], []),
        (["1:one"], ["odd"]),
        (["0:one"], []),
        (["a.b/c-d_e:x:y"], ["odd"]),
        (["a:x"], []),
        (["nul:a\x00b"], ["odd"]),
        (["nul:ab"], []),
        (["quote:\"%_'\\"], ["odd"]),
        (["u:\u00e9"], ["odd"]),
        (['"team":core'], []),
        (['te"am:core'], []),
        (["te\\am:core"], []),
        (["$:core"], []),
        (["[0]:core"], []),
        (["\x00:core"], []),
        (["team:\U0001f600"], []),
    ],
)
def test_chats_are_found_by_all_labels(search, labels, found):
    assert search("", *labels) == found


@pytest.mark.usefixtures("labelled")
def test_labels_and_query_narrow_together(search):
    assert search("title:bo", "team:core") == ["both"]
    assert search("archived:true", "team:core") == []


def test_huge_and_many_labels_find_nothing_and_break_nothing(search, chats):
    chats.pending()
    assert search("", f"k:{'v' * 8000}") == search("", f"{'k' * 8000}:v") == []
    assert search("", *(f"key{number}:v" for number in range(100))) == []


# refusals


def test_a_bad_query_is_told_with_every_violation(alice):
    answer = asked(alice, "word archived:maybe x:1 pr:0")
    assert (answer.status, answer.message) == (400, "Invalid chat search query.")
    assert {entry["field"] for entry in answer.body["validations"]} == {"q", "archived", "x", "pr"}


def test_a_bad_label_is_named(alice):
    answer = asked(alice, "", "good:one", "bad")
    assert answer.status == 400
    assert answer.body == {
        "message": 'Invalid label filter: "bad" (expected format key:value, both must be non-empty)'
    }


def test_pages_are_checked_before_the_query_and_the_query_before_labels(alice):
    first = asked(alice, "word", "bad", limit="x")
    assert first.message == "Query parameters have invalid values."
    assert asked(alice, "word", "bad").message == "Invalid chat search query."


# pages


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_filtered_list_is_paged_without_gaps(alice, chats, size):
    expected = []
    for number in range(6):
        chat = named(
            chats.pending(),
            f"{'match' if number % 2 else 'other'} {number}",
            updated_at=now() - timedelta(minutes=number),
            pin_order={3: 2, 5: 1}.get(number, 0),
        )
        if number % 2:
            expected.append((chat.pin_order or 9, str(chat.pk)))
    wanted = [pk for _, pk in sorted(expected)]
    found: list[str] = []
    while page := [
        chat["id"]
        for chat in asked(
            alice,
            "title:match",
            limit=str(size),
            **({"after_id": found[-1]} if found else {}),
        ).body
    ]:
        assert len(page) <= size
        found += page
    assert found == wanted


def test_a_cursor_need_not_match_the_filter(alice, chats):
    newest = named(chats.pending(), "other")
    older = named(chats.pending(), "match", updated_at=now() - timedelta(hours=1))
    page = asked(alice, "title:match", after_id=str(newest.pk)).body
    assert [chat["id"] for chat in page] == [str(older.pk)]
