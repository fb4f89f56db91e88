"""Who administers chatd for the first time, in a real browser, with what the pages say alone.

The same way at desktop and at phone width, with scripts and without.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web as http
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.provider import ScriptedProvider
from tests.support.product import ADMIN_PASSWORD, Product, Web, embedded
from tests.support.services import chromium

RUNS_ON = "embedded"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install it to run the pages"),
]

KEY = "key-of-the-newcomer-0123456789"
MODEL = "vendor-large"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


class Vendor(ScriptedProvider):
    """A provider that lists its models to who has the key."""

    def _application(self) -> http.Application:
        app = super()._application()
        app.router.add_get("/models", self._models)
        return app

    async def _models(self, request: http.Request) -> http.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            wrong = {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
            return http.json_response(wrong, status=401)
        return http.json_response({"object": "list", "data": [{"id": MODEL}]})


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with Vendor() as server:
        yield server


@pytest.fixture(scope="module")
def fresh() -> Iterator[Product]:
    with embedded(CHATD_DEMO_PACE="0") as started:
        started.up()
        yield started


@pytest.fixture(
    params=[
        "desktop with scripts",
        "phone with scripts",
        "desktop without scripts",
        "phone without scripts",
    ]
)
def context(
    request: pytest.FixtureRequest, chrome: Browser, fresh: Product
) -> Iterator[BrowserContext]:
    """A browser in which nothing that a script throws goes unnoticed."""
    width, scripts, _ = request.param.split()
    size = WIDTHS[width]
    web = fresh.processes[0]
    assert isinstance(web, Web)
    thrown: list[str] = []
    context = chrome.new_context(
        base_url=web.url,
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=scripts == "with",
    )
    context.on("weberror", lambda error: thrown.append(str(error.error)))
    yield context
    context.close()
    assert thrown == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """The overview of the administration, signed in to."""
    page = context.new_page()
    page.goto("/admin/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    return page


def step(page: Page, title: str) -> Any:
    return page.get_by_role("listitem").filter(has_text=title)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def test_a_newcomer_connects_a_provider_adds_a_model_with_prices_and_chats(
    page: Page, vendor: Vendor, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    scripts = "without" not in name

    page.get_by_role("link", name="Add a provider").click()
    page.get_by_role("link", name="OpenAI Compatible").click()
    page.get_by_label("Name", exact=False).first.fill(name)
    page.get_by_label("Display name").fill(f"Vendor on {name}")
    page.get_by_label("Base URL").fill(vendor.base_url)

    for key, told in (("wrong", "Incorrect API key provided."), (KEY, "offers 1 model.")):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Test the connection").click()
        expect(page.get_by_text(told)).to_be_visible()
    if not scripts:
        page.get_by_label("API key").fill(KEY)
    save(page)
    expect(page.get_by_text("was added successfully")).to_be_visible()

    page.goto("/admin/")
    expect(step(page, "Connect a provider")).to_contain_text("(done)")
    page.get_by_role("link", name="Add a model").click()
    page.get_by_role("link", name=f"Vendor on {name}").click()
    page.get_by_label("Model", exact=False).first.fill(MODEL)
    page.get_by_label("Display name").fill(f"Large on {name}")
    page.get_by_label("Context", exact=False).first.fill("128000")
    page.get_by_label("Input price").fill("2.50")
    page.get_by_label("Output price").fill("10")
    page.get_by_label("Temperature").fill("3")
    save(page)
    expect(page.get_by_text("less than or equal to 2")).to_be_visible()
    page.get_by_label("Temperature").fill("0.5")
    save(page)
    expect(page.get_by_text("was added successfully")).to_be_visible()
    expect(page.get_by_text("2.5 / 10").first).to_be_visible()

    page.goto("/admin/")
    for done in ("Add a model", "Give every model a price"):
        expect(step(page, done)).to_contain_text("(done)")

    page.goto("/chats")
    page.get_by_label("Model").select_option(label=f"Large on {name}")
    page.get_by_role("textbox").last.fill(f"Hello from {name}")
    page.get_by_role("button", name="Start chat").click()
    while not scripts and page.get_by_text("You said:").count() == 0:
        page.reload()  # the test's timeout bounds it
    expect(page.get_by_text(f"You said: Hello from {name}")).to_be_visible()
    assert KEY not in page.content()


def test_a_newcomer_brings_a_person_in_and_makes_a_group(
    page: Page, chrome: Browser, fresh: Product, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.replace(" ", "-")

    page.get_by_role("link", name="Add a person").click()
    page.get_by_label("User name").fill(name)
    page.get_by_label("E-mail").fill(f"{name}@example.org")
    save(page)
    expect(page.get_by_text("It is shown this once")).to_be_visible()
    password = page.get_by_label("Password", exact=True).input_value()

    page.goto("/admin/")
    expect(step(page, "Bring people in")).to_contain_text("(done)")
    page.get_by_role("link", name="Add a group").click()
    page.get_by_label("Name", exact=False).first.fill(f"of-{name}")
    save(page)
    expect(page.get_by_text("was added successfully")).to_be_visible()
    page.get_by_role("checkbox", name=name, exact=True).check()
    page.get_by_role("button", name="Add people").click()
    page.get_by_role("link", name="Members", exact=True).click()
    expect(page.get_by_text("of 1", exact=False)).to_be_visible()
    expect(page.get_by_text(f"{name}@example.org")).to_be_visible()

    page.goto("/admin/")
    expect(step(page, "Make a group")).to_contain_text("(done)")
    assert password not in page.content()
    web = fresh.processes[0]
    assert isinstance(web, Web)
    theirs = chrome.new_context(base_url=web.url)
    signing_in = theirs.new_page()
    signing_in.goto("/login")
    signing_in.get_by_label("User name").fill(name)
    signing_in.get_by_label("Password").fill(password)
    signing_in.get_by_role("button", name="Sign in").click()
    signing_in.wait_for_url("**/chats")
    theirs.close()
