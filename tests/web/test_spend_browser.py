"""The pages of what was spent in a real browser: wide and narrow, with and without scripts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from chatd.accounts.models import User
from chatd.chats.models import Chat
from chatd.spending.ledger_models import CallKind
from tests.conftest import Cast
from tests.support.services import chromium
from tests.support.spending import call_model, hold, limit_everybody
from tests.web.conftest import browser_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

SPEND = "/admin/spending/spend/"
NewChat = Callable[..., Chat]
Open = Callable[..., Page]


@pytest.fixture
def spent(new_chat: NewChat) -> Chat:
    chat = new_chat(title="A chat with quite a long title, longer than a telephone is wide")
    call_model(chat, 1_234_567, held=1_000_000)
    call_model(chat, None, kind=CallKind.LABEL, is_estimated=True)
    hold(chat, 500)
    limit_everybody(2_000_000)
    return chat


@pytest.fixture
def open_tab(chrome: Browser, live_server: LiveServer) -> Iterator[Open]:
    """Open a tab of somebody's, signed in. Anything that a script throws fails the test."""
    contexts: list[BrowserContext] = []
    thrown: list[str] = []

    def open_one(user: User, **options: Any) -> Page:
        context = chrome.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        session = browser_of(user).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: thrown.append(str(error)))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert thrown == []


def fits(page: Page) -> bool:
    """Nothing makes the page wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [1280, 390])
def test_an_administrator_drills_down_and_sets_a_limit(
    open_tab: Open, cast: Cast, spent: Chat, scripts: bool, width: int
) -> None:
    tab = open_tab(cast.root, java_script_enabled=scripts, viewport={"width": width, "height": 900})
    tab.goto(SPEND)
    expect(tab.get_by_role("img", name="Spend by day")).to_be_visible()
    tab.get_by_text("The same as a table").click()
    expect(tab.get_by_role("region", name="Spend by day, as a table")).to_contain_text("$1.234567")
    tab.get_by_role("link", name="alice", exact=True).click()
    tab.get_by_label("US dollars a month").fill("7.5")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("The limit was saved.")).to_be_visible()
    expect(tab.get_by_label("US dollars a month")).to_have_value("7.50")
    tab.get_by_role("link", name="A chat with quite").first.click()
    table = tab.get_by_role("region", name="Table: Ledger")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table).to_contain_text("overrun")
    tab.get_by_role("link", name="Show what was held and released too").click()
    expect(tab.get_by_role("region", name="Table: Ledger").get_by_role("row")).to_have_count(5)
    tab.get_by_role("link", name="No longer only Chat").click()
    expect(tab.get_by_role("link", name="No longer only")).to_have_count(1)
    cast.alice.refresh_from_db()
    assert cast.alice.chat_spend_limit_micros == 7_500_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_the_window(
    open_tab: Open, cast: Cast, spent: Chat, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900}
    tab = open_tab(cast.root, viewport=size, color_scheme=scheme)
    for query in ("", "?by=chat", "?by=entry", f"?user={cast.alice.pk}&by=model"):
        tab.goto(f"{SPEND}{query}")
        assert fits(tab), query
    tab = open_tab(cast.alice, viewport=size, color_scheme=scheme)
    for address in ("/settings/spending", f"/chats/{spent.pk}"):
        tab.goto(address)
        assert fits(tab), address
    tab.get_by_text("Cost:").click()
    expect(tab.get_by_text("Calls without a price count as nothing.")).to_be_visible()
    assert fits(tab)
