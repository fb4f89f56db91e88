"""An administrator in a real browser, wide and narrow: a setting, a limit, a chat that runs."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browser import signed_in
from tests.support.client import Client
from tests.support.services import chromium

RUNS_ON = "embedded"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

SETTINGS = "/admin/preferences/sitesetting/"
LIMITS = "/admin/spending/usagelimitconfig/"
CONFIG = "/api/experimental/chats/config"


@pytest.fixture(params=[1280, 390])
def context(request: pytest.FixtureRequest, chrome: Browser, web) -> Iterator[BrowserContext]:
    """A browser in which nothing that a script throws goes unnoticed."""
    thrown: list[str] = []
    size = {"width": request.param, "height": 900}
    context = chrome.new_context(base_url=web.url, viewport=size)
    context.on("weberror", lambda error: thrown.append(str(error.error)))
    yield context
    context.close()
    assert thrown == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return signed_in(context)


@pytest.fixture
def untouched(client: Client) -> Iterator[None]:
    """The product is shared, so what a test sets is taken back."""
    yield
    client.call("PUT", f"{CONFIG}/plan-mode-instructions", {}, expect=204)
    client.call("PUT", f"{CONFIG}/auto-archive-days", {}, expect=204)
    client.call("PUT", "/api/experimental/chats/usage-limits", {"spend_limit_micros": None})


def fits(page: Page) -> bool:
    """Nothing makes the page wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_a_setting_is_changed_refused_and_taken_back(page: Page, client: Client, untouched) -> None:
    words = f"Plan {uuid4().hex}: ü"
    page.goto(SETTINGS)
    assert fits(page)
    box = page.get_by_label("Plan mode instructions")
    box.fill(words)
    used = page.locator("[data-setting=agents_chat_plan_mode_instructions] [data-bytes-of]")
    expect(used).to_have_text(str(len(words.encode())))
    page.get_by_label("Auto-archive", exact=True).fill("4000")
    page.get_by_role("button", name="Save").click()
    archive = page.locator("[data-setting=agents_chat_auto_archive_days]")
    expect(archive).to_contain_text("Auto-archive days must be between 0 and 3650.")
    expect(box).to_have_value(words)
    page.get_by_label("Auto-archive", exact=True).fill("40")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved: Plan mode instructions, Auto-archive.")).to_be_visible()
    stored = client.call("GET", f"{CONFIG}/plan-mode-instructions")
    assert stored == {"plan_mode_instructions": words}
    archive.get_by_label("Back to the default: 0").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved: Auto-archive.")).to_be_visible()
    assert client.call("GET", f"{CONFIG}/auto-archive-days") == {"auto_archive_days": 0}


def test_limits_are_set_for_everybody_and_for_one(page: Page, client: Client, untouched) -> None:
    page.goto(LIMITS)
    assert fits(page)
    page.get_by_label("Limit what people spend").check()
    page.get_by_label("Each person, in US dollars").fill("12.500001")
    page.get_by_label("In a").select_option("week")
    page.get_by_role("button", name="Save the limit").click()
    expect(page.get_by_text("The limit was saved.")).to_be_visible()
    people = page.locator("section", has=page.locator("#people"))
    people.get_by_label("User name or e-mail").press_sequentially("adm")
    expect(people.locator("datalist option")).to_have_attribute("value", "admin")
    people.get_by_label("User name or e-mail").fill("admin")
    people.get_by_label("US dollars", exact=True).fill("900")
    people.get_by_role("button", name="Give a limit").click()
    amount = people.get_by_label("US dollars for admin")
    expect(amount).to_have_value("900.00")
    limits = client.call("GET", "/api/experimental/chats/usage-limits")
    assert (limits["spend_limit_micros"], limits["period"]) == (12_500_001, "week")
    assert [each["spend_limit_micros"] for each in limits["overrides"]] == [900_000_000]
    people.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("The limit was taken away.")).to_be_visible()
    expect(amount).to_have_count(0)


def test_a_chat_that_runs_is_interrupted(page: Page, client: Client, gate) -> None:
    words = f"stop {uuid4().hex[:8]}"
    gate(words, "kept ")
    chat = client.create_chat(words)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("kept ")
        page.goto(f"/admin/chats/chat/?q={chat['id']}")
        assert fits(page)
        row = page.locator(f"#result_list tbody tr:has(input[value='{chat['id']}'])")
        expect(row).to_contain_text("Running")
        row.locator("input.action-select").check()
        page.get_by_label("Select action to run").select_option("interrupt")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text("Interrupted 1 chat.")).to_be_visible()
        follower.wait_for_status("waiting")
    expect(row).to_contain_text("Waiting")


def test_without_javascript_a_setting_is_saved_and_a_list_is_filtered(
    chrome: Browser, web, client: Client, untouched
) -> None:
    context = chrome.new_context(base_url=web.url, java_script_enabled=False)
    page = signed_in(context)
    page.goto(SETTINGS)
    page.get_by_label("Plan mode instructions").fill("Plain.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved: Plan mode instructions.")).to_be_visible()
    page.goto("/admin/audit/auditentry/")
    page.locator("select[name=resource_type]").select_option("setting")
    page.get_by_role("button", name="Apply filters").click()
    expect(page.locator("#result_list tbody tr").first).to_contain_text("Plan mode instructions")
    context.close()
