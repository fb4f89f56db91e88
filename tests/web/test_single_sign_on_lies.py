"""What a provider, or somebody between, may try: lies are refused, and failures are bounded."""

import asyncio
import base64
import hashlib
import hmac
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import time_machine
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import connection, connections
from django.test import Client

from chatd.accounts.models import ExternalIdentity, GroupMember, User
from chatd.accounts.oidc import http, id_token, tokens
from chatd.accounts.oidc.http import ProviderSession
from chatd.accounts.oidc.tokens import oidc_token_for
from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from tests.conftest import Cast
from tests.support import oidc
from tests.support.oidc import EC_KEY, OTHER_RSA_KEY, RSA_KEY, LyingProvider, jwk, signed

pytestmark = pytest.mark.django_db

Configure = Callable[..., None]
HOST = "http://testserver"


@pytest.fixture
def provider(configure: Configure) -> Iterator[LyingProvider]:
    with LyingProvider() as server:
        configure(single_sign_on=oidc.configured(server.issuer))
        yield server


def leave(client: Client) -> str:
    answer = client.post("/login/oidc", {"next": "/chats?archived"})
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def come_back(provider: LyingProvider, client: Client, **changes: str) -> Any:
    back = provider.authorize(leave(client), **changes)
    return client.get(back.removeprefix(HOST))


def sign_in(provider: LyingProvider) -> Any:
    return come_back(provider, Client())


def assert_refused(provider: LyingProvider, status: int, words: str) -> None:
    client = Client()
    answer = come_back(provider, client)
    html = answer.content.decode()
    assert answer.status_code == status, html
    assert words in html
    assert 'role="alert"' in html
    assert html.count('name="next" value="/chats?archived"') == 2
    assert "_auth_user_id" not in client.session
    assert not User.objects.filter(login_type="oidc").exists()
    assert not ExternalIdentity.objects.exists()


UNTRUSTED = "cannot be trusted"


# what is right


