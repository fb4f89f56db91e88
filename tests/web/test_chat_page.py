"""The page of one chat: what it shows to whom."""

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import User
from chatd.chats.models import Chat, Role, Visibility
from chatd.core.clock import now
from chatd.live.backend import PartLogUnavailableError, live_backend
from chatd.live.messages import Episode, PartEntry, encode
from chatd.web.selectors import MESSAGES_PER_PAGE
from tests.web.conftest import add_message, browser_of, text

NewChat = Callable[..., Chat]


def html_of(client: Client, chat: Chat, query: str = "") -> str:
    response = client.get(f"/chats/{chat.pk}{query}")
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def running(new_chat: NewChat) -> Chat:
    return new_chat(status="running", runner_id=uuid.uuid4(), lease_expires_at=now(), attempt=1)


def stream(chat: Chat, seq: int, *parts: dict[str, Any], role: str = "assistant") -> None:
    entry = PartEntry(
        episode=Episode(chat.history_version, chat.attempt),
        seq=seq,
        parts=[msgspec.Raw(encode({"role": role, "part": part})) for part in parts],
    )
    async_to_sync(live_backend().append)(chat.pk, entry)


def test_messages_are_shown_in_order(page: Client, new_chat: NewChat) -> None:
    chat = new_chat("Question")
    add_message(chat, text("Some **bold** answer"))

    html = html_of(page, chat)

    assert html.index("Question") < html.index("Some <strong>bold</strong> answer")


def test_nothing_that_people_or_models_write_is_markup(page: Client, new_chat: NewChat) -> None:
    evil = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
    chat = new_chat(evil, title=evil)
    add_message(
        chat,
        text(evil),
        {"type": "reasoning", "text": evil},
        {"type": "tool-call", "tool_call_id": "1", "tool_name": evil, "args": {evil: evil}},
        {"type": "source", "url": "https://a.example/" + evil, "title": evil},
        {"type": "file", "media_type": evil},
        {
            "type": "file-reference",
            "file_name": evil,
            "start_line": 1,
            "end_line": 2,
            "content": evil,
        },
    )
    add_message(chat, {"type": "tool-result", "tool_name": evil, "result": evil}, role=Role.TOOL)
    chat.queued_messages.create(content=[text(evil)], size_bytes=1)
    Chat.objects.filter(pk=chat.pk).update(
        status="error", last_error={"message": evil, "detail": evil, "kind": evil}
    )

    html = html_of(page, chat) + page.get("/chats").content.decode()

    assert "<script>alert" not in html
    assert "<img src=x" not in html


