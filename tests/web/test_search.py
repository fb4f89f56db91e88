"""The search box over the list of chats, and the way to the message that was found."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.chats import states
from chatd.chats.models import Chat, ChatMessage
from chatd.chats.properties import ChatChanges, update_chat
from chatd.web.selectors import CHATS_PER_PAGE, MESSAGES_PER_PAGE
from tests.support.people import user_content
from tests.web.conftest import add_message, text

NewChat = Callable[..., Chat]


def html_of(page: Client, path: str, status: int = 200) -> str:
    response = page.get(path)
    assert response.status_code == status
    return str(response.content.decode())


def test_the_box_appears_with_the_first_chat(page: Client, new_chat: NewChat) -> None:
    assert 'role="search"' not in html_of(page, "/chats")
    new_chat()
    assert 'role="search"' in html_of(page, "/chats")


def test_what_is_found_is_shown_with_its_context(page: Client, new_chat: NewChat) -> None:
    chat = new_chat("Where do I find the <b>boarding</b> pass?")
    new_chat("Something else")
    html = html_of(page, "/chats?q=boarding+pass")
    found = ChatMessage.objects.get(chat=chat, role="user")
    assert html.count('class="chat-row" data-chat-id') == 1
    assert "the &lt;b&gt;<mark>boarding</mark>&lt;/b&gt; <mark>pass</mark>?" in html
    assert f'href="/chats/{chat.pk}?at={found.pk}#m-{found.pk}"' in html
    assert 'value="boarding pass"' in html
    assert 'data-live="no"' in html, "the watch socket must not add chats that were not found"


def test_a_title_that_is_found_leads_to_the_newest_messages(
    page: Client, new_chat: NewChat, alice: User
) -> None:
    chat = new_chat("Where is the boarding pass?", status="waiting")
    update_chat(Actor(alice), chat.pk, lambda: ChatChanges(title="Trip to Lisbon"))
    html = html_of(page, "/chats?q=lisbon")
    assert f'href="/chats/{chat.pk}#latest"' in html
    assert "Trip to <mark>Lisbon</mark>" in html


def test_a_search_without_result_says_so(page: Client, new_chat: NewChat) -> None:
    new_chat()
    assert "No chat has all of these words" in html_of(page, "/chats?q=zebra")


def test_a_search_without_a_word_is_refused_in_a_sentence(page: Client, new_chat: NewChat) -> None:
    new_chat()
    html = html_of(page, "/chats?q=%3F%21", status=400)
    assert "The search must contain a letter or a digit." in html
    assert 'value="?!"' in html


def test_a_blank_search_is_the_list(page: Client, new_chat: NewChat) -> None:
    new_chat()
    assert 'id="new-chat"' in html_of(page, "/chats?q=+")


def test_more_than_a_page_of_results_can_be_paged(page: Client, new_chat: NewChat) -> None:
    for number in range(CHATS_PER_PAGE + 2):
        new_chat(f"heron number {number}")
    first = html_of(page, "/chats?q=heron")
    link = re.search(r'href="(/chats\?q=heron&amp;after=[^"]+)"', first)
    assert link
    second = html_of(page, link[1].replace("&amp;", "&"))
    rows = re.findall(r'class="chat-row" data-chat-id="([^"]+)"', first + second)
    assert len(rows) == len(set(rows)) == CHATS_PER_PAGE + 2


@pytest.mark.parametrize("later", [0, 5, MESSAGES_PER_PAGE - 1, MESSAGES_PER_PAGE, 120])
def test_the_page_of_a_message_shows_it(page: Client, new_chat: NewChat, later: int) -> None:
    chat = new_chat()
    for number in range(60):
        add_message(chat, text(f"before {number}"))
    wanted = add_message(chat, text("the one"))
    for number in range(later):
        add_message(chat, text(f"after {number}"))
    html = html_of(page, f"/chats/{chat.pk}?at={wanted.pk}")
    assert f'id="m-{wanted.pk}"' in html
    assert ("Back to the newest messages" in html) is (later >= MESSAGES_PER_PAGE)


@pytest.mark.parametrize("at", ["x", "-1", "1.5"])
def test_a_message_that_cannot_be_is_a_404(page: Client, new_chat: NewChat, at: str) -> None:
    html_of(page, f"/chats/{new_chat().pk}?at={at}", status=404)


def test_the_message_of_somebody_else_is_a_404(page: Client, new_chat: NewChat, cast) -> None:
    chat = new_chat()
    other = Client()
    other.force_login(cast.bob)
    html_of(other, f"/chats/{chat.pk}?at=1", status=404)


def test_a_message_that_is_sent_later_is_found_too(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    states.send_message(chat.pk, user_content(chat.owner_id, "about gannets"))
    assert "<mark>gannet</mark>" not in html_of(page, "/chats?q=gannet")
    assert "about <mark>gannets</mark>" in html_of(page, "/chats?q=gannet")