def test_an_honest_answer_signs_in(provider: LyingProvider) -> None:
    assert sign_in(provider)["Location"] == "/chats?archived"
    assert User.objects.get(email="frank@example.com").username == "frank"
    assert provider.asked == ["/.well-known/openid-configuration", "/token", "/jwks"]
    sign_in(provider)
    assert provider.asked[3:] == ["/token"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [oidc.CLIENT_ID]},
        {"aud": ["other", oidc.CLIENT_ID], "azp": oidc.CLIENT_ID},
        {"azp": oidc.CLIENT_ID},
    ],
)
def test_an_honest_answer_has_several_forms(
    provider: LyingProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert sign_in(provider).status_code == 302


def test_clocks_may_differ_by_a_minute(provider: LyingProvider) -> None:
    provider.claims = {"exp": int(time.time()) - 20, "iat": int(time.time()) + 20}
    assert sign_in(provider).status_code == 302


def test_keys_of_other_kinds_and_without_an_id_are_understood(provider: LyingProvider) -> None:
    provider.keys = [jwk(EC_KEY, "two"), jwk(RSA_KEY, "one"), jwk(OTHER_RSA_KEY, "x", use="enc")]
    provider.sign = lambda claims: signed(claims, key=EC_KEY, algorithm="ES256", key_id="")
    assert sign_in(provider).status_code == 302
    provider.sign = lambda claims: signed(claims, algorithm="PS256", key_id="")
    assert sign_in(provider).status_code == 302


def test_a_new_key_is_asked_for_once(
    provider: LyingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign_in(provider).status_code == 302
    provider.keys = [jwk(OTHER_RSA_KEY, "two")]
    provider.sign = lambda claims: signed(claims, key=OTHER_RSA_KEY, key_id="two")
    assert sign_in(provider).status_code == 403  # asked for a moment ago
    monkeypatch.setattr(id_token, "REFETCH_SECONDS", 0.0)
    assert sign_in(provider).status_code == 302
    assert provider.asked.count("/jwks") == 2


def test_a_provider_that_wants_basic_authentication_gets_it(provider: LyingProvider) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    assert sign_in(provider).status_code == 302
    assert "client_secret" not in provider.bodies[0]


# lies in the ID token

LONG_AGO, SOON = int(time.time()) - 3600, int(time.time()) + 86_400

LIES: list[dict[str, Any]] = [
    {"nonce": "of-another-sign-in"},
    {"nonce": None},
    {"nonce": ""},
    {"nonce": 7},
    {"nonce": ["list"]},
    {"aud": "another-client"},
    {"aud": ["another-client"]},
    {"aud": ["another-client", oidc.CLIENT_ID]},
    {"aud": ["another-client", oidc.CLIENT_ID], "azp": "another-client"},
    {"aud": []},
    {"aud": None},
    {"azp": "another-client"},
    {"azp": 7},
    {"iss": "https://another.example"},
    {"iss": None},
    {"exp": LONG_AGO},
    {"exp": None},
    {"exp": "soon"},
    {"iat": SOON},
    {"iat": None},
    {"nbf": SOON},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
    {"sub": "a" * 256},
    {"sub": "with\x00nul"},
]


@pytest.mark.parametrize("claims", LIES)
def test_a_lie_in_the_claims_is_refused(provider: LyingProvider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    assert_refused(provider, 403, UNTRUSTED)


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def _with_public_key_as_secret(claims: dict[str, Any]) -> str:
    """Sign with HMAC and the bytes that everybody knows; libraries refuse to, so by hand."""
    head, body, _ = jwt.encode(claims, "x" * 32, "HS256", headers={"kid": "one"}).split(".")
    digest = hmac.digest(PUBLIC_PEM, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


FORGERIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "no signature": lambda claims: jwt.encode(claims, "", "none", headers={"kid": "one"}),
    "signed with the client secret": lambda claims: jwt.encode(
        claims, oidc.CLIENT_SECRET + "-longer-than-32-bytes", "HS256", headers={"kid": "one"}
    ),
    "signed with the public key as a secret": _with_public_key_as_secret,
    "signed by another key": lambda claims: signed(claims, key=OTHER_RSA_KEY),
    "signed by an unknown key": lambda claims: signed(claims, key=OTHER_RSA_KEY, key_id="two"),
    "signed by the key it brings": lambda claims: jwt.encode(
        claims,
        OTHER_RSA_KEY,
        "RS256",
        headers={"kid": "two", "jwk": jwk(OTHER_RSA_KEY, "two")},
    ),
    "signed by a key of another kind": lambda claims: signed(claims, key=EC_KEY, algorithm="ES256"),
    "changed afterwards": lambda claims: signed(claims)[:-6] + "AAAAAA",
    "no token": lambda claims: "not-a-token",
    "empty": lambda claims: "",
    "broken": lambda claims: "a.b.c",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused(provider: LyingProvider, name: str) -> None:
    provider.sign = FORGERIES[name]
    assert_refused(provider, 403, UNTRUSTED)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [jwk(RSA_KEY, "one", use="enc")],
        [jwk(RSA_KEY, "one", alg="RS512")],
        [jwk(RSA_KEY, "one"), jwk(OTHER_RSA_KEY, "one")],
        [{"kty": "RSA", "kid": "one"}],
        [{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}],
        ["one"],
        "none",
    ],
)
def test_keys_that_do_not_fit_are_no_keys(provider: LyingProvider, keys: Any) -> None:
    provider.keys = keys
    assert_refused(provider, 403, UNTRUSTED)


def test_a_short_key_is_no_key(provider: LyingProvider) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)

    def sign(claims: dict[str, Any]) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the short key
            return signed(claims, key=short)

    provider.keys = [jwk(short, "one")]
    provider.sign = sign
    assert_refused(provider, 403, UNTRUSTED)


@pytest.mark.parametrize(
    "answer",
    [
        {"id_token": None},
        {"id_token": 7},
        {"access_token": None},
        {"access_token": ["list"]},
    ],
)
def test_an_answer_without_tokens_is_refused(
    provider: LyingProvider, answer: dict[str, Any]
) -> None:
    provider.answer = answer
    assert_refused(provider, 403, UNTRUSTED)


# state


def get(client: Client, query: str) -> Any:
    return client.get(f"/login/oidc/callback?{query}")


def test_a_callback_needs_the_state_of_this_browser_once(provider: LyingProvider) -> None:
    mine, other = Client(), Client()
    location = leave(mine)
    back = provider.authorize(location).removeprefix(HOST)
    leave(other)
    assert other.get(back).status_code == 400
    assert mine.get(back).status_code == 302
    again = mine.get(back)
    assert again.status_code == 400
    assert "was used already" in again.content.decode()
    for query in ("", "code=a", "state=", "state=&code=a", "state=made-up&code=a", "error=a"):
        assert get(Client(), query).status_code == 400, query
    assert provider.asked.count("/token") == 1


def test_a_refused_answer_uses_up_its_state(provider: LyingProvider) -> None:
    client = Client()
    provider.claims = {"nonce": "wrong"}
    back = provider.authorize(leave(client)).removeprefix(HOST)
    assert client.get(back).status_code == 403
    assert client.get(back).status_code == 400


def test_a_state_is_good_for_ten_minutes(provider: LyingProvider) -> None:
    client = Client()
    with time_machine.travel(time.time() - 660):
        back = provider.authorize(leave(client)).removeprefix(HOST)
    assert client.get(back).status_code == 400


def test_two_tabs_do_not_disturb_each_other(provider: LyingProvider) -> None:
    client = Client()
    first, second = leave(client), leave(client)
    for location in (first, second):
        back = provider.authorize(location).removeprefix(HOST)
        assert client.get(back).status_code == 302


def test_a_code_of_somebody_else_is_of_no_use(provider: LyingProvider) -> None:
    """Two in one: the nonce and the secret of PKCE belong to the other browser."""
    mine, other = Client(), Client()
    code = oidc.query_of(provider.authorize(leave(other)))["code"]
    answer = mine.get(provider.authorize(leave(mine), code=code).removeprefix(HOST))
    assert answer.status_code == 403
    assert "_auth_user_id" not in mine.session


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"error": "access_denied"}, 403, "did not let you in, or you cancelled"),
        ({"error": "server_error"}, 403, "ended the sign-in"),
        ({"error": "<script>alert(1)</script>", "error_description": "<b>x"}, 403, "ended the"),
        ({"error": "", "code": "a"}, 403, "ended the sign-in"),
        ({"iss": "https://another.example", "code": "a"}, 403, UNTRUSTED),
        ({}, 403, "ended the sign-in"),
        ({"code": "made-up"}, 403, UNTRUSTED),
    ],
)
def test_what_comes_back_instead_of_a_code_is_told(
    provider: LyingProvider, query: dict[str, str], status: int, words: str
) -> None:
    client = Client()
    state = oidc.query_of(leave(client))["state"]
    answer = client.get("/login/oidc/callback", {"state": state, **query})
    assert answer.status_code == status
    assert words in answer.content.decode()
    assert "<script>alert" not in answer.content.decode()


