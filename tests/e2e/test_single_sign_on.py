"""A person in a real browser signs in with a real OpenID provider, on another site."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect, sync_playwright

from tests.support import oidc
from tests.support.product import Web, embedded
from tests.support.services import chromium

RUNS_ON = "embedded"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

BUTTON = "Example Inc."
OPTIONS = {
    "LABEL": BUTTON,
    "GROUPS_CLAIM": "groups",
    "GROUPS": '{"Developers": "dev-team"}',
    "ROLES": '{"chatd-admins": "owner"}',
}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """A product that signs in with a provider under another host name."""
    with oidc.provider_process("localhost") as issuer:
        variables = oidc.environment(issuer, **OPTIONS)
        with embedded(**variables, CHATD_LOG_LEVEL="DEBUG") as product:
            yield product.up()


@pytest.fixture
def context(web: Web) -> Iterator[BrowserContext]:
    """A browser that loads nothing from outside: the provider's page names a style sheet there."""

    def inside_only(route: Route) -> None:
        inside = urlsplit(route.request.url).hostname in ("127.0.0.1", "localhost")
        route.fallback() if inside else route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-background-networking"]
        )
        context = browser.new_context(base_url=web.url)
        context.route("**/*", inside_only)
        yield context
        browser.close()


def sign_in(page: Page, subject: str = "dora-at-the-provider") -> None:
    page.get_by_role("button", name=BUTTON).click()
    page.get_by_role("button", name=subject).click()


def test_the_button_leads_through_the_provider_to_the_wanted_page_and_out_again(
    context: BrowserContext, web: Web
) -> None:
    page = context.new_page()
    page.goto("/chats?archived")
    expect(page).to_have_url(f"{web.url}/login?next=/chats%3Farchived")
    sign_in(page)
    expect(page).to_have_url(f"{web.url}/chats?archived")
    expect(page.get_by_role("navigation", name="Account")).to_contain_text("Dora Example")
    page.get_by_role("link", name="Administration").click()
    page.goto("/admin/accounts/user/?q=dora")
    page.get_by_role("link", name="Dora-Example").click()
    expect(page.get_by_text("groups: Developers, Everything-Else, chatd-admins")).to_be_visible()
    page.goto("/chats")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/chats")
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()


def test_a_refusal_is_read_out_and_the_button_is_there_again(
    context: BrowserContext, web: Web
) -> None:
    page = context.new_page()
    page.goto("/login?next=/chats%3Farchived")
    sign_in(page, "nora-at-the-provider")
    expect(page.get_by_role("alert")).to_contain_text("has not verified your e-mail address")
    sign_in(page)
    expect(page).to_have_url(f"{web.url}/chats?archived")


def test_the_keyboard_is_enough(context: BrowserContext, web: Web) -> None:
    page = context.new_page()
    page.goto("/login")
    page.get_by_role("button", name=BUTTON).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="dora-at-the-provider").press("Enter")
    expect(page).to_have_url(f"{web.url}/chats")


def test_no_secret_of_the_exchange_is_in_the_log_or_the_database(
    context: BrowserContext, web: Web
) -> None:
    page, seen = context.new_page(), []
    page.on("request", lambda request: seen.append(request.url))
    page.goto("/login")
    sign_in(page)
    expect(page).to_have_url(f"{web.url}/chats")
    callback = next(url for url in seen if "/login/oidc/callback" in url)
    code = oidc.query_of(callback)["code"]
    away = next(url for url in seen if "code_challenge" in url)
    assert "/login/oidc/callback" in web.log
    for secret in (code, oidc.query_of(away)["nonce"], oidc.CLIENT_SECRET):
        assert secret not in web.log
    stored = (web.log_file.parent / "data" / "chatd.sqlite3").read_bytes()
    assert code.encode() not in stored
    assert oidc.CLIENT_SECRET.encode() not in stored
