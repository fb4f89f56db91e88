"""Signing in and out, and what anonymous visitors get."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from time_machine import Traveller

from chatd.accounts.models import LoginType, User, UserStatus
from chatd.audit.models import AuditEntry

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
def alice(alice: User, settings: Any) -> User:
    """Alice with a password, cheaply hashed; the others of the cast have none."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
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


# Guessing


def attempt(name: str = "alice", password: str = "wrong", **extra: Any) -> Any:
    return Client(**extra).post("/login", {"username": name, "password": password})


@pytest.fixture
def twice(configure: Callable[..., None], clock: Traveller) -> None:
    """Two attempts a minute; the clock stands."""
    configure(sign_in_rate_limit=2)


def test_too_many_attempts_are_told_on_a_page(alice: User, twice: None) -> None:
    answers = [attempt() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    html = answers[2].content.decode()
    assert "too many attempts to sign in" in html
    assert "Wait 61 seconds" in html
    assert answers[2]["Retry-After"] == "61"


def test_the_right_password_waits_too_and_nothing_is_locked(
    alice: User, twice: None, clock: Traveller
) -> None:
    for _ in range(2):
        attempt()

    assert attempt(password=PASSWORD).status_code == 429
    assert attempt(password=PASSWORD, REMOTE_ADDR="192.0.2.1").status_code == 302
    clock.shift(61)
    assert attempt(password=PASSWORD).status_code == 302


def test_every_spelling_of_a_name_counts_together(alice: User, twice: None) -> None:
    attempt("ALICE")
    attempt(" alice ")

    assert attempt().status_code == 429


def test_another_name_is_not_affected(alice: User, twice: None) -> None:
    for _ in range(3):
        attempt("bob")

    assert attempt(password=PASSWORD).status_code == 302


def test_any_names_from_one_address_are_limited_like_calls_of_the_api(
    alice: User, configure: Callable[..., None], clock: Traveller
) -> None:
    configure(api_rate_limit=3)
    answers = [attempt(f"name-{number}") for number in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert attempt(password=PASSWORD, REMOTE_ADDR="192.0.2.1").status_code == 302


def test_looking_at_the_form_is_no_attempt(alice: User, twice: None) -> None:
    assert [Client().get("/login").status_code for _ in range(4)] == [200] * 4


def test_attempts_can_be_without_a_limit(
    alice: User, configure: Callable[..., None], clock: Traveller
) -> None:
    configure(sign_in_rate_limit=0)

    assert {attempt().status_code for _ in range(12)} == {200}


def test_signing_in_well_is_no_attempt_to_guess(alice: User, twice: None) -> None:
    attempt()

    assert {attempt(password=PASSWORD).status_code for _ in range(4)} == {302}
    assert [attempt().status_code for _ in range(2)] == [200, 429]


def test_signing_in_and_out_stands_in_the_audit_log_and_wakes(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(status=UserStatus.DORMANT)
    client = Client()
    client.post("/login", {"username": "alice", "password": PASSWORD})
    client.post("/login", {"username": "alice", "password": "wrong"})
    client.post("/logout")
    client.post("/logout")

    entries = AuditEntry.objects.order_by("id").values_list("actor_name", "action")
    assert list(entries) == [("alice", "login"), ("alice", "logout")]
    stored = User.objects.get(pk=alice.pk)
    assert (stored.status, stored.last_seen_at is None) == (UserStatus.ACTIVE, False)
