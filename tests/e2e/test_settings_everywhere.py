"""A setting that is changed on a page of the administration holds in every process at once."""

from collections.abc import Iterator
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener
from uuid import uuid4

import pytest

from tests.e2e.provider import ScriptedProvider
from tests.support.forms import fields_of_form
from tests.support.product import ADMIN_PASSWORD, Product, Web, split, wait_until

RUNS_ON = "split"
pytestmark = pytest.mark.slow

PAGE = "/admin/preferences/sitesetting/"
PROMPT = "agents_chat_system_prompt"


@pytest.fixture(scope="module")
def fakes() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture(scope="module")
def product(server_url, fakes) -> Iterator[Product]:
    with split(server_url) as started:
        started.add_models({"base_url": fakes.base_url, "is_default": True})
        started.worker()
        yield started


class Browser:
    """Forms of one web process, filled in and sent as a browser does without scripts."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))

    def read(self, path: str) -> str:
        with self._opener.open(self.web.url + path, timeout=120) as answer:
            return str(answer.read().decode())

    def send(self, path: str, form: dict[str, str]) -> str:
        headers = {"Origin": self.web.url, "Referer": self.web.url + path}
        request = Request(self.web.url + path, urlencode(form).encode(), headers)
        with self._opener.open(request, timeout=120) as answer:
            return str(answer.read().decode())

    def sign_in(self) -> None:
        form = fields_of_form(self.read("/login"))
        self.send("/login", form | {"username": "admin", "password": ADMIN_PASSWORD})


def test_a_setting_holds_in_what_another_web_and_a_worker_do_next(product, fakes) -> None:
    here, there = product.web(ready=False), product.web(ready=False)
    for web in (here, there):
        web.wait_until_ready()
    browser, client = Browser(here), product.client(there)
    browser.sign_in()
    words = f"Answer as number {uuid4().hex}."
    form = fields_of_form(browser.read(PAGE), "settings_form")
    assert form[PROMPT] == ""
    client.call("GET", "/api/experimental/chats/config/system-prompt")  # what could be kept, is

    assert "Saved: System prompt" in browser.send(PAGE, form | {PROMPT: words})
    answer = client.call("GET", "/api/experimental/chats/config/system-prompt")
    question = f"question {uuid4().hex[:8]}"
    client.create_chat(question)
    wait_until(lambda: bool(fakes.requests_for(question)), 120, "the request of a worker")

    assert answer["system_prompt"] == words
    systems = [
        each.content for each in fakes.requests_for(question)[0].messages if each.role == "system"
    ]
    assert any(words in text for text in systems), systems
