"""A newcomer looks after people in a real browser: from the overview to somebody who signs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from chatd.accounts.models import Group, User
from tests.conftest import Cast
from tests.support.services import chromium
from tests.web.conftest import browser_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]


@contextmanager
def tab(
    chrome: Browser, live_server: LiveServer, user: User | None = None, **options: Any
) -> Iterator[Page]:
    """A browser of its own. Anything that a script throws fails the test."""
    context = chrome.new_context(base_url=live_server.url, **options)
    if user is not None:
        session = browser_of(user).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page = context.new_page()
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield page
    context.close()
    assert thrown == []


def fits(page: Page) -> bool:
    """Tell whether a page needs no scrolling sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


SCREENS: list[dict[str, Any]] = [
    {"viewport": {"width": 1280, "height": 900}},
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    {"viewport": {"width": 390, "height": 844}, "java_script_enabled": False},
]


@pytest.mark.parametrize("screen", SCREENS, ids=["wide", "phone", "without scripts"])
def test_a_newcomer_makes_a_person_and_a_group_and_the_person_signs_in(
    chrome: Browser, live_server: LiveServer, cast: Cast, screen: dict[str, Any]
) -> None:
    with tab(chrome, live_server, cast.root, **screen) as page:
        page.goto("/admin/")
        page.get_by_role("link", name="Add a person").click()
        page.get_by_label("User name").fill("nina")
        page.get_by_label("E-mail").fill("nina@example.com")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page).to_have_title("nina has an account | chatd administration")
        password = page.get_by_label("Password").input_value()
        assert fits(page)

        page.goto("/admin/")
        page.get_by_role("link", name="Add a group").click()
        page.get_by_label("Name", exact=False).first.fill("research")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page).to_have_title("Members of research | chatd administration")
        page.get_by_role("searchbox").fill("nina")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("checkbox", name="nina").check()
        page.get_by_role("button", name="Add people").click()
        expect(page.get_by_text("1 added.")).to_be_visible()
        page.get_by_role("link", name="Members", exact=True).click()
        expect(page.get_by_role("link", name="nina")).to_be_visible()
        assert fits(page)
    assert list(Group.objects.get(name="research").memberships.values_list("user__username")) == [
        ("nina",)
    ]
    with tab(chrome, live_server) as page:
        page.goto("/chats")
        page.get_by_label("User name").fill("nina")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{live_server.url}/chats")


def test_several_people_are_suspended_by_keyboard(
    chrome: Browser, live_server: LiveServer, cast: Cast
) -> None:
    with tab(chrome, live_server, cast.root, viewport={"width": 1280, "height": 900}) as page:
        page.goto("/admin/accounts/user/?q=example.com&role=none")
        for number in (0, 1):
            page.locator("input[name=_selected_action]").nth(number).press("Space")
        page.get_by_label("Select action to run").select_option("suspend")
        page.get_by_role("button", name="Run").press("Enter")
        expect(page.get_by_text("2 people:")).to_be_visible()
        page.get_by_role("button", name="Suspend").press("Enter")
        expect(page.get_by_text("2 people are suspended.")).to_be_visible()
        page.get_by_role("button", name="Filters").press("Enter")
        page.get_by_role("link", name="Suspended").press("Enter")
        expect(page.locator("td.field-state")).to_have_text(["Suspended", "Suspended"])


def test_the_field_for_a_password_is_there_for_who_types_one(
    chrome: Browser, live_server: LiveServer, cast: Cast
) -> None:
    with tab(chrome, live_server, cast.root, viewport={"width": 1280, "height": 900}) as page:
        page.goto("/admin/accounts/user/add/")
        field = page.locator("input[name=password]")
        expect(field).to_be_hidden()
        page.get_by_label("I type one").check()
        expect(field).to_be_visible()
        page.get_by_label("How they sign in").select_option("oidc")
        expect(field).to_be_hidden()


def test_a_made_password_is_copied(chrome: Browser, live_server: LiveServer, cast: Cast) -> None:
    allowed = ["clipboard-read", "clipboard-write"]
    with tab(chrome, live_server, cast.root, permissions=allowed) as page:
        page.goto("/admin/accounts/user/add/")
        page.get_by_label("User name").fill("olga")
        page.get_by_label("E-mail").fill("olga@example.com")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.get_by_label("Password").input_value()
