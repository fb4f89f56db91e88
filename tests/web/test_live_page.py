"""The page of a chat in a real browser, with a stream whose every frame the test decides."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    Page,
    Route,
    WebSocketRoute,
    expect,
)
from pytest_django.live_server_helper import LiveServer

from chatd.accounts.models import User
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.wire import message_body
from chatd.core.clock import now
from chatd.spending.periods import Period, window_of
from tests.support.services import chromium
from tests.support.spending import limit_everybody, spend_in
from tests.web.conftest import add_message, browser_of, text

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

NewChat = Callable[..., Chat]
EVIL = "<img src=x onerror=document.title='owned'>"


class Stream:
    """The server's end of the stream socket."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sockets: list[WebSocketRoute] = []
        self.queries: list[str] = []
        page.route_web_socket("**/stream?*", self._opened)

    def _opened(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        self.queries.append(socket.url.partition("?")[2])

    def wait(self, connections: int = 1) -> None:
        while len(self.sockets) < connections:
            self.page.wait_for_timeout(10)  # lets Playwright work; the test's timeout bounds it

    def send(self, *events: dict[str, Any]) -> None:
        self.sockets[-1].send(json.dumps(events) + "\n")


def status(value: str) -> dict[str, Any]:
    return {"type": "status", "status": {"status": value}}


def part(words: str, kind: str = "text") -> dict[str, Any]:
    return {
        "type": "message_part",
        "message_part": {"role": "assistant", "part": {"type": kind, "text": words}},
    }


def stored(message: ChatMessage) -> dict[str, Any]:
    return {"type": "message", "message": message_body(message)}


@pytest.fixture
def tab(chrome: Browser, live_server: LiveServer, alice: User) -> Iterator[Page]:
    with _signed_in(chrome, live_server, alice) as page:
        yield page


@contextmanager
def _signed_in(
    chrome: Browser, live_server: LiveServer, alice: User, **options: Any
) -> Iterator[Page]:
    """Alice's tab, signed in. Anything that a script throws fails the test."""
    context = chrome.new_context(base_url=live_server.url, **options)
    session = browser_of(alice).cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page = context.new_page()
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield page
    context.close()
    assert thrown == []


@pytest.fixture
def opened(tab: Page, new_chat: NewChat) -> tuple[Chat, Stream]:
    """An idle chat whose page is open and connected."""
    chat = new_chat(status="waiting")
    return chat, open_chat(tab, chat)


def open_chat(tab: Page, chat: Chat) -> Stream:
    stream = Stream(tab)
    tab.goto(f"/chats/{chat.pk}")
    stream.wait()
    return stream


def test_streamed_words_become_the_stored_answer_and_stand_there_once(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    stream.send(status("running"))
    stream.send(part("Rain"), part("bows *are* "))
    expect(tab.locator("#live")).to_contain_text("Rainbows *are* ")

    answer = add_message(chat, text("Rainbows *are* light."))
    stream.send(part("light."), stored(answer), status("waiting"))

    expect(tab.locator(f"#m-{answer.pk} em")).to_have_text("are")
    expect(tab.locator("#live")).to_be_hidden()
    expect(tab.locator(".message-assistant:visible")).to_have_count(1)


def test_a_snapshot_takes_the_place_of_what_the_server_rendered(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    _, stream = opened
    tab.evaluate(
        "() => { const live = document.getElementById('live'); live.hidden = false;"
        " live.querySelector('.message-body').textContent = 'Once upon'; }"
    )

    stream.send(status("running"), part("Once upon a"), part(" time"))

    expect(tab.locator("#live .plain")).to_have_text("Once upon a time")
    expect(tab.locator("#live .message-body")).to_have_text("Once upon a time")


def test_in_a_snapshot_the_parts_belong_after_the_messages_that_follow_them(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    earlier = add_message(chat, text("Step one"))

    stream.send(status("running"), part("Step two begins"))
    stream.send(stored(earlier))

    expect(tab.locator(f"#m-{earlier.pk}")).to_contain_text("Step one")
    expect(tab.locator("#live")).to_contain_text("Step two begins")
    shown = tab.locator("#messages").inner_text()
    assert shown.index("Step one") < shown.index("Step two begins")


def test_a_step_that_ends_right_after_the_snapshot_is_not_doubled(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    answer = add_message(chat, text("Half and half"))

    stream.send(status("running"), part("Half "))
    stream.send(part("and half"))
    stream.send(stored(answer))

    expect(tab.locator(f"#m-{answer.pk}")).to_be_visible()
    expect(tab.locator("#live")).to_be_hidden()


def test_words_of_the_next_step_survive_the_arrival_of_the_one_before(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    first = add_message(chat, text("Step one"))
    held: list[Route] = []
    tab.route("**/messages/*", lambda route: route.continue_() if held else held.append(route))
    stream.send(status("pending"))
    stream.send(status("running"))

    stream.send(part("Step one"))
    with tab.expect_request("**/messages/*"):
        stream.send(stored(first), part("Step two"))
    expect(tab.locator("#live")).to_contain_text("Step two")
    held[0].continue_()

    expect(tab.locator(f"#m-{first.pk}")).to_contain_text("Step one")
    expect(tab.locator("#live")).to_have_text(
        "Assistant is answering Step two", use_inner_text=True
    )


def test_a_retry_drops_the_words_of_the_failed_attempt_and_says_why(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    _, stream = opened
    stream.send(status("running"))
    stream.send(part("void words"))
    expect(tab.locator("#live")).to_contain_text("void words")

    stream.send({"type": "retry", "retry": {"attempt": 1, "delay_ms": 1500, "error": EVIL}})

    expect(tab.locator("#live")).to_be_hidden()
    expect(tab.locator("#retry-notice")).to_have_text(f"Retrying in 2 s: {EVIL}")
    stream.send(part("fresh"))
    expect(tab.locator("#live .plain")).to_have_text("fresh")
    expect(tab.locator("#retry-notice")).to_be_hidden()


def test_when_history_is_cut_the_page_follows(tab: Page, opened: tuple[Chat, Stream]) -> None:
    chat, stream = opened
    cut = chat.messages.get(role=Role.USER)
    cut.deleted = True
    cut.save()
    edited = add_message(chat, text("Asked anew"), role=Role.USER)

    stream.send(stored(edited), {"type": "queue_update"}, status("pending"))

    expect(tab.locator(f"#m-{edited.pk}")).to_contain_text("Asked anew")
    expect(tab.locator(f"#m-{cut.pk}")).to_have_count(0)


def test_a_message_that_is_sent_again_is_not_doubled(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    first = chat.messages.get(role=Role.USER)

    with tab.expect_response(f"**/chats/{chat.pk}"):
        stream.send(stored(first))

    expect(tab.locator(f"[data-message-id='{first.pk}']")).to_have_count(1)


def test_a_broken_connection_resumes_behind_the_newest_message(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    answer = add_message(chat, text("Answer"))
    stream.send(status("running"))
    stream.send(part("Answer"), stored(answer), status("waiting"))
    expect(tab.locator(f"#m-{answer.pk}")).to_be_visible()

    stream.sockets[-1].close()
    stream.wait(connections=2)

    assert stream.queries[-1] == f"after_id={answer.pk}"
    stream.send(status("running"), part("More"))
    expect(tab.locator("#live .plain")).to_have_text("More")
    expect(tab.locator("#connection-hint")).to_be_hidden()


def test_queued_texts_and_errors_are_never_markup(tab: Page, opened: tuple[Chat, Stream]) -> None:
    chat, stream = opened
    queued = {"id": 5, "chat_id": str(chat.pk), "content": [text(EVIL)]}
    error = {"message": EVIL, "detail": EVIL, "kind": EVIL, "retryable": False}
    call = {"type": "tool-call", "tool_call_id": "1", "tool_name": EVIL, "args_delta": EVIL}

    stream.send(status("running"), part(EVIL), part(EVIL, "reasoning"))
    stream.send({"type": "message_part", "message_part": {"role": "assistant", "part": call}})
    stream.send({"type": "queue_update", "queued_messages": [queued]})
    expect(tab.locator(".queued-text")).to_have_text(EVIL)
    expect(tab.locator("#live .plain").first).to_have_text(EVIL)
    assert tab.locator("#chat img").count() == 0
    Chat.objects.filter(pk=chat.pk).update(status="error", last_error=error)
    stream.send({"type": "error", "error": error}, status("error"))

    expect(tab.locator("[data-error-message]")).to_have_text(EVIL)
    assert tab.locator("#chat img").count() == 0
    stream.send({"type": "queue_update"})
    expect(tab.locator("#queue-section")).to_be_hidden()


def test_an_error_outlives_a_page_that_was_made_before_it(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    tab.route(f"**/chats/{chat.pk}", hold_first)
    stream.send(status("running"))
    stream.sockets[-1].close()
    stream.wait(connections=2)
    while not held:
        tab.wait_for_timeout(10)
    before = held[0].fetch()

    error = {"message": "It broke", "detail": "", "kind": "generic", "retryable": False}
    Chat.objects.filter(pk=chat.pk).update(status="error", last_error=error)
    stream.send(status("running"))
    stream.send({"type": "error", "error": error}, status("error"))
    expect(tab.locator("[data-error-message]")).to_have_text("It broke")
    held[0].fulfill(response=before)

    tab.wait_for_timeout(300)
    expect(tab.locator("#error-notice")).to_be_visible()
    expect(tab.locator("[data-error-message]")).to_have_text("It broke")


def test_enter_sends_and_shift_enter_does_not(tab: Page, opened: tuple[Chat, Stream]) -> None:
    chat, _ = opened
    box = tab.get_by_label("Your message")
    box.fill("two")
    box.press("Shift+Enter")
    box.press_sequentially("lines")

    with tab.expect_response("**/messages") as answer:
        box.press("Enter")

    assert answer.value.ok
    expect(box).to_have_value("")
    sent = chat.messages.filter(role=Role.USER).latest("id")
    assert sent.content == [text("two\nlines")]


def test_what_cannot_be_sent_stays_in_the_box_with_the_reason(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    refusal = {"message": "Message queue is full.", "detail": "Maximum 20 messages."}
    tab.route("**/messages", lambda route: route.fulfill(status=429, json=refusal))
    box = tab.get_by_label("Your message")
    box.fill("precious")

    box.press("Enter")

    expect(tab.locator("#send-error")).to_have_text("Message queue is full. Maximum 20 messages.")
    expect(box).to_have_value("precious")
    expect(box).to_be_editable()


def test_who_has_used_up_a_limit_is_told_until_when_in_their_own_time(
    chrome: Browser, live_server: LiveServer, alice: User, new_chat: NewChat
) -> None:
    chat = new_chat(status="waiting")
    limit_everybody(1_500_000)
    spend_in(chat, 2_000_000)
    end = window_of(Period.MONTH, now()).end
    with _signed_in(chrome, live_server, alice, timezone_id="Asia/Kolkata", locale="en-GB") as tab:
        open_chat(tab, chat)
        box = tab.get_by_label("Your message")
        box.fill("precious")
        box.press("Enter")
        expect(tab.locator("#send-error")).to_have_text(
            "Chat usage limit exceeded. You have spent $2.00; the limit is $1.50. You can go on"
            f" when it starts anew: {end.day} {end:%B %Y} at 05:30."
        )
        expect(box).to_have_value("precious")
        tab.locator("#title-edit summary").click()
        tab.get_by_role("button", name="Suggest a title").click()
        expect(tab.locator("#title-form time")).to_have_text(f"{end.day} {end:%B %Y} at 05:30")
        tab.goto("/chats")
        tab.get_by_label("Your message").fill("precious")
        tab.get_by_role("button", name="Start chat").click()
        expect(tab.locator(".notice-error time")).to_have_text(f"{end.day} {end:%B %Y} at 05:30")
        expect(tab.get_by_label("Your message")).to_have_value("precious")


def test_a_draft_survives_a_reload(tab: Page, opened: tuple[Chat, Stream]) -> None:
    tab.get_by_label("Your message").fill("half a thought")

    tab.reload()

    expect(tab.get_by_label("Your message")).to_have_value("half a thought")


def test_stop_says_at_once_that_it_is_under_way(tab: Page, opened: tuple[Chat, Stream]) -> None:
    _, stream = opened
    stop = tab.locator("#stop-form button")
    expect(stop).to_be_hidden()
    stream.send(status("running"))

    with tab.expect_request("**/interrupt"):
        stop.click()

    expect(stop).to_have_text("Stopping…")
    stream.send(status("waiting"))
    expect(stop).to_be_hidden()


def test_a_screen_reader_hears_sentences_and_not_words(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    _, stream = opened
    announcer = tab.locator("#announcer")
    stream.send(status("running"))
    expect(announcer).to_contain_text("Answering")

    stream.send(part("Rain **falls**. And th"))
    expect(announcer).to_contain_text("Rain falls .")
    expect(announcer).not_to_contain_text("And th")
    expect(tab.locator("#messages")).to_have_attribute("aria-live", "off")


def test_a_compaction_is_one_line_while_it_runs_and_when_it_is_stored(
    tab: Page, opened: tuple[Chat, Stream]
) -> None:
    chat, stream = opened
    named = {"tool_call_id": "chat_summarized_1", "tool_name": "chat_summarized"}
    call, result = {"type": "tool-call", **named}, {"type": "tool-result", **named}
    stream.send(status("running"), part("The answer."))
    answer = add_message(chat, text("The answer."))
    stream.send(stored(answer))
    stream.send(
        {"type": "message_part", "message_part": {"role": "assistant", "part": call}},
    )
    expect(tab.locator("#live summary")).to_have_text("Summarising earlier messages")
    asked = add_message(chat, {**call, "args": {"source": "automatic"}})
    told = {**result, "result": {"summary": "- Goal: **rain**\n- Done: wind"}}
    answered = add_message(chat, told, role=Role.TOOL)
    stream.send(stored(asked), stored(answered))
    stream.send({"type": "message_part", "message_part": {"role": "tool", "part": told}})
    line = tab.locator(".part-summary")
    for _ in range(2):
        expect(line).to_have_count(1)
        expect(line.locator("summary")).to_have_text(
            "Earlier messages were summarised to make room"
        )
        expect(tab.locator(f"#m-{asked.pk}")).to_be_hidden()
        expect(tab.locator("#live")).to_be_hidden()
        line.locator("summary").click()
        expect(line.locator("strong")).to_have_text("rain")
        tab.reload()
