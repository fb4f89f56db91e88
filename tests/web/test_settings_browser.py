"""The pages of settings in a real browser: lives of a token and of a connection, the keyboard."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from chatd.accounts.models import LoginType, SiteRole, User
from chatd.api.authentication import HEADER
from chatd.mcp.models import MAX_NAME, MCPServerUserToken
from chatd.providers.models import ModelConfig
from tests.api.routes import mcp_server
from tests.conftest import Cast
from tests.mcp.browser import BASE, discovered
from tests.mcp.conftest import authorization  # noqa: F401 - a fixture
from tests.support.authorization import AuthorizationServer
from tests.support.people import token_for
from tests.support.services import chromium
from tests.web.conftest import browser_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

OLD, NEW = "correct horse battery", "a staple of another kind"
PAGES = [
    "/settings",
    "/settings/tokens",
    "/settings/keys",
    "/settings/chats",
    "/settings/spending",
    "/settings/tools",
]
Open = Callable[..., Page]


@pytest.fixture
def alice(alice: User) -> User:
    alice.login_type = LoginType.PASSWORD
    alice.set_password(OLD)
    alice.save()
    return alice


@pytest.fixture
def open_tab(chrome: Browser, live_server: LiveServer, alice: User) -> Iterator[Open]:
    """Open a tab of alice's, signed in. Anything that a script throws fails the test."""
    contexts: list[BrowserContext] = []
    thrown: list[str] = []

    def open_one(**options: Any) -> Page:
        context = chrome.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        session = browser_of(alice).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: thrown.append(str(error)))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert thrown == []


def status_with(live_server: LiveServer, token: str) -> int:
    """Ask the API over HTTP who one is, with a token."""
    url = f"{live_server.url}/api/v2/users/me"
    return requests.get(url, headers={HEADER: token}, timeout=10).status_code


@pytest.mark.parametrize("scripts", [True, False])
def test_a_token_is_made_used_and_revoked_and_then_refused(
    open_tab: Open, live_server: LiveServer, scripts: bool
) -> None:
    tab = open_tab(java_script_enabled=scripts)
    tab.goto("/chats")
    tab.get_by_role("link", name="Settings").click()
    tab.get_by_role("link", name="API tokens").click()
    tab.get_by_role("textbox", name="Name").fill("laptop")
    tab.get_by_role("button", name="Create the token").click()
    token = tab.get_by_label("Copy it now").input_value()
    assert status_with(live_server, token) == 200

    tab.goto("/settings/tokens")
    assert token.partition("-")[2] not in tab.content()
    tab.get_by_role("link", name="Revoke… laptop").click()
    tab.get_by_role("button", name="Revoke it").click()
    expect(tab.get_by_role("status")).to_contain_text("is revoked")
    assert status_with(live_server, token) == 401


def test_a_new_token_can_be_copied(open_tab: Open, live_server: LiveServer) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    tab.goto("/settings/tokens")
    tab.get_by_role("textbox", name="Name").fill("laptop")
    tab.keyboard.press("Enter")
    field = tab.get_by_label("Copy it now")
    expect(field).to_be_focused()
    tab.get_by_role("button", name="Copy").click()
    expect(tab.locator("#copied")).to_have_text("Copied.")
    assert tab.evaluate("navigator.clipboard.readText()") == field.input_value()


def test_a_new_password_keeps_this_tab_and_signs_the_others_out(open_tab: Open) -> None:
    here, elsewhere = open_tab(), open_tab()
    here.goto("/settings")
    for label, typed in (
        ("Old password", OLD),
        ("New password", NEW),
        ("New password once more", NEW),
    ):
        here.get_by_label(label, exact=True).fill(typed)
    here.get_by_role("button", name="Change the password").click()
    expect(here.get_by_role("status")).to_contain_text("signed out everywhere else")
    elsewhere.goto("/settings")
    elsewhere.get_by_label("User name").fill("alice")
    elsewhere.get_by_label("Password").fill(NEW)
    elsewhere.get_by_role("button", name="Sign in").click()
    expect(elsewhere.get_by_role("heading", name="Profile")).to_be_visible()


def test_a_refused_field_has_the_focus_and_names_its_reason(open_tab: Open) -> None:
    tab = open_tab()
    tab.goto("/settings")
    tab.get_by_label("Old password").fill("wrong")
    tab.get_by_label("New password", exact=True).fill(NEW)
    tab.get_by_label("New password once more").fill(NEW)
    tab.keyboard.press("Enter")
    field = tab.get_by_label("Old password")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description("Old password is incorrect.")
    expect(field).to_have_value("")


# connecting to an MCP server


