"""A person in a real browser, on the real product: live answer, reload, second tab, stop."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.product import ADMIN_PASSWORD
from tests.support.services import chromium

RUNS_ON = "embedded"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

CHAT = re.compile(r"/chats/[0-9a-f-]{36}")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def signed_in(context: BrowserContext) -> Page:
    """Sign in through the form, as a person does."""
    page = context.new_page()
    page.goto("/chats")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/chats")
    return page


@pytest.fixture
def context(chrome: Browser, web) -> Iterator[BrowserContext]:
    """A browser in which nothing that a script throws goes unnoticed."""
    thrown: list[str] = []
    context = chrome.new_context(base_url=web.url)
    context.on("weberror", lambda error: thrown.append(str(error.error)))
    context.set_default_timeout(15_000)
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
    assert provider.wait_for_disconnects(dropped + 1, timeout_seconds=5)
    page.reload()
    expect(answers(page).locator("p")).to_have_text("kept words")


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


def test_without_javascript_a_person_reads_sends_and_stops(chrome, web, gate):
    context = chrome.new_context(base_url=web.url, java_script_enabled=False)
    page = signed_in(context)
    gate("no scripts", "plain words ")
    page.get_by_role("textbox").fill("no scripts")
    page.get_by_role("button", name="Start chat").click()
    page.wait_for_url(CHAT)
    expect(live(page)).to_contain_text("plain words", timeout=15_000)
    page.get_by_role("button", name="Stop").click()
    expect(answers(page).locator("p")).to_have_text("plain words")
    context.close()
