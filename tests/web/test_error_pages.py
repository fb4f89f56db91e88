"""Refusals and accidents look like the product."""

import pytest
from django.db import InterfaceError, OperationalError
from django.template.loader import render_to_string
from django.test import Client, RequestFactory

from chatd.core.errors import conflict
from chatd.web.middleware import PageErrorMiddleware


def refuse(path: str, error: Exception) -> object:
    middleware = PageErrorMiddleware(lambda request: None)  # type: ignore[arg-type, return-value]
    return middleware.process_exception(RequestFactory().get(path), error)


def test_an_unknown_address_has_a_page(page: Client) -> None:
    response = page.get("/nowhere")

    assert response.status_code == 404
    assert "Go to your chats" in response.content.decode()


def test_a_refusal_becomes_a_page_with_its_status() -> None:
    response = refuse("/chats", conflict("It <moved>.", detail="Look again."))

    assert response.status_code == 409
    assert "It &lt;moved&gt;." in response.content.decode()
    assert "Look again." in response.content.decode()


def test_a_lost_database_is_told_without_asking_it() -> None:
    response = refuse("/chats", OperationalError("database is locked"))

    assert response.status_code == 503
    assert response["Retry-After"] == "1"


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")])
def test_a_database_lost_outside_of_a_view_is_told_in_the_form_of_the_route(
    page: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("chatd.core.middleware._drop_nul_cookies", broken)
    page.raise_request_exception = False
    for path, kind in (("/chats", "text/html"), ("/api/experimental/chats", "application/json")):
        response = page.get(path)
        assert response.status_code == 503
        assert response["Retry-After"] == "1"
        assert response["Content-Type"].startswith(kind)
        assert "The database is not available" in response.content.decode()


def test_other_accidents_outside_of_a_view_stay_accidents(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("bug")

    monkeypatch.setattr("chatd.core.middleware._drop_nul_cookies", broken)
    page.raise_request_exception = False
    assert page.get("/chats").status_code == 500


def test_refusals_of_the_api_and_unknown_accidents_are_left_alone() -> None:
    assert refuse("/api/experimental/chats", conflict("No.")) is None
    assert refuse("/chats", ValueError("bug")) is None


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "500"])
def test_every_error_page_renders_without_a_request(name: str) -> None:
    html = render_to_string(f"{name}.html")

    assert "<h1>" in html
    assert "chatd" in html
