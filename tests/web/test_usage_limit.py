"""Who has used up a limit is told on the page: what was spent, of what, and until when."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.test import Client

from chatd.chats.models import Chat, ChatMessage, Role
from chatd.spending.periods import Period
from chatd.web.templatetags.pages import dollars
from tests.support.spending import limit_everybody, spend_in

NewChat = Callable[..., Chat]

SENTENCE = "You have spent $12.35; the limit is $0.0005 a week."
ANEW = (
    'You can go on when it starts anew: <time datetime="2026-07-06T00:00:00+00:00" data-local>'
    "6 July 2026, 00:00 UTC</time>."
)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 7, 1, 12, tzinfo=UTC), tick=False):
        yield


@pytest.fixture
def spent(new_chat: NewChat) -> Chat:
    """An idle chat of Alice, who has used up her limit."""
    chat = new_chat(status="waiting")
    limit_everybody(500, Period.WEEK)
    spend_in(chat, 12_345_678)
    return chat


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/chats", {"text": "one\r\n<more>"}),
        ("/chats/{chat}/send", {"text": "one\r\n<more>"}),
        ("/chats/{chat}/messages/{message}/edit", {"text": "one\r\n<more>"}),
    ],
)
def test_a_refused_message_stays_in_the_box_and_the_reason_stands_above(
    page: Client, spent: Chat, path: str, form: dict[str, str]
) -> None:
    message = ChatMessage.objects.get(chat=spent, role=Role.USER)
    response = page.post(path.format(chat=spent.pk, message=message.pk), form)
    html = response.content.decode()
    assert response.status_code == 409
    assert "Chat usage limit exceeded." in html
    assert SENTENCE in html
    assert ANEW in html
    assert "&lt;more&gt;</textarea>" in html
    assert "Your text is still in the box." in html
    assert "js/" in html, "scripts show the time in the reader's own zone"


def test_a_title_that_is_not_suggested_says_why(page: Client, spent: Chat) -> None:
    response = page.post(f"/chats/{spent.pk}/title/suggest", {"title": "By hand"})
    html = response.content.decode()
    assert response.status_code == 409
    assert SENTENCE in html
    assert 'value="By hand"' in html


def test_other_refusals_speak_of_no_limit(page: Client, spent: Chat) -> None:
    html = page.post(f"/chats/{spent.pk}/send", {"text": " "}).content.decode()
    assert "Write a message first." in html
    assert "spent" not in html


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (500, "$0.0005"),
        (10_000, "$0.01"),
        (120_000, "$0.12"),
        (999_999, "$0.999999"),
        (1_000_000, "$1.00"),
        (1_234_567, "$1.23"),
        (1_234_567_890_000, "$1,234,567.89"),
    ],
)
def test_money_is_shown_in_cents_or_exactly(micros: int, shown: str) -> None:
    assert dollars(micros) == shown