def test_the_answer_may_name_its_provider_and_no_other(provider: LyingProvider) -> None:
    assert come_back(provider, Client(), iss="https://another.example").status_code == 403
    assert provider.asked.count("/token") == 0
    assert come_back(provider, Client(), iss=provider.issuer).status_code == 302


# a provider that fails


async def _error(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "x" * 100, "secret": "canary"}, status=500)


async def _missing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=404, text="canary")


async def _elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/elsewhere")


async def _no_token(request: web.Request) -> web.StreamResponse:
    return web.json_response({"secret": "canary-in-the-answer"})


async def _no_json(request: web.Request) -> web.StreamResponse:
    return web.Response(text="canary", content_type="application/json")


async def _a_list(request: web.Request) -> web.StreamResponse:
    return web.json_response(["access_token"])


async def _a_number(request: web.Request) -> web.StreamResponse:
    return web.json_response(7)


async def _deep(request: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 100_000, content_type="application/json")


async def _nothing(request: web.Request) -> web.StreamResponse:
    return web.Response()


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * 64 * 1024)
    return response


async def _hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def _trickle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


UNREACHABLE = "cannot be reached, or does not work right now"
PATHS = ["/.well-known/openid-configuration", "/jwks", "/token", "/userinfo"]
OUTAGES = [_error, _cut, _huge, _hang, _trickle]
NONSENSE = [_missing, _elsewhere, _no_json, _a_list, _a_number, _deep, _nothing]


