"""Connecting in a real browser: a window is opened for it, and the page hears when it is done."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from chatd.mcp.models import MCPServerUserToken
from tests.conftest import Cast
from tests.mcp.browser import BASE, discovered
from tests.support.authorization import AuthorizationServer
from tests.support.people import token_for
from tests.support.product import wait_until
from tests.support.services import chromium
from tests.web.conftest import browser_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

LISTEN = """
() => {
  window.heard = [];
  window.addEventListener("message",
    (event) => window.heard.push(["message", event.origin, event.data]));
  new BroadcastChannel("mcp-oauth2").onmessage =
    (event) => window.heard.push(["channel", event.origin, event.data]);
}
"""


@pytest.fixture
def page(chrome: Browser, live_server: LiveServer, cast: Cast) -> Iterator[Page]:
    """Alice's chats."""
    context = chrome.new_context(base_url=live_server.url)
    cookie = browser_of(cast.alice).cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page = context.new_page()
    page.goto("/chats")
    yield page
    context.close()


@pytest.fixture
def server_id(live_server: LiveServer, cast: Cast, authorization: AuthorizationServer) -> str:
    made = requests.post(
        f"{live_server.url}{BASE}",
        json=discovered(authorization),
        headers={"Coder-Session-Token": token_for(cast.root)},
        timeout=30,
    )
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def test_the_page_that_opened_the_window_is_told_and_the_window_closes(
    page: Page, server_id: str, live_server: LiveServer
) -> None:
    page.evaluate(LISTEN)
    with page.expect_popup() as opened:
        page.evaluate("(url) => { window.open(url) }", f"{BASE}/{server_id}/oauth2/connect")
    # not `wait_for_function`: the page allows nobody to evaluate text
    wait_until(lambda: page.evaluate("window.heard.length") == 2, 20, "both have heard")
    told = {"type": "mcp-oauth2-complete", "serverID": server_id}
    heard = sorted(page.evaluate("window.heard"), key=lambda each: each[0])
    assert heard == [["channel", live_server.url, told], ["message", live_server.url, told]]
    if not opened.value.is_closed():
        opened.value.wait_for_event("close")
    assert MCPServerUserToken.objects.count() == 1


def test_another_site_that_opened_the_window_is_told_nothing(
    page: Page, server_id: str, live_server: LiveServer, authorization: AuthorizationServer
) -> None:
    page.goto(f"{authorization.base_url}/elsewhere")
    page.evaluate(LISTEN)
    with page.expect_popup() as opened:
        url = f"{live_server.url}{BASE}/{server_id}/oauth2/connect"
        page.evaluate("(url) => { window.open(url) }", url)
    expect(opened.value.get_by_role("heading", name="Connected")).to_be_visible()
    assert page.evaluate("window.heard") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_without_a_window_that_waits_a_page_says_what_happened(
    page: Page, server_id: str, scheme: Any, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(f"{BASE}/{server_id}/oauth2/connect")
    expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    expect(page.get_by_text("Your chats can use Tools now.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if shots := os.environ.get("SHOTS"):
        page.screenshot(path=f"{shots}/connected-{scheme}-{width}.png")
    page.get_by_role("link", name="Go to your chats").click()
    page.wait_for_url("**/chats")
