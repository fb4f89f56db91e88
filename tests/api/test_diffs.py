"""What is known about the repository of a chat, and the two routes of older clients."""

from datetime import timedelta

import pytest

from chatd.chats.models import Chat, ChatDiffStatus
from chatd.core.clock import now, rfc3339
from tests.api.client import Api
from tests.api.test_chats_read import diff_of

FULL = {
    "url": "https://github.com/acme/web/pull/7",
    "pull_request_state": "open",
    "pull_request_title": "Fix it",
    "pull_request_draft": True,
    "changes_requested": True,
    "additions": 3,
    "deletions": 2,
    "changed_files": 1,
    "author_login": "mona",
    "author_avatar_url": "https://host/mona.png",
    "base_branch": "main",
    "head_branch": "fix",
    "pr_number": 7,
    "commits": 4,
    "approved": True,
    "reviewer_count": 2,
}
BRANCH = {"git_remote_origin": "https://github.com/acme/web.git", "git_branch": "a b"}
BRANCH_PAGE = "https://github.com/acme/web/tree/a%20b"


def known(chat: Chat, **columns) -> None:
    ChatDiffStatus.objects.create(chat=chat, **columns)


def read(api: Api, chat: Chat, route: str):
    answer = api.get(f"/chats/{chat.pk}/{route}")
    assert answer.status == 200
    return answer.body


def test_of_a_chat_without_a_repository_nothing_is_known(alice, chats):
    for chat in (chats.pending(), chats.archived(), chats.child_of(chats.waiting())):
        assert read(alice, chat, "diff") == {"chat_id": str(chat.pk)}
        assert read(alice, chat, "diff-status") == diff_of(chat)
        assert read(alice, chat, "git-changes") == []


def test_everything_known_is_shown(alice, chats):
    chat = chats.pending()
    at = now()
    known(chat, **FULL, refreshed_at=at, stale_at=at + timedelta(minutes=1))
    status = read(alice, chat, "diff-status")
    assert status == {
        "chat_id": str(chat.pk),
        **FULL,
        "refreshed_at": rfc3339(at),
        "stale_at": rfc3339(at + timedelta(minutes=1)),
    }
    assert read(alice, chat, "diff") == {
        "chat_id": str(chat.pk),
        "pull_request_url": FULL["url"],
    }
    assert read(alice, chat, "git-changes") == []
    assert alice.get(f"/chats/{chat.pk}").body["diff_status"] == status
    assert alice.get("/chats").body[0]["diff_status"] == status


def test_a_branch_has_a_page_but_no_pull_request(alice, chats):
    chat = chats.pending()
    known(chat, **BRANCH)
    assert read(alice, chat, "diff-status")["url"] == BRANCH_PAGE
    assert read(alice, chat, "diff") == {"chat_id": str(chat.pk)}


@pytest.mark.parametrize(
    "columns",
    [
        {"git_remote_origin": "https://github.com/acme/web"},
        {"git_branch": "main"},
        {"git_remote_origin": "https://elsewhere.example/acme/web", "git_branch": "main"},
        {"git_remote_origin": "javascript:alert(1)", "git_branch": "main"},
        {"url": ""},
    ],
)
def test_an_origin_that_names_no_page_gives_no_address(alice, chats, columns):
    chat = chats.pending()
    known(chat, **columns)
    assert "url" not in read(alice, chat, "diff-status")
    assert read(alice, chat, "diff") == {"chat_id": str(chat.pk)}


def test_a_sub_chat_shows_its_own_and_not_that_of_its_root(alice, chats):
    root = chats.waiting()
    child = chats.child_of(root)
    known(root, **FULL)
    assert read(alice, child, "diff") == {"chat_id": str(child.pk)}
    (shown,) = alice.get(f"/chats/{root.pk}").body["children"]
    assert shown["diff_status"] == read(alice, child, "diff-status") == diff_of(child)


@pytest.mark.parametrize("route", ["diff", "diff-status", "git-changes"])
def test_reading_twice_gives_the_same_and_writes_nothing(alice, chats, route):
    chat = chats.pending()
    known(chat, **FULL)
    before = ChatDiffStatus.objects.values().get()
    assert read(alice, chat, route) == read(alice, chat, route)
    assert ChatDiffStatus.objects.values().get() == before


@pytest.mark.parametrize("route", ["diff", "diff-status", "git-changes"])
def test_a_reader_sees_what_the_owner_sees(alice, carol, chats, cast, route):
    chat = chats.pending()
    known(chat, **FULL)
    body = {"user_roles": {str(cast.carol.pk): "read"}}
    alice.patch(f"/chats/{chat.pk}/acl", body)
    assert read(carol, chat, route) == read(alice, chat, route)
