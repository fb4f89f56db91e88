"""A real browser, and signing in with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.product import ADMIN_PASSWORD
from tests.support.services import chromium

# as long as everything else of Playwright waits; it ends what fails, and nothing waits this long
expect.set_options(timeout=30_000)


@contextmanager
def started_chrome() -> Iterator[Browser]:
    """Yield a headless Chromium that calls nobody by itself."""
    # Playwright keeps an event loop in this thread, which Django takes for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--disable-background-networking"]
            )
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def signed_in(context: BrowserContext) -> Page:
    """Return the chats of a product's administrator, who has signed in on the page."""
    page = context.new_page()
    page.goto("/chats")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/chats")
    return page
