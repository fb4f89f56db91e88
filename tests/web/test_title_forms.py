"""The form that names a chat, without scripts: by hand, or with a suggested title."""

import re
from collections.abc import Callable, Iterator

import pytest
from django.http import HttpResponse
from django.test import Client

from chatd.accounts.models import OrganizationMember, OrganizationRole, User
from chatd.chats.models import Chat
from chatd.chats.titles import TITLE_LOCKED
from chatd.chattest.demo import DemoServer
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.web.titles import NOTHING_TO_NAME, SAME, SUGGESTED
from tests.conftest import Cast
from tests.web.conftest import browser_of

NewChat = Callable[..., Chat]

BOX = re.compile(r'<input id="title"[^>]* value="([^"]*)"')
QUESTION = "Explain how rainbows form, in three sentences."


@pytest.fixture
def model(db: None) -> Iterator[ModelConfig]:
    """The offline demo model."""
    with DemoServer(pace=0) as server:
        provider = AIProvider.objects.create(
            type="openai-compat", name="demo", base_url=server.base_url
        )
        yield save_model_config(ModelConfig(ai_provider=provider, model="demo-1", is_default=True))


def html_of(response: HttpResponse) -> str:
    return response.content.decode()


def box(response: HttpResponse) -> str:
    found = BOX.search(html_of(response))
    assert found is not None
    return found[1]


def is_open(response: HttpResponse) -> bool:
    return 'id="title-edit" open' in html_of(response)


def title_of(chat: Chat) -> str:
    return Chat.objects.get(pk=chat.pk).title


def test_the_page_has_a_closed_form_with_the_title_in_it(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(title='Say "hi" <now>')
    response = page.get(f"/chats/{chat.pk}")
    assert box(response) == "Say &quot;hi&quot; &lt;now&gt;"
    assert not is_open(response)
    assert '<label for="title">Title</label>' in html_of(response)


def test_saving_renames_and_leads_to_the_chat(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    response = page.post(f"/chats/{chat.pk}/title", {"title": " By hand "})
    assert response["Location"] == f"/chats/{chat.pk}"
    assert title_of(chat) == "By hand"
    assert '<h1 class="chat-heading">By hand</h1>' in html_of(page.get(f"/chats/{chat.pk}"))


@pytest.mark.parametrize(
    ("title", "status", "reason"),
    [
        (" ", 400, "Title cannot be empty."),
        ("x" * 201, 400, "Title must be at most 200 characters."),
        ("By hand", 409, TITLE_LOCKED),
    ],
)
def test_a_refused_title_stays_in_the_open_form_with_the_reason(
    page: Client, new_chat: NewChat, title: str, status: int, reason: str
) -> None:
    chat = new_chat(**({"status": "waiting"} if status == 400 else {}))
    response = page.post(f"/chats/{chat.pk}/title", {"title": title})
    assert (response.status_code, box(response), is_open(response)) == (status, title, True)
    assert html_of(response).count(reason) == 1, "in the form, and not at the composer too"
    assert "http-equiv" not in html_of(response), "what was typed is not reloaded away"
    assert title_of(chat) == chat.title


def test_a_suggestion_is_shown_and_not_stored(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(QUESTION, status="waiting")
    response = page.post(f"/chats/{chat.pk}/title/suggest", {"title": "typed"})
    assert (response.status_code, box(response), is_open(response)) == (
        200,
        "How rainbows form",
        True,
    )
    assert SUGGESTED in html_of(response)
    assert title_of(chat) == chat.title != "How rainbows form"


def test_a_suggestion_of_the_same_title_says_so(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(QUESTION, status="waiting", title="How rainbows form")
    assert SAME in html_of(page.post(f"/chats/{chat.pk}/title/suggest"))


def test_without_messages_there_is_nothing_to_suggest(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    chat.messages.update(deleted=True)
    response = page.post(f"/chats/{chat.pk}/title/suggest", {"title": "typed"})
    assert NOTHING_TO_NAME in html_of(response)
    assert box(response) == "typed"


def test_a_suggestion_that_fails_leaves_what_was_typed(
    page: Client, new_chat: NewChat, model: ModelConfig
) -> None:
    chat = new_chat(status="waiting")
    ModelConfig.objects.update(enabled=False)
    response = page.post(f"/chats/{chat.pk}/title/suggest", {"title": "typed"})
    assert (response.status_code, box(response)) == (500, "typed")
    assert "Failed to generate chat title." in html_of(response)
    assert "The model of this chat has been disabled." in html_of(response)


@pytest.mark.parametrize("path", ["title", "title/suggest"])
def test_a_chat_of_somebody_else_is_not_found(carol: User, new_chat: NewChat, path: str) -> None:
    chat = new_chat(status="waiting")
    response = browser_of(carol).post(f"/chats/{chat.pk}/{path}", {"title": "Mine"})
    assert response.status_code == 404
    assert title_of(chat) == chat.title


def test_an_administrator_may_rename_but_is_offered_no_suggestion(
    cast: Cast, new_chat: NewChat
) -> None:
    OrganizationMember.objects.filter(user=cast.bob).update(roles=[OrganizationRole.ADMIN.value])
    chat, browser = new_chat(status="waiting"), browser_of(cast.bob)
    assert "Suggest a title" not in html_of(browser.get(f"/chats/{chat.pk}"))
    assert browser.post(f"/chats/{chat.pk}/title/suggest").status_code == 403
    browser.post(f"/chats/{chat.pk}/title", {"title": "Tidied"})
    assert title_of(chat) == "Tidied"


def test_who_only_reads_along_sees_no_form(cast: Cast, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    Chat.objects.filter(pk=chat.pk).update(user_acl={str(cast.bob.pk): {"permissions": ["read"]}})
    assert "title-edit" not in html_of(browser_of(cast.bob).get(f"/chats/{chat.pk}"))


@pytest.mark.parametrize("path", ["title", "title/suggest"])
def test_following_a_form_as_a_link_leads_to_the_chat(
    page: Client, new_chat: NewChat, path: str
) -> None:
    chat = new_chat()
    assert page.get(f"/chats/{chat.pk}/{path}")["Location"] == f"/chats/{chat.pk}"


@pytest.mark.parametrize("path", ["title", "title/suggest"])
def test_nobody_is_led_to_the_sign_in(new_chat: NewChat, path: str) -> None:
    response = Client().post(f"/chats/{new_chat().pk}/{path}")
    assert response["Location"].startswith("/login")
