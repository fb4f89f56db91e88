"""What refuses a socket: a normal HTTP answer in JSON, before the upgrade."""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from websockets.exceptions import InvalidStatus

from chatd.accounts.models import User
from chatd.sockets import registry
from config.env import env
from tests.api.client import API, HEADER, JSON_TYPE, NIL, NOT_FOUND, SIGNED_OUT
from tests.sockets.live import LiveServer
from tests.support.product import wait_until

WATCH = f"{API}/chats/watch"


@dataclass(frozen=True)
class Refusal:
    status: int
    body: Any
    headers: Any


@pytest.fixture
def refusal(server):
    """Return a function that connects, is refused, and says how."""

    def connect(path: str, token: str = "", **headers: str) -> Refusal:
        with pytest.raises(InvalidStatus) as caught:
            server.connect(path, token, **headers)
        response = caught.value.response
        assert response.headers["Content-Type"] == JSON_TYPE
        assert response.body is not None
        assert response.body.endswith(b"\n")
        return Refusal(response.status_code, json.loads(response.body), response.headers)

    return connect


def accepted(server, path: str, token: str = "", **headers: str) -> None:
    with server.connect(path, token, **headers) as socket:
        assert socket.response is not None
        assert socket.response.status_code == 101


def stream(chat, query: str = "") -> str:
    return f"{API}/chats/{chat.pk if hasattr(chat, 'pk') else chat}/stream{query}"


@pytest.mark.parametrize("path", [stream("nonsense"), stream(NIL), WATCH])
def test_nobody_is_refused_before_the_path_is_looked_at(refusal, path):
    found = refusal(path)
    assert (found.status, found.body["message"]) == (401, SIGNED_OUT)
    assert found.body["detail"].startswith("Cookie")
    found = refusal(path, "nonsense")
    assert (found.status, found.body["detail"]) == (
        401,
        "Session token has an invalid format.",
    )


@pytest.mark.parametrize("who", ["bob", "carol"])
def test_a_chat_of_somebody_else_does_not_exist(refusal, chats, tokens, who):
    found = refusal(stream(chats.pending()), getattr(tokens, who))
    assert (found.status, found.body) == (404, NOT_FOUND)


def test_an_unknown_chat_does_not_exist(refusal, tokens):
    found = refusal(stream(NIL), tokens.alice)
    assert (found.status, found.body) == (404, NOT_FOUND)


@pytest.mark.parametrize("raw", ["x", "a" * 36, "%00", "%ff", "%ed%a0%80"])
def test_an_id_that_is_none_is_a_400(refusal, tokens, raw):
    found = refusal(stream(raw), tokens.alice)
    assert found.status == 400
    assert found.body["message"].startswith('Invalid UUID "')


BAD_AFTER_IDS = ["x", "1.5", "%00", "9223372036854775808", "-9223372036854775809", "9" * 5000]


@pytest.mark.parametrize("raw", [*BAD_AFTER_IDS, "%D9%A1", "%2B", "1e3", "%201"])
def test_a_bad_after_id_is_a_400(refusal, chats, tokens, raw):
    found = refusal(stream(chats.pending(), f"?after_id={raw}"), tokens.alice)
    assert (found.status, found.body["message"]) == (400, "Invalid after_id parameter.")


@pytest.mark.parametrize("raw", ["", "0", "-1", "-9223372036854775808", "9223372036854775807"])
def test_any_signed_64_bit_integer_is_an_after_id(server, chats, tokens, raw):
    accepted(server, stream(chats.pending(), f"?after_id={raw}"), tokens.alice)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "http://[", "nonsense"]
)
@pytest.mark.parametrize("path", [WATCH, stream("nonsense")])
def test_a_browser_sent_by_another_site_is_refused(refusal, tokens, path, origin):
    found = refusal(path, tokens.alice, Origin=origin)
    assert (found.status, found.body["message"]) == (403, "Forbidden.")


def test_a_browser_on_our_own_page_is_accepted(server, tokens):
    accepted(server, WATCH, tokens.alice, Origin=f"http://127.0.0.1:{server.port}")


