"""The forms of a chat: send, stop, and the queue, all without scripts."""

from collections.abc import Callable

import pytest
from django.test import Client

from chatd.chats.models import Chat, Role, Status
from chatd.chats.moves import MAX_QUEUED
from chatd.core.clock import now
from tests.web.conftest import text

NewChat = Callable[..., Chat]


def user_texts(chat: Chat) -> list[str]:
    rows = chat.messages.filter(role=Role.USER).order_by("id")
    return [row.content[0]["text"] for row in rows]


def queue(chat: Chat, *texts: str) -> list[int]:
    return [chat.queued_messages.create(content=[text(value)], size_bytes=10).pk for value in texts]


def test_sending_to_an_idle_chat_starts_a_turn(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")

    response = page.post(f"/chats/{chat.pk}/send", {"text": "And then?"})

    assert response["Location"] == f"/chats/{chat.pk}#latest"
    chat.refresh_from_db()
    assert chat.status == Status.PENDING
    assert user_texts(chat) == ["Hello there", "And then?"]


def test_sending_to_a_busy_chat_queues(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()

    page.post(f"/chats/{chat.pk}/send", {"text": "Later", "busy_behavior": "queue"})

    html = page.get(f"/chats/{chat.pk}").content.decode()
    assert chat.queued_messages.count() == 1
    assert '<span class="queued-text">Later</span>' in html


def test_interrupting_sends_at_once(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="requires_action", action_deadline_at=now())

    page.post(f"/chats/{chat.pk}/send", {"text": "Instead", "busy_behavior": "interrupt"})

    assert user_texts(chat) == ["Hello there", "Instead"]


def test_stop_ends_the_turn(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="requires_action", action_deadline_at=now())

    response = page.post(f"/chats/{chat.pk}/interrupt")

    assert response.status_code == 302
    chat.refresh_from_db()
    assert chat.status == Status.WAITING


def test_a_queued_message_can_be_removed_and_twice_does_no_harm(
    page: Client, new_chat: NewChat
) -> None:
    chat = new_chat()
    first, second = queue(chat, "one", "two")

    for _ in range(2):
        response = page.post(f"/chats/{chat.pk}/queue/{first}/remove")
        assert response.status_code == 302

    assert [row.pk for row in chat.queued_messages.all()] == [second]


def test_a_queued_message_can_be_sent_now(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    _, second = queue(chat, "one", "two")

    page.post(f"/chats/{chat.pk}/queue/{second}/promote")

    assert user_texts(chat) == ["Hello there", "two"]
    assert chat.queued_messages.count() == 1


def test_a_refused_message_stays_in_the_box(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()
    queue(chat, *(str(n) for n in range(MAX_QUEUED)))

    response = page.post(f"/chats/{chat.pk}/send", {"text": "one\r\n<too> many"})

    html = response.content.decode()
    assert response.status_code == 429
    assert "Message queue is full." in html
    assert "one\n&lt;too&gt; many</textarea>" in html
    assert "http-equiv" not in html


def test_an_archived_chat_refuses_with_its_page(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting", archived=True, archived_at=now())

    response = page.post(f"/chats/{chat.pk}/send", {"text": "Hello?"})

    assert response.status_code == 400
    assert "This chat is archived." in response.content.decode()


@pytest.mark.parametrize("form", [{"text": " "}, {"text": "hi", "model": "x"}, {}])
def test_a_form_that_cannot_be_sent_is_refused_in_a_sentence(
    page: Client, new_chat: NewChat, form: dict[str, str]
) -> None:
    chat = new_chat(status="waiting")

    response = page.post(f"/chats/{chat.pk}/send", form)

    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    assert user_texts(chat) == ["Hello there"]


@pytest.mark.parametrize("path", ["send", "interrupt", "queue/1/remove", "queue/1/promote"])
def test_following_a_form_as_a_link_leads_to_the_chat(
    page: Client, new_chat: NewChat, path: str
) -> None:
    chat = new_chat()

    assert page.get(f"/chats/{chat.pk}/{path}")["Location"] == f"/chats/{chat.pk}#latest"


@pytest.mark.parametrize("command", ["remove", "promote"])
def test_an_id_beyond_all_ids_is_harmless(page: Client, new_chat: NewChat, command: str) -> None:
    response = page.post(f"/chats/{new_chat().pk}/queue/{10**30}/{command}")

    assert response.status_code in {302, 404, 409}
