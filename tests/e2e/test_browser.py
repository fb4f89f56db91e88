"""A person in a real browser, on the real product: live answer, reload, second tab, stop."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from chatd.chattest.openai import OpenAIHandler, non_streaming_response
from tests.e2e.provider import in_turn
from tests.support.browser import signed_in
from tests.support.services import chromium

RUNS_ON = "embedded"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

CHAT = re.compile(r"/chats/[0-9a-f-]{36}")


@pytest.fixture
def context(chrome: Browser, web) -> Iterator[BrowserContext]:
    """A browser in which nothing that a script throws, or a policy forbids, goes unnoticed."""
    thrown: list[str] = []
    context = chrome.new_context(base_url=web.url)
    context.on("weberror", lambda error: thrown.append(str(error.error)))
    context.on("console", lambda line: thrown.append(line.text) if "Policy" in line.text else None)
    yield context
    context.close()
    assert thrown == []


def ask(page: Page, words: str) -> None:
    page.get_by_role("textbox").fill(words)
    page.keyboard.press("Enter")


def start_chat(page: Page, words: str) -> None:
    ask(page, words)
    page.wait_for_url(CHAT)


def live(page: Page):
    return page.locator("#live .message-body")


def answers(page: Page):
    return page.locator("article.message-assistant:not(#live)")


def test_the_answer_appears_as_it_comes_and_stays_as_it_was_stored(context, gate):
    page = signed_in(context)
    held = gate("watch me", "One ")
    start_chat(page, "watch me")
    expect(live(page)).to_have_text(re.compile(r"^\s*One\s*$"))
    held.send("two ")
    expect(live(page)).to_have_text(re.compile(r"^\s*One two\s*$"))
    held.end("**three**")
    expect(answers(page)).to_have_count(1)
    expect(answers(page).locator("strong")).to_have_text("three")
    expect(page.locator("#live")).to_be_hidden()
    expect(page.locator("#status-badge")).to_have_attribute("data-status", "waiting")


def test_the_columns_of_a_table_are_aligned_as_the_model_says(context, gate):
    page = signed_in(context)
    gate("align me", "| a | b | c |\n| - | :-: | -: |\n| 1 | 2 | 3 |").end()
    start_chat(page, "align me")
    cells = answers(page).locator("td")
    for cell, side in zip(range(3), ("left", "center", "right"), strict=True):
        expect(cells.nth(cell)).to_have_css("text-align", side)


def test_a_reload_in_the_middle_shows_what_had_come_and_goes_on(context, gate):
    page = signed_in(context)
    held = gate("reload me", "before ")
    start_chat(page, "reload me")
    expect(live(page)).to_contain_text("before")
    page.reload()
    expect(live(page)).to_have_text(re.compile(r"^\s*before\s*$"))
    held.send("after ")
    expect(live(page)).to_have_text(re.compile(r"^\s*before after\s*$"))
    held.end("end")
    expect(answers(page)).to_have_count(1)
    expect(answers(page).locator("p")).to_have_text("before after end")


def test_a_second_tab_shows_the_same(context, gate):
    page = signed_in(context)
    held = gate("two tabs", "same ")
    start_chat(page, "two tabs")
    expect(live(page)).to_contain_text("same")
    other = context.new_page()
    other.goto(page.url)
    held.send("words ")
    for tab in (page, other):
        expect(live(tab)).to_have_text(re.compile(r"^\s*same words\s*$"))
    held.end("here")
    for tab in (page, other):
        expect(answers(tab)).to_have_count(1)
        expect(answers(tab).locator("p")).to_have_text("same words here")


def test_stop_keeps_what_had_come_as_a_message(context, gate, provider):
    page = signed_in(context)
    dropped = provider.disconnects
    gate("stop me", "kept words ")
    start_chat(page, "stop me")
    expect(live(page)).to_contain_text("kept words")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page)).to_have_count(1)
    expect(answers(page).locator("p")).to_have_text("kept words")
    expect(page.locator("#status-badge")).to_have_attribute("data-status", "waiting")
    assert provider.wait_for_disconnects(dropped + 1)
    page.reload()
    expect(answers(page).locator("p")).to_have_text("kept words")


@pytest.mark.parametrize("width", [360, 390])
def test_on_a_phone_the_title_can_be_read_while_an_answer_comes(context, gate, width):
    page = signed_in(context)
    page.set_viewport_size({"width": width, "height": 800})
    words = "a narrow page says what this chat is about"
    held = gate(words, "One ")
    start_chat(page, words)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    title = page.locator(".chat-heading").bounding_box()
    assert title is not None
    assert title["width"] >= width / 6
    assert page.locator("#status-badge").text_content() == "Answering"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    held.end("two")
    expect(page.locator("#status-badge")).to_have_text("Ready")


def test_a_message_written_meanwhile_waits_and_is_then_answered(context, gate):
    page = signed_in(context)
    held = gate("be long", "first ")
    start_chat(page, "be long")
    expect(live(page)).to_contain_text("first")
    ask(page, "and then this")
    expect(page.locator("#queue li")).to_have_count(1)
    held.end("answer")
    expect(answers(page)).to_have_count(2)
    expect(page.locator("#queue li")).to_have_count(0)


NO_TITLE = "far too many words for a title of any chat at all"


def named(*titles: str) -> OpenAIHandler:
    """Answer requests for titles with these, one after the other."""
    return in_turn(*[lambda _, title=title: non_streaming_response(title) for title in titles])


def test_a_chat_is_renamed_in_place_with_a_suggested_title(context, provider):
    page = signed_in(context)
    provider.title("what is it", named(NO_TITLE, '{"title": "A better name"}'))
    start_chat(page, "what is it")
    expect(page.locator("#status-badge")).to_have_attribute("data-status", "waiting")
    address = page.url
    page.get_by_role("textbox", name="Your message").fill("a draft")
    page.locator("summary", has_text="Rename").click()
    box = page.get_by_label("Title")
    expect(box).to_be_focused()
    page.get_by_role("button", name="Suggest a title").click()
    expect(box).to_have_value("A better name")
    expect(page.locator("h1")).to_have_text("what is it")
    box.fill("An even better name")
    box.press("Enter")
    expect(page.locator("h1")).to_have_text("An even better name")
    expect(box).to_be_hidden()
    expect(page).to_have_title("An even better name · chatd")
    assert page.url == address
    expect(page.get_by_role("textbox", name="Your message")).to_have_value("a draft")


def test_a_title_that_comes_by_itself_is_shown_at_once(context, client, provider):
    page = signed_in(context)
    provider.title("name me yourself", named("Named by itself"))
    start_chat(page, "name me yourself")
    expect(page.locator("h1")).to_have_text("Named by itself")
    expect(page).to_have_title("Named by itself · chatd")
    chat = page.locator("#chat").get_attribute("data-chat-id")
    path = f"/api/experimental/chats/{chat}"
    client.call("PATCH", path, {"title": "Named from elsewhere"}, expect=204)
    expect(page.locator("h1")).to_have_text("Named from elsewhere")
    page.locator("summary", has_text="Rename").click()
    expect(page.get_by_label("Title")).to_have_value("Named from elsewhere")
    page.get_by_label("Title").fill("half of a new")
    client.call("PATCH", path, {"title": "Named once more"}, expect=204)
    expect(page.locator("h1")).to_have_text("Named once more")
    expect(page.get_by_label("Title")).to_have_value("half of a new")


def test_a_title_that_is_refused_says_why_and_escape_closes_the_form(context, provider):
    page = signed_in(context)
    provider.title("refuse me", named(NO_TITLE))
    start_chat(page, "refuse me")
    expect(page.locator("#status-badge")).to_have_attribute("data-status", "waiting")
    page.locator("summary", has_text="Rename").click()
    page.get_by_role("button", name="Suggest a title").click()
    expect(page.locator("#title-form [role=alert]")).to_contain_text("Failed to generate")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Title")).to_be_hidden()
    expect(page.locator("summary", has_text="Rename")).to_be_focused()


def test_without_javascript_a_person_reads_sends_stops_and_renames(chrome, web, gate, provider):
    context = chrome.new_context(base_url=web.url, java_script_enabled=False)
    page = signed_in(context)
    gate("no scripts", "plain words ")
    page.get_by_role("textbox").fill("no scripts")
    page.get_by_role("button", name="Start chat").click()
    page.wait_for_url(CHAT)
    expect(live(page)).to_contain_text("plain words")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page).locator("p")).to_have_text("plain words")
    provider.title("no scripts", named("Named without scripts"))
    page.locator("summary", has_text="Rename").click()
    page.get_by_role("button", name="Suggest a title").click()
    expect(page.get_by_label("Title")).to_have_value("Named without scripts")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("Named without scripts")
    context.close()


def test_the_list_shows_the_title_and_what_the_turn_came_to_as_they_come(context, client):
    page = signed_in(context)
    chat = client.create_chat("tell me in a list what the turn came to, please")
    row = page.locator(f'[data-chat-id="{chat["id"]}"]')
    for _ in range(2):  # by events, and from the server
        expect(row.locator(".chat-title")).to_have_text("A title of the fake")
        expect(row.locator(".chat-summary")).to_have_text("Answered by the fake")
        expect(row.locator(".chat-summary")).to_be_visible()
        page.reload()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(row.locator(".chat-summary")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