def test_a_trusted_site_is_accepted(server, tokens, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example"]
    accepted(server, WATCH, tokens.alice, Origin="https://chat.example")


@pytest.mark.parametrize("path", [f"{API}/chats/nothing", "/", f"{API}/chats/{NIL}/messages"])
def test_an_unknown_socket_is_a_404(refusal, tokens, path):
    found = refusal(path, tokens.alice)
    assert (found.status, found.body) == (404, {"message": "Route not found."})


@pytest.mark.parametrize("place", ["cookie", "query", "header", "bearer", "access_query"])
def test_a_token_is_taken_from_every_place(server, tokens, place):
    token = tokens.alice
    query, headers = {
        "cookie": ("", {"Cookie": f"odd[name]=1; coder_session_token={token}"}),
        "query": (f"?coder_session_token={token}", {}),
        "header": ("", {HEADER: token}),
        "bearer": ("", {"Authorization": f"bearer {token}"}),
        "access_query": (f"?access_token={token}", {}),
    }[place]
    accepted(server, WATCH + query, **headers)


def session_cookie(user: User) -> str:
    """Return the cookie of someone signed in to the pages."""
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "chatd.accounts.backends.UsernameOrEmailBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return f"sessionid={store.session_key}"


def test_a_person_signed_in_to_the_pages_is_accepted(server, cast):
    accepted(server, WATCH, Cookie=session_cookie(cast.alice))


def test_the_session_of_a_suspended_person_is_worth_nothing(refusal, cast):
    cookie = session_cookie(cast.alice)
    User.objects.filter(pk=cast.alice.pk).update(status="suspended")
    assert refusal(WATCH, Cookie=cookie).status == 401


@pytest.mark.parametrize(
    "cookie", ['sessionid="\\000aaaaaaaaaa"', "sessionid=unknown1234", "=", 'a="', "a b=1"]
)
def test_a_cookie_may_hold_anything(refusal, cookie):
    assert refusal(WATCH, Cookie=cookie).status == 401


def test_administrators_may_read_a_chat(server, chats, tokens):
    chat = chats.pending()
    for token in (tokens.admin, tokens.root):
        accepted(server, stream(chat), token)


def test_an_archived_chat_can_be_followed(server, chats, tokens):
    accepted(server, stream(chats.archived()), tokens.alice)


def test_a_failure_before_the_upgrade_is_told_as_json(refusal, tokens, monkeypatch):
    async def broken(self, group: str, channel: str) -> None:
        raise ConnectionError("the broker is away")

    monkeypatch.setattr("chatd.live.local.LocalChannelLayer.group_add", broken)
    monkeypatch.setattr(
        "chatd.api.errors.log", type("Quiet", (), {"error": lambda *_, **__: None})()
    )
    found = refusal(WATCH, tokens.alice)
    assert found.status == 500
    assert found.body["message"] == "An internal server error occurred."


# How often


def test_a_handshake_more_than_the_limit_is_a_429_before_the_upgrade(
    server, refusal, chats, tokens, configure, clock
):
    configure(api_rate_limit=2)
    chat, other = chats.pending(), chats.pending()
    for left in ("1", "0"):
        with server.connect(stream(chat), tokens.alice) as socket:
            assert socket.response.headers["X-RateLimit-Remaining"] == left
    found = refusal(stream(chat, "?after_id=1"), tokens.alice)
    assert (found.status, found.body) == (
        429,
        {"message": "You've been rate limited for sending more than 2 requests in 1m0s."},
    )
    assert found.headers["Retry-After"] == "61"
    assert found.headers["X-RateLimit-Limit"] == "2"
    assert found.headers["X-RateLimit-Remaining"] == "0"
    assert int(found.headers["X-RateLimit-Reset"]) == int(time.time()) + 60
    accepted(server, stream(other), tokens.alice)
    accepted(server, stream(chat), tokens.root)
    clock.shift(61)
    accepted(server, stream(chat), tokens.alice)


def test_a_refused_handshake_counts_and_says_so(refusal, tokens, configure, clock):
    configure(api_rate_limit=2)
    found = [refusal(stream(NIL), tokens.alice) for _ in range(3)]
    assert [each.status for each in found] == [404, 404, 429]
    assert found[1].headers["X-RateLimit-Remaining"] == "0"


def test_handshakes_of_nobody_are_limited_by_address(server, refusal, tokens, configure, clock):
    configure(api_rate_limit=2)
    found = [refusal(path) for path in (WATCH, stream(NIL), WATCH)]
    assert [each.status for each in found] == [401, 401, 429]
    assert found[0].headers["X-RateLimit-Remaining"] == "1"
    accepted(server, WATCH, tokens.alice)


def test_a_trusted_proxy_says_whose_address_it_is(refusal, configure, clock):
    configure(api_rate_limit=1)
    first, second = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    found = [refusal(WATCH, **headers) for headers in (first, second, first)]
    assert [each.status for each in found] == [401, 401, 429]


def test_nobody_else_is_believed_about_addresses(transactional_db, configure, clock):
    configure(api_rate_limit=1, trusted_proxies=("192.0.2.9",))
    with LiveServer() as server:
        for address, status in (("192.0.2.1", 401), ("192.0.2.2", 429)):
            with pytest.raises(InvalidStatus) as caught:
                server.connect(WATCH, **{"X-Forwarded-For": address})
            assert caught.value.response.status_code == status


def test_site_owners_may_open_any_number(server, refusal, tokens, configure, clock):
    configure(api_rate_limit=1)
    header = {"X-Coder-Bypass-Ratelimit": "true"}
    for _ in range(3):
        accepted(server, WATCH, tokens.root, **header)
    accepted(server, WATCH, tokens.alice, **header)
    assert refusal(WATCH, tokens.alice, **header).status == 429


def test_a_socket_too_many_is_refused_and_told_when_to_come_again(
    server, refusal, tokens, monkeypatch
):
    monkeypatch.setattr(registry, "env", replace(env, max_sockets=1))
    with server.connect(WATCH, tokens.alice):
        found = refusal(WATCH, tokens.bob)
        assert found.status == 503
        assert found.body["message"] == "The server is busy. Try again in a moment."
        assert int(found.headers["Retry-After"]) > 0
    wait_until(lambda: not registry.is_full(), 20, "the first one has left")
    accepted(server, WATCH, tokens.bob)
