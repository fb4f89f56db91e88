"""Signing in and out, and what anonymous visitors get."""

import uuid

import pytest
from django.test import Client

from chatd.accounts.models import LoginType, User

PASSWORD = "correct horse battery"
SOME_CHAT = uuid.UUID(int=7)
PAGES = ["/chats", f"/chats/{SOME_CHAT}", f"/chats/{SOME_CHAT}/messages/1"]
FORMS = [
    "/chats",
    f"/chats/{SOME_CHAT}/send",
    f"/chats/{SOME_CHAT}/interrupt",
    f"/chats/{SOME_CHAT}/queue/1/remove",
    f"/chats/{SOME_CHAT}/queue/1/promote",
]


@pytest.fixture
def alice(alice: User) -> User:
    """Alice with a password; the others of the cast have none."""
    alice.login_type = LoginType.PASSWORD
    alice.set_password(PASSWORD)
    alice.save()
    return alice


@pytest.mark.parametrize("path", PAGES)
def test_an_anonymous_visitor_is_sent_to_sign_in_and_back(path: str) -> None:
    response = Client().get(path)

    assert response.status_code == 302
    assert response["Location"] == f"/login?next={path}"


@pytest.mark.parametrize("path", FORMS)
def test_an_anonymous_form_is_sent_to_sign_in(path: str) -> None:
    response = Client().post(path, {"text": "hi"})

    assert response.status_code == 302
    assert response["Location"].startswith("/login?")


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_its_csrf_token_is_refused_with_a_page(alice: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    response = client.post(path, {"text": "hi"})

    assert response.status_code == 403
    assert "The form has expired" in response.content.decode()


@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.com"])
def test_people_sign_in_by_name_or_email(alice: User, name: str) -> None:
    response = Client().post("/login", {"username": name, "password": PASSWORD})

    assert response.status_code == 302
    assert response["Location"] == "/chats"


def test_the_field_has_room_for_an_email(db: None) -> None:
    html = Client().get("/login").content.decode()

    assert 'maxlength="254"' in html
    assert "User name or e-mail" in html


def test_a_wrong_password_is_told_in_a_sentence(alice: User) -> None:
    response = Client().post("/login", {"username": "alice", "password": "wrong"})

    assert response.status_code == 200
    assert "do not belong together" in response.content.decode()


def test_signing_in_never_leads_to_another_site(alice: User) -> None:
    form = {"username": "alice", "password": PASSWORD, "next": "https://evil.example/"}

    assert Client().post("/login", form)["Location"] == "/chats"


def test_signing_out_needs_a_form(page: Client) -> None:
    assert page.get("/logout").status_code == 405
    assert page.post("/logout")["Location"] == "/login"
    assert page.get("/chats").status_code == 302


def test_the_root_leads_to_the_chats(page: Client) -> None:
    assert page.get("/")["Location"] == "/chats"
