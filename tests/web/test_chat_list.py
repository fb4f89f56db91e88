"""The list of chats and the form that starts one."""

import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import OrganizationMember, User
from chatd.chats.models import Chat, Role
from chatd.core.clock import now
from chatd.providers.models import AIProvider, ModelConfig
from chatd.web.selectors import CHATS_PER_PAGE
from tests.web.conftest import add_message, browser_of, text

NewChat = Callable[..., Chat]


def test_posting_a_message_starts_a_chat_and_leads_to_it(page: Client, model: ModelConfig) -> None:
    response = page.post("/chats", {"text": "Why is\r\nthe sky blue?", "model": str(model.pk)})

    chat = Chat.objects.get()
    assert response["Location"] == f"/chats/{chat.pk}"
    assert chat.client_type == "ui"
    assert chat.messages.get(role=Role.USER).content == [text("Why is\nthe sky blue?")]


def test_a_newcomer_is_told_what_to_type(page: Client, model: ModelConfig) -> None:
    html = page.get("/chats").content.decode()

    assert "No chats yet." in html
    assert "demo model" in html


def test_hints_for_the_demo_are_shown_for_the_demo_alone(page: Client, model: ModelConfig) -> None:
    AIProvider.objects.update(name="acme")

    assert "demo model" not in page.get("/chats").content.decode()


def test_without_a_model_the_page_says_who_can_help(page: Client, root: User) -> None:
    assert "Ask an administrator" in page.get("/chats").content.decode()
    assert 'href="/admin/"' in browser_of(root).get("/chats").content.decode()


@pytest.mark.parametrize("switched_off", ["model", "provider"])
def test_models_that_are_switched_off_cannot_be_picked(
    page: Client, model: ModelConfig, switched_off: str
) -> None:
    rows = ModelConfig.objects if switched_off == "model" else AIProvider.objects
    rows.update(enabled=False)

    assert "No model can be used yet." in page.get("/chats").content.decode()


def test_an_empty_message_is_refused_in_a_sentence(page: Client, model: ModelConfig) -> None:
    response = page.post("/chats", {"text": "  "})

    assert response.status_code == 400
    assert "Write a message first." in response.content.decode()


def test_a_refused_chat_keeps_the_text(page: Client, model: ModelConfig) -> None:
    response = page.post("/chats", {"text": "a <b>long</b> text", "model": str(uuid.uuid4())})

    assert response.status_code == 400
    assert "a &lt;b&gt;long&lt;/b&gt; text</textarea>" in response.content.decode()
    assert not Chat.objects.exists()


def test_someone_without_an_organisation_is_told_so(
    page: Client, alice: User, model: ModelConfig
) -> None:
    OrganizationMember.objects.filter(user=alice).delete()

    response = page.post("/chats", {"text": "Hello"})

    assert response.status_code == 403
    assert "not a member of any organisation" in response.content.decode()


def test_only_ones_own_chats_are_listed(carol: User, new_chat: NewChat, page: Client) -> None:
    new_chat("Alice alone")

    assert "Alice alone" in page.get("/chats").content.decode()
    assert "Alice alone" not in browser_of(carol).get("/chats").content.decode()


def test_a_new_answer_has_a_dot_until_the_chat_was_opened(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()
    add_message(chat, text("Answer"))
    dot, no_dot = '<span class="unread">', '<span class="unread" hidden>'
    row = page.get("/chats").content.decode().split("<template")[0]
    assert dot in row

    page.get(f"/chats/{chat.pk}")

    row = page.get("/chats").content.decode().split("<template")[0]
    assert dot not in row
    assert no_dot in row


def test_older_chats_are_reached_page_by_page(page: Client, new_chat: NewChat) -> None:
    chats = [new_chat(f"chat-{n}", updated_at=now()) for n in range(CHATS_PER_PAGE + 1)]

    first = page.get("/chats").content.decode()
    older = page.get(f"/chats?after={chats[1].pk}").content.decode()

    assert f"?after={chats[1].pk}" in first
    assert str(chats[0].pk) not in first
    assert str(chats[0].pk) in older
    assert "?after=" not in older


@pytest.mark.parametrize("after", ["nonsense", "1"])
def test_a_broken_cursor_is_not_found(page: Client, after: str) -> None:
    assert page.get(f"/chats?after={after}").status_code == 404


def test_the_list_needs_the_same_queries_for_one_and_ten_chats(
    page: Client, new_chat: NewChat
) -> None:
    new_chat()
    with CaptureQueriesContext(
        connection,
    ) as one:
        page.get("/chats")
    for _ in range(9):
        new_chat()
    with CaptureQueriesContext(connection) as ten:
        page.get("/chats")

    assert len(one) == len(ten)


def test_a_row_shows_what_the_latest_turn_came_to(page: Client, new_chat: NewChat) -> None:
    chat = new_chat()
    assert '<span class="chat-summary" hidden></span>' in page.get("/chats").content.decode()

    Chat.objects.filter(pk=chat.pk).update(last_turn_summary="Fixed <b>it</b> all")
    html = page.get("/chats").content.decode()
    assert '<span class="chat-summary">Fixed &lt;b&gt;it&lt;/b&gt; all</span>' in html