@pytest.fixture
def tools(
    live_server: LiveServer,
    cast: Cast,
    authorization: AuthorizationServer,  # noqa: F811
) -> AuthorizationServer:
    """A server that people connect to; return its authorization server."""
    made = requests.post(
        f"{live_server.url}{BASE}",
        json=discovered(authorization),
        headers={HEADER: token_for(cast.root)},
        timeout=30,
    )
    assert made.status_code == 201, made.text
    return authorization


def taken_shot(tab: Page, name: str) -> None:
    if shots := os.environ.get("SHOTS"):
        tab.screenshot(path=f"{shots}/tools-{name}.png", full_page=True)


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_person_connects_comes_back_and_disconnects(
    open_tab: Open, tools: AuthorizationServer, width: int, scripts: bool
) -> None:
    tab = open_tab(java_script_enabled=scripts, viewport={"width": width, "height": 800})
    tab.goto("/settings")
    tab.get_by_role("link", name="MCP servers").click()
    card = tab.get_by_role("region", name="Tools")
    expect(card).to_contain_text("Not connected")
    card.get_by_role("button", name="Connect to Tools").click()

    expect(tab).to_have_url(re.compile("/settings/tools$"))
    expect(tab.get_by_role("status")).to_have_text("You are connected to “Tools”.")
    expect(card.locator(".badge")).to_have_text("Connected")
    assert MCPServerUserToken.objects.get().user.username == "alice"
    card.get_by_role("link", name="Disconnect… from Tools").click()
    taken_shot(tab, f"disconnect-{width}")
    tab.get_by_role("button", name="Disconnect").click()
    expect(tab.get_by_role("status")).to_have_text("You are disconnected from “Tools”.")
    expect(card).to_contain_text("Not connected")
    assert not MCPServerUserToken.objects.exists()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_person_who_does_not_agree_reads_so_and_connects_after_all(
    open_tab: Open, tools: AuthorizationServer, scripts: bool
) -> None:
    def refuse(request: web.Request) -> web.StreamResponse:
        query = urlencode({"error": "access_denied", "state": request.query["state"]})
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{query}")

    tools.knobs.answers["authorize"] = refuse
    tab = open_tab(java_script_enabled=scripts)
    tab.goto("/settings/tools")
    tab.get_by_role("button", name="Connect to Tools").click()
    expect(tab.get_by_role("alert")).to_contain_text("access was not allowed")
    assert not MCPServerUserToken.objects.exists()
    del tools.knobs.answers["authorize"]
    tab.get_by_role("button", name="Connect to Tools").click()
    expect(tab.get_by_role("status")).to_have_text("You are connected to “Tools”.")


def test_who_connected_another_way_finds_the_page_from_where_it_ends(
    open_tab: Open, tools: AuthorizationServer
) -> None:
    tab = open_tab()
    tab.goto("/settings/tools")
    (server,) = tab.evaluate("async (url) => (await fetch(url)).json()", BASE)
    tab.goto(f"{BASE}/{server['id']}/oauth2/connect")
    tab.get_by_role("link", name="See all MCP servers").click()
    expect(tab.get_by_role("region", name="Tools").locator(".badge")).to_have_text("Connected")


@pytest.mark.parametrize("path", PAGES)
def test_every_control_is_reached_by_the_keyboard_and_has_a_name(
    open_tab: Open, model: ModelConfig, path: str
) -> None:
    tab = open_tab()
    tab.goto(path)
    wanted = tab.locator("main :is(a, button, input, select, textarea, summary):visible")
    names = wanted.evaluate_all(
        """controls => controls.map(control => (control.labels?.[0] ?? control).innerText.trim())"""
    )
    assert names
    assert all(names)
    # Of the radios of one group, and inside of what is closed, the keyboard skips some.
    stops = wanted.evaluate_all(
        """controls => controls.filter(
             control => (control.type !== "radio" || control.checked)).length"""
    )
    reached = set()
    for _ in range(stops + 12):
        tab.keyboard.press("Tab")
        inside = (
            """() => [...document.querySelectorAll("main *")].indexOf(document.activeElement)"""
        )
        reached.add(tab.evaluate(inside))
    assert len(reached - {-1}) >= stops


@pytest.mark.parametrize("path", [*PAGES, "/chats"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(
    open_tab: Open, alice: User, model: ModelConfig, path: str, width: int
) -> None:
    alice.rbac_roles = [SiteRole.OWNER]  # whose header has most in it
    alice.save()
    mcp_server(display_name="x" * MAX_NAME)
    tab = open_tab(viewport={"width": width, "height": 800})
    tab.goto(path)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
