"""Signing in for a session token, and out again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.test import Client
from time_machine import Traveller

from chatd.accounts.actions import create_user
from chatd.accounts.models import APIKey, KeyType, LoginType, User, UserStatus
from chatd.audit.models import Action, AuditEntry
from chatd.core.clock import now
from config.env import env
from tests.api.client import HEADER, Answer, Api, api_of
from tests.conftest import Cast

pytestmark = pytest.mark.usefixtures("hashes")

USERS = "/api/v2/users"
LOGIN = f"{USERS}/login"
LOGOUT = f"{USERS}/logout"
PASSWORD = "correct horse battery"
WRONG = {"message": "Incorrect email or password."}


@pytest.fixture
def dora(cast: Cast) -> User:
    return create_user(username="dora", email="dora@x.example", password=PASSWORD)


def sign_in(email: str = "dora@x.example", password: str = PASSWORD, **options: Any) -> Answer:
    return Api().post(LOGIN, {"email": email, "password": password}, **options)


def session_of(answer: Answer) -> Api:
    assert (answer.status, set(answer.body)) == (201, {"session_token"})
    return Api(answer.body["session_token"])


@pytest.mark.parametrize("email", ["dora@x.example", "DORA@X.example", "dora"])
def test_one_signs_in_and_acts_with_the_token(dora: User, email: str) -> None:
    assert session_of(sign_in(email)).get(f"{USERS}/me").body["username"] == "dora"
    key = APIKey.objects.get(user=dora)
    assert (key.login_type, key.token_name, key.scopes) == (KeyType.SESSION, "", [])
    assert key.lifetime_seconds == env.session_days * 86_400


def test_a_session_ends_by_itself(dora: User) -> None:
    api = session_of(sign_in())
    with time_machine.travel(now() + timedelta(days=env.session_days), tick=False):
        answer = api.get(f"{USERS}/me")
    assert (answer.status, answer.detail[:16]) == (401, "API key expired ")


def test_a_session_is_no_token_in_lists_and_can_be_ended_by_its_id(dora: User) -> None:
    api = session_of(sign_in())
    assert api.get(f"{USERS}/me/keys/tokens").body == []
    assert api_of(dora).delete(f"{USERS}/me/keys/{APIKey.objects.first().pk}").status == 204


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("dora@x.example", "wrong"),
        ("dora@x.example", f"{PASSWORD}\x00"),
        ("nobody@x.example", PASSWORD),
        ("nobody@x.example", "wrong"),
        ("dora\x00", PASSWORD),
        ("%", PASSWORD),
        ("alice@example.com", PASSWORD),
    ],
)
def test_anything_else_is_one_and_the_same_refusal(dora: User, email: str, password: str) -> None:
    answer = sign_in(email, password)
    assert (answer.status, answer.body) == (401, WRONG)
    assert not APIKey.objects.exists()


def test_a_hash_is_computed_whether_there_is_such_an_account_or_not(
    dora: User, cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)
    people = {"suspended": UserStatus.SUSPENDED, "active": UserStatus.ACTIVE}
    for name, status in people.items():
        user = create_user(username=name, email="", password=PASSWORD)
        User.objects.filter(pk=user.pk).update(status=status)
    hashed: list[str] = []
    real = PBKDF2PasswordHasher.encode

    def encode(self: Any, password: str, salt: str, iterations: int | None = None) -> str:
        hashed.append(password)
        return real(self, password, salt, iterations)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    for name in ("active", "suspended", "nobody", "alice"):
        hashed.clear()
        assert sign_in(name, "wrong").body == WRONG
        assert len(hashed) == 1, name


def test_only_who_knows_the_password_is_told_that_an_account_is_suspended(dora: User) -> None:
    User.objects.filter(pk=dora.pk).update(status=UserStatus.SUSPENDED)
    answer = sign_in()
    assert (answer.status, answer.body) == (
        401,
        {"message": "Your account is suspended. Contact an administrator to reactivate it."},
    )
    assert sign_in(password="wrong").body == WRONG
    assert not APIKey.objects.exists()


@pytest.mark.parametrize("change", [{"deleted": True}, {"login_type": LoginType.OIDC}])
def test_who_is_gone_or_signs_in_elsewhere_does_not_sign_in(dora: User, change: Any) -> None:
    User.objects.filter(pk=dora.pk).update(**change)
    assert sign_in().body == WRONG


def test_signing_in_wakes_a_dormant_person(dora: User) -> None:
    User.objects.filter(pk=dora.pk).update(status=UserStatus.DORMANT)
    assert session_of(sign_in()).get(f"{USERS}/me").body["status"] == "active"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["email", "password"]),
        ({"email": "dora"}, ["password"]),
        ({"email": "", "password": "x"}, ["email"]),
        ({"email": None, "password": None}, ["email", "password"]),
    ],
)
def test_what_is_missing_is_told(db: None, body: Any, fields: list[str]) -> None:
    answer = Api().post(LOGIN, body)
    assert answer.status == 400
    assert [entry["field"] for entry in answer.body["validations"]] == fields


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"email": 1}', b'{"password": []}'])
def test_a_body_of_another_type_is_refused(db: None, raw: bytes) -> None:
    answer = Api().post(LOGIN, raw=raw)
    assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")


def test_a_password_stands_in_no_answer_and_no_entry(dora: User) -> None:
    for answer in (sign_in(), sign_in(password=f"{PASSWORD}x"), Api().post(LOGIN, raw=b"{")):
        assert PASSWORD not in str(answer.body)
    assert PASSWORD not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [LOGIN, LOGOUT])
def test_a_wrong_method_is_a_405(alice: Api, method: str, path: str) -> None:
    answer = alice.call(method, path)
    assert (answer.status, answer.body) == (405, {"message": "Method not allowed."})
    assert "POST" in answer.headers["Allow"]


def test_signing_in_takes_whatever_else_a_browser_carries(dora: User, cast: Cast) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    browser.cookies["coder_session_token"] = "nonsense"
    headers = {HEADER: "nonsense", "Idempotency-Key": "not kept"}
    body = {"email": "dora", "password": PASSWORD}
    first, second = (Api(browser=browser).post(LOGIN, body, headers=headers) for _ in range(2))
    assert first.body["session_token"] != second.body["session_token"]


def test_attempts_are_limited(dora: User, configure: Callable[..., None], clock: Traveller) -> None:
    configure(sign_in_rate_limit=2)
    answers = [sign_in(password="wrong") for _ in range(3)]
    assert [answer.status for answer in answers] == [401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert sign_in().status == 429, "not with the right password either"
    assert sign_in("nobody", "wrong").status == 401


# Signing out


def test_signing_out_ends_the_session_and_no_other(dora: User) -> None:
    first, second = session_of(sign_in()), session_of(sign_in())
    answer = first.post(LOGOUT)
    assert (answer.status, answer.body) == (200, {"message": "Logged out!"})
    assert [api.get(f"{USERS}/me").status for api in (first, second)] == [401, 200]
    assert first.post(LOGOUT).status == 401


def test_signing_out_with_a_token_ends_the_token(alice: Api) -> None:
    assert alice.post(LOGOUT).status == 200
    assert alice.get(f"{USERS}/me").status == 401


def test_signing_out_on_the_pages_ends_the_session_of_the_pages(cast: Cast, alice: Api) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    browser.cookies["csrftoken"] = "a" * 32
    here = Api(browser=browser)
    assert here.post(LOGOUT, headers={"X-CSRF-TOKEN": "a" * 32}).status == 200
    assert here.get(f"{USERS}/me").status == 401
    assert alice.get(f"{USERS}/me").status == 200


def test_signing_in_and_out_stands_in_the_audit_log(dora: User) -> None:
    session_of(sign_in()).post(LOGOUT)
    User.objects.filter(pk=dora.pk).update(status=UserStatus.SUSPENDED)
    sign_in()
    sign_in(password="wrong")
    told = [
        (entry.actor_name, entry.action, entry.resource_type, bool(entry.refused))
        for entry in AuditEntry.objects.order_by("id")
    ]
    assert told == [
        ("dora", Action.LOGIN, "user", False),
        ("dora", Action.LOGOUT, "api_key", False),
        ("dora", Action.LOGIN, "user", True),
    ]