def attempt(provider: LyingProvider) -> Any:
    """Try to sign in, wherever it ends; userinfo is needed."""
    provider.claims = {"name": None}
    client = Client()
    answer = client.post("/login/oidc", {"next": "/chats?archived"})
    if answer.status_code == 302:
        answer = client.get(provider.authorize(answer["Location"]).removeprefix(HOST))
    assert "_auth_user_id" not in client.session
    assert not User.objects.filter(login_type="oidc").exists()
    assert 'name="next" value="/chats?archived"' in answer.content.decode()
    return answer


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", OUTAGES, ids=lambda fault: fault.__name__)
def test_an_outage_is_told_as_one_and_ends_in_time(
    provider: LyingProvider, path: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.6)
    provider.faults[path] = fault
    started = time.monotonic()
    answer = attempt(provider)
    assert time.monotonic() - started < 25
    assert answer.status_code == 503
    assert UNREACHABLE in answer.content.decode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", NONSENSE, ids=lambda fault: fault.__name__)
def test_nonsense_is_told_as_such(provider: LyingProvider, path: str, fault: Any) -> None:
    provider.faults[path] = fault
    answer = attempt(provider)
    assert answer.status_code == 403
    assert UNTRUSTED in answer.content.decode()
    assert "canary" not in answer.content.decode()
    assert "/elsewhere" not in provider.asked


def test_a_provider_that_is_gone_is_told(configure: Configure) -> None:
    configure(single_sign_on=oidc.configured("http://127.0.0.1:9"))
    answer = Client().post("/login/oidc")
    assert answer.status_code == 503
    assert UNREACHABLE in answer.content.decode()