def test_internal_fields_of_parts_stay_on_the_server(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()
    add_message(chat, {**text("Answer"), "provider_metadata": {"secret": "hush"}})

    assert "hush" not in html_of(page, chat)


def test_hidden_and_deleted_messages_are_not_shown(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()
    hidden, deleted = add_message(chat, text("for models")), add_message(chat, text("was cut"))
    hidden.visibility, deleted.deleted = Visibility.MODEL, True
    hidden.save()
    deleted.save()

    html = html_of(page, chat)

    assert "for models" not in html
    assert "was cut" not in html
    assert page.get(f"/chats/{chat.pk}/messages/{hidden.pk}").status_code == 404
    assert page.get(f"/chats/{chat.pk}/messages/{deleted.pk}").status_code == 404


def test_an_outsider_gets_the_same_404_as_for_a_chat_that_does_not_exist(
    carol: User, new_chat: NewChat
) -> None:
    chat = new_chat()
    client = browser_of(carol)
    message = chat.messages.filter(role=Role.USER).get()

    for path in ("", f"/messages/{message.pk}"):
        theirs = client.get(f"/chats/{chat.pk}{path}")
        missing = client.get(f"/chats/{uuid.uuid4()}{path}")
        assert theirs.status_code == missing.status_code == 404
        assert "Not found" in theirs.content.decode()
    for form in ("/send", "/interrupt", "/queue/1/remove", "/queue/1/promote"):
        assert client.post(f"/chats/{chat.pk}{form}", {"text": "hi"}).status_code == 404
    assert "Hello there" not in theirs.content.decode()


def test_a_reader_who_is_not_the_owner_can_only_read(root: User, new_chat: NewChat) -> None:
    chat = new_chat()

    html = html_of(browser_of(root), chat)

    assert "You are reading along. Only alice," in html
    assert "<textarea" not in html
    chat.refresh_from_db()
    assert chat.last_read_message_id is None


def test_an_archived_chat_can_only_be_read(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting", archived=True, archived_at=now())

    html = html_of(page, chat)

    assert "This chat is archived." in html
    assert "<textarea" not in html


def test_a_stored_message_is_had_alone(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()
    message = add_message(chat, text("*Answer*"))

    html = page.get(f"/chats/{chat.pk}/messages/{message.pk}").content.decode()

    assert f'data-message-id="{message.pk}"' in html
    assert "<em>Answer</em>" in html
    assert "<html" not in html


def test_a_message_of_another_chat_or_beyond_all_ids_is_not_found(
    page: Client, new_chat: NewChat
) -> None:
    chat, other = new_chat(), new_chat()
    message = add_message(other, text("Answer"))

    for message_id in (message.pk, 2**63, 10**30):
        assert page.get(f"/chats/{chat.pk}/messages/{message_id}").status_code == 404


def test_what_has_streamed_so_far_is_in_the_page(page: Client, running: Chat) -> None:
    stream(running, 1, {"type": "reasoning", "text": "Hmm"}, text("Rain"))
    stream(running, 2, text("bows <are>"))

    html = html_of(page, running)

    assert "Rainbows &lt;are&gt;" in html
    assert "Hmm" in html


def test_an_append_that_was_tried_again_is_shown_once(page: Client, running: Chat) -> None:
    for seq in (1, 2, 2, 3):
        stream(running, seq, text(f"word{seq} "))

    assert "word1 word2 word3" in html_of(page, running)


def test_parts_of_an_earlier_attempt_are_not_shown(page: Client, running: Chat) -> None:
    stream(running, 1, text("void"))
    Chat.objects.filter(pk=running.pk).update(attempt=2)

    assert "void" not in html_of(page, running)


def test_a_page_without_the_part_log_still_opens(
    page: Client, running: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise PartLogUnavailableError

    monkeypatch.setattr(type(live_backend()), "read_blocking", fail)

    assert "Hello there" in html_of(page, running)


def test_a_busy_page_reloads_itself_without_scripts_unless_held(
    page: Client, running: Chat
) -> None:
    refresh = '<noscript><meta http-equiv="refresh" content="2"></noscript>'

    assert refresh in html_of(page, running)
    assert refresh not in html_of(page, running, "?hold")


def test_an_idle_page_does_not_reload(page: Client, new_chat: NewChat) -> None:
    assert "http-equiv" not in html_of(page, new_chat(status="waiting"))


def test_an_error_is_told_with_its_kind_and_a_way_on(page: Client, new_chat: NewChat) -> None:
    error = {"message": "Acme is rate limiting requests.", "detail": "Wait.", "kind": "rate_limit"}
    chat = new_chat(status="error", last_error=error)

    html = html_of(page, chat)

    assert "Acme is rate limiting requests." in html
    assert "rate_limit" in html
    assert "Try again" in html
    assert "Hello there</textarea>" in html_of(page, chat, "?again")


def test_earlier_messages_are_reached_page_by_page(page: Client, new_chat: NewChat) -> None:
    chat = new_chat("The very first")
    rows = [add_message(chat, text(f"answer-{n}-")) for n in range(MESSAGES_PER_PAGE)]

    newest = html_of(page, chat)
    earlier = html_of(page, chat, f"?before={rows[0].pk}")

    assert f'href="?before={rows[0].pk}"' in newest
    assert 'id="m-' + str(rows[0].pk) in newest
    assert earlier.count("data-message-id") == 1
    assert "Back to the newest messages" in earlier
    assert 'data-live="no"' in earlier


@pytest.mark.parametrize("before", ["x", "-1", "²", "1.5"])
def test_a_broken_message_cursor_is_not_found(page: Client, new_chat: NewChat, before: str) -> None:
    assert page.get(f"/chats/{new_chat().pk}", {"before": before}).status_code == 404


def test_a_message_cursor_beyond_all_ids_is_harmless(page: Client, new_chat: NewChat) -> None:
    assert "Hello there" in html_of(page, new_chat(), f"?before={10**30}")


def test_the_page_names_the_message_from_which_the_stream_goes_on(
    page: Client, new_chat: NewChat
) -> None:
    chat = new_chat()
    last = add_message(chat, text("Answer"))

    assert f'data-newest-id="{last.pk}"' in html_of(page, chat)


def test_the_page_needs_the_same_queries_for_one_and_ten_messages(
    page: Client, new_chat: NewChat
) -> None:
    chat = new_chat()
    add_message(chat, text("1"))
    with CaptureQueriesContext(connection) as one:
        html_of(page, chat)
    for n in range(9):
        add_message(chat, text(str(n)))
    with CaptureQueriesContext(connection) as ten:
        html_of(page, chat)

    assert len(one) == len(ten)
