"""Every page says what it may load and run."""

import re
from pathlib import Path

import pytest
from django.test import Client

from chatd.web.content_policy import ADMINISTRATION, HEADER, PAGES
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", ["/login", "/no-such-page"])
def test_a_page_runs_scripts_of_this_server_alone(client: Client, path: str) -> None:
    assert client.get(path)[HEADER] == PAGES


def test_the_administration_has_a_policy_of_its_own(client: Client, cast: Cast) -> None:
    client.force_login(cast.root, "chatd.accounts.backends.UsernameOrEmailBackend")
    assert client.get("/admin/")[HEADER] == ADMINISTRATION
    assert client.get("/chats")[HEADER] == PAGES


def test_what_is_no_page_has_none(client: Client) -> None:
    assert HEADER not in client.get("/healthz")


def test_no_template_of_people_has_what_the_policy_forbids() -> None:
    pages = [ROOT / "templates/base.html", *(ROOT / "templates/web").rglob("*.html")]
    forbidden = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)")
    assert [page.name for page in pages if forbidden.search(page.read_text())] == []