def test_outages_are_not_counted_as_guesses(
    provider: LyingProvider, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(sign_in_rate_limit=2, single_sign_on=oidc.configured(provider.issuer))
    provider.faults["/token"] = _error
    assert [sign_in(provider).status_code for _ in range(4)] == [503] * 4


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://another.example"},
        {"issuer": None},
        {"authorization_endpoint": "http://another.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://another.example/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
    ],
)
def test_a_provider_must_be_who_is_configured_and_safe_to_ask(
    provider: LyingProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    answer = Client().post("/login/oidc")
    assert answer.status_code == 403
    assert UNTRUSTED in answer.content.decode()


def test_no_transaction_is_open_while_the_provider_is_asked(
    transactional_db: None, provider: LyingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    ask = ProviderSession.request

    def watched(self: ProviderSession, *args: Any, **kwargs: Any) -> Any:
        seen.append(connection.in_atomic_block)
        return ask(self, *args, **kwargs)

    monkeypatch.setattr(ProviderSession, "request", watched)
    provider.claims = {"name": None}
    assert sign_in(provider).status_code == 302
    assert seen == [False] * 4


# userinfo


def test_what_the_id_token_leaves_out_comes_from_userinfo(
    provider: LyingProvider, configure: Configure
) -> None:
    configure(
        single_sign_on=oidc.configured(provider.issuer, GROUPS_CLAIM="groups", CREATE_GROUPS="yes")
    )
    provider.claims = {"email": None, "email_verified": None, "name": None}
    provider.userinfo = {
        "email": "frank@corp.example",
        "email_verified": True,
        "name": "Frank of userinfo",
        "preferred_username": "not-this-one",
        "groups": ["support"],
    }
    assert sign_in(provider).status_code == 302
    user = User.objects.get(email="frank@corp.example")
    assert (user.username, user.name) == ("frank", "Frank of userinfo")
    assert groups() == {"support"}


def test_userinfo_about_somebody_else_is_refused(provider: LyingProvider) -> None:
    provider.claims = {"name": None}
    provider.userinfo = {"sub": "somebody-else"}
    assert_refused(provider, 403, UNTRUSTED)


def test_userinfo_does_not_verify_another_address(provider: LyingProvider) -> None:
    provider.claims = {"email_verified": None}
    provider.userinfo = {"email": "own@example.com", "email_verified": True}
    assert_refused(provider, 403, "has not verified your e-mail address")


def test_a_verified_address_says_nothing_of_another_claim(
    provider: LyingProvider, configure: Configure
) -> None:
    configure(single_sign_on=oidc.configured(provider.issuer, EMAIL_CLAIM="upn"))
    provider.claims = {"upn": "root@example.com"}
    assert_refused(provider, 403, "has not verified your e-mail address")


# claims of every shape


def groups() -> set[str]:
    return set(GroupMember.objects.values_list("group__name", flat=True))


TOO_LONG = "a" * 513
SHAPES: list[tuple[str, dict[str, Any], set[str], str]] = [
    ("groups", {"groups": ["a", "b", "a", "A"]}, {"a", "b"}, ""),
    ("groups", {"groups": "just-one"}, {"just-one"}, ""),
    ("groups", {"groups": []}, set(), ""),
    ("groups", {"groups": ""}, set(), ""),
    ("groups", {}, set(), "did not come"),
    ("groups", {"groups": {"a": True}}, set(), "is an object"),
    ("groups", {"groups": 7}, set(), "is no text"),
    ("groups", {"groups": True}, set(), "is no text"),
    ("groups", {"groups": ["a", 7, None, ["b"], {"c": 1}]}, {"a"}, "left out"),
    ("groups", {"groups": ["a", "", TOO_LONG, "n\x00ul"]}, {"a"}, "left out"),
    ("groups", {"groups": ["two words", "a/b", "ä", "Everyone", "b"]}, {"b"}, "4 of the values"),
    ("realm.roles", {"realm": {"roles": ["a"]}}, {"a"}, ""),
    ("realm.roles", {"realm": ["roles"]}, set(), "did not come"),
    ("https://x.example/g", {"https://x.example/g": ["a"]}, {"a"}, ""),
    ("groups", {"_claim_names": {"groups": "src1"}}, set(), "too long for it"),
]


@pytest.mark.parametrize(("path", "claims", "expected", "note"), SHAPES)
def test_a_groups_claim_of_any_shape_is_understood_or_explained(
    provider: LyingProvider,
    configure: Configure,
    path: str,
    claims: dict[str, Any],
    expected: set[str],
    note: str,
) -> None:
    configure(
        single_sign_on=oidc.configured(provider.issuer, GROUPS_CLAIM=path, CREATE_GROUPS="yes")
    )
    provider.claims = claims
    assert sign_in(provider).status_code == 302
    assert groups() == expected
    stored = ExternalIdentity.objects.get()
    assert (note in stored.received_note) if note else stored.received_note == ""


def test_ten_thousand_groups_are_borne(provider: LyingProvider, configure: Configure) -> None:
    many = [f"group-{number}" for number in range(12_000)]
    options = {"GROUPS_CLAIM": "groups", "GROUPS": '{"group-9999": "last-of-all"}'}
    configure(single_sign_on=oidc.configured(provider.issuer, **options))
    provider.claims = {"groups": many}
    assert sign_in(provider).status_code == 302
    assert groups() == {"last-of-all"}
    stored = ExternalIdentity.objects.get()
    assert stored.received_groups == many[:200]
    assert "Of 12000 values only the first 10000 count." in stored.received_note
    configure(single_sign_on=oidc.configured(provider.issuer, **options, CREATE_GROUPS="yes"))
    assert sign_in(provider).status_code == 302
    assert len(groups()) == 201
    assert "200 are made" in ExternalIdentity.objects.get().received_note


@pytest.mark.parametrize(
    ("claims", "username"),
    [
        ({"preferred_username": "José María @ corp"}, "Jose-Maria"),
        ({"preferred_username": "--a__b..c--"}, "a-b-c"),
        ({"preferred_username": "x" * 40}, "x" * 32),
        ({"preferred_username": "x" * 31 + " y"}, "x" * 31),
        ({"preferred_username": "日本"}, "frank"),
        ({"preferred_username": "me"}, "frank"),
        ({"preferred_username": ["list"]}, "frank"),
        ({"preferred_username": "0f0e0d0c0b0a49088706050403020100"}, "frank"),
        ({"preferred_username": "日本", "email": "日本@example.com"}, None),
        ({"preferred_username": "", "email": "_@example.com"}, "person"),
    ],
    ids=str,
)
def test_a_user_name_is_made_of_what_came(
    provider: LyingProvider, claims: dict[str, Any], username: str | None
) -> None:
    provider.claims = claims
    answer = sign_in(provider)
    if username is None:
        assert "did not tell your e-mail address" in answer.content.decode()
    else:
        assert User.objects.get(login_type="oidc").username == username


# tokens


def test_a_token_is_renewed_before_it_ends(provider: LyingProvider) -> None:
    sign_in(provider)
    issued = time.time()
    user = User.objects.get(login_type="oidc")
    first = oidc_token_for(user)
    assert first == oidc_token_for(user)
    with time_machine.travel(issued + 295):
        second = oidc_token_for(user)
        assert second not in (None, first)
        assert oidc_token_for(user) == second
        assert provider.bodies[-1]["grant_type"] == "refresh_token"
        provider.faults["/token"] = _error
        assert oidc_token_for(user) == second
    with time_machine.travel(issued + 295 + 295, tick=False):
        assert oidc_token_for(user) == second  # ends within seconds, and there is no other
    with time_machine.travel(issued + 295 + 600, tick=False):
        assert oidc_token_for(user) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_who_need_a_token_at_once_one_renews_it(
    provider: LyingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(provider)
    user = User.objects.get(login_type="oidc")
    renew, begun, go_on = tokens._renewed, threading.Event(), threading.Event()

    def slowly(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(120)
        return renew(*given)

    def token(_: int) -> str | None:
        try:
            return oidc_token_for(user)
        finally:
            connections.close_all()

    monkeypatch.setattr(tokens, "_renewed", slowly)
    asked = len(provider.bodies)
    with time_machine.travel(time.time() + 400), ThreadPoolExecutor(5) as pool:
        first = pool.submit(token, 0)
        assert begun.wait(120)
        others = [pool.submit(token, number) for number in range(1, 5)]
        go_on.set()
        found = {each.result(120) for each in (first, *others)}
    renewals = [b for b in provider.bodies[asked:] if b.get("grant_type") == "refresh_token"]
    assert len(renewals) == 1
    assert found == {provider.issued[-2]}  # before the new refresh token


def test_who_renews_and_dies_keeps_others_waiting_for_a_while_only(
    provider: LyingProvider,
) -> None:
    sign_in(provider)
    user = User.objects.get(login_type="oidc")
    ExternalIdentity.objects.update(renewing_until=now() + tokens.CLAIM_KEPT)
    with time_machine.travel(time.time() + 400):
        assert oidc_token_for(user) == provider.issued[-2]
    assert ExternalIdentity.objects.get(user=user).renewing_until is None


def test_there_is_no_token_of_people_without_one(
    provider: LyingProvider, cast: Cast, configure: Configure
) -> None:
    assert oidc_token_for(cast.alice) is None
    sign_in(provider)
    user = User.objects.get(login_type="oidc")
    ExternalIdentity.objects.update(access_token="v1:damaged", refresh_token="v1:damaged")
    assert oidc_token_for(user) is None
    sign_in(provider)
    assert oidc_token_for(user) is not None
    suspended = User.objects.get(pk=user.pk)
    suspended.status = "suspended"
    assert oidc_token_for(suspended) is None
    configure(single_sign_on=None)
    assert oidc_token_for(user) is None


def test_a_token_that_never_ends_or_says_nonsense_is_just_used(provider: LyingProvider) -> None:
    for expires_in in (None, "soon", [], 10**400):
        provider.answer = {"expires_in": expires_in}
        assert sign_in(provider).status_code == 302
        assert oidc_token_for(User.objects.get(login_type="oidc")) is not None


# secrets


def test_no_code_token_or_secret_is_in_a_log_a_page_or_the_audit_log(
    provider: LyingProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pages, seen = [], []

    def run(client: Client) -> None:
        location = leave(client)
        seen.extend([oidc.query_of(location)["nonce"], oidc.query_of(location)["state"]])
        answer = client.get(provider.authorize(location).removeprefix(HOST))
        pages.append(answer.content.decode())

    run(Client())
    provider.claims = {"nonce": "wrong"}
    run(Client())
    provider.claims = {}
    for fault in (_error, _missing, _no_token, _a_number, _no_json):
        provider.faults = {"/token": fault}
        run(Client())
    provider.faults = {}
    provider.answer = {"access_token": None, "secret": "canary-in-the-answer"}
    run(Client())
    audit = repr(list(AuditEntry.objects.values()))
    stored = repr(list(ExternalIdentity.objects.values()))
    assert "single sign-on refused" in caplog.text
    assert len(provider.issued) > 10
    for secret in [*provider.issued, *seen, oidc.CLIENT_SECRET, "canary-in-the-answer"]:
        assert secret not in caplog.text
        assert secret not in audit + stored
        assert secret not in "".join(pages)
