"""The page on which people change what they are called, and their password."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from time_machine import Traveller

from chatd.accounts.actions import create_session, create_token
from chatd.accounts.models import APIKey, LoginType, User
from chatd.audit.models import AuditEntry
from tests.web.conftest import browser_of
from tests.web.test_settings_pages import html_of

OLD, NEW = "correct horse battery", "a staple of another kind"
PATH = "/settings"


@pytest.fixture
def alice(alice: User, settings: Any) -> User:
    """Alice with a password, cheaply hashed."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    alice.login_type = LoginType.PASSWORD
    alice.set_password(OLD)
    alice.save()
    return alice


def rename(page: Client, username: str, name: str = "") -> Any:
    return page.post(PATH, {"form": "profile", "username": username, "name": name})


def change(page: Client, old: str = OLD, new: str = NEW, again: str | None = None) -> Any:
    typed = {"old_password": old, "password": new, "again": new if again is None else again}
    return page.post(PATH, {"form": "password", **typed})


def test_the_page_shows_who_one_is_in_two_queries(page: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        html = html_of(page.get(PATH))
    assert "alice@example.com" in html
    assert 'value="alice"' in html
    assert len(queries) == 2, "the session and its person"


def test_a_new_name_is_saved_and_said_once(page: Client, alice: User) -> None:
    response = rename(page, "Alice-2", " Alice Liddell ")
    assert (response.status_code, response["Location"]) == (302, "/settings#profile")
    alice.refresh_from_db()
    assert (alice.username, alice.name) == ("Alice-2", "Alice Liddell")
    assert "Your profile is saved." in html_of(page.get(PATH))
    assert "Your profile is saved." not in html_of(page.get(PATH))
    assert rename(page, "Alice-2", "Alice Liddell").status_code == 302, "twice changes nothing"
    assert AuditEntry.objects.filter(resource_type="user").count() == 1


@pytest.mark.parametrize(
    ("username", "status", "reason"),
    [
        ("-x-", 400, "User name must be 1 to 32 letters"),
        ("me", 400, "User name would be read as something else."),
        ("BOB", 409, "already in use"),
    ],
)
def test_a_refused_name_is_kept_in_the_form_with_the_reason_beside_it(
    page: Client, username: str, status: int, reason: str
) -> None:
    html = html_of(rename(page, username, "Typed & kept"), status)
    assert reason in html
    assert f'value="{username}"' in html
    assert 'value="Typed &amp; kept"' in html
    assert 'id="profile-username-error"' in html
    assert 'aria-invalid="true"' in html
    assert "<title>Not saved" in html


def test_a_new_password_ends_other_sessions_and_keeps_this_one(alice: User) -> None:
    here, elsewhere = browser_of(alice), browser_of(alice)
    session, token = create_session(alice)[0], create_token(user=alice)[0]
    response = change(here)
    assert response["Location"] == "/settings#password"
    assert "signed out everywhere else" in html_of(here.get(PATH))
    assert elsewhere.get(PATH).status_code == 302
    assert list(APIKey.objects.filter(pk__in=[session.pk, token.pk])) == [token]
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert html_of(change(here), 400), "the old password is not the old one any more"


@pytest.mark.parametrize(
    ("typed", "field", "reason"),
    [
        ({"old": "wrong"}, "old_password", "Old password is incorrect."),
        ({"new": "short"}, "password", "too short"),
        ({"new": "alice@example.com"}, "password", "too similar"),
        ({"again": "something else"}, "again", "not what you typed above"),
    ],
)
def test_a_refused_password_says_why_beside_its_field_and_shows_nothing_typed(
    page: Client, alice: User, typed: dict[str, str], field: str, reason: str
) -> None:
    html = html_of(change(page, **typed), 400)
    _, _, errors = html.partition(f'id="password-{field}-error"')
    assert reason in errors.partition("</div>")[0]
    for secret in (OLD, NEW, *typed.values()):
        assert f'"{secret}"' not in html
    assert AuditEntry.objects.count() == 0
    alice.refresh_from_db()
    assert alice.check_password(OLD)


def test_the_old_password_cannot_be_guessed_from_an_open_session(
    page: Client, alice: User, configure: Callable[..., None], clock: Traveller
) -> None:
    configure(sign_in_rate_limit=2)
    assert [change(page, old="wrong").status_code for _ in range(2)] == [400, 400]
    refused = change(page)
    assert "too many attempts at the old password" in html_of(refused, 429)
    assert refused["Retry-After"] == "61"
    clock.shift(61)
    assert change(page).status_code == 302
    assert change(page, NEW, OLD).status_code == 302, "knowing it is no guess"
    assert change(page, OLD, NEW).status_code == 302


@pytest.mark.parametrize(
    ("login_type", "sentence"),
    [(LoginType.OIDC, "the account of your organisation"), (LoginType.NONE, "has no password")],
)
def test_who_signs_in_otherwise_reads_a_sentence_instead_of_the_form(
    page: Client, alice: User, login_type: str, sentence: str
) -> None:
    User.objects.filter(pk=alice.pk).update(login_type=login_type)
    html = html_of(page.get(PATH))
    assert sentence in html
    assert 'type="password"' not in html
    assert "cannot have one" in html_of(change(page), 400)
