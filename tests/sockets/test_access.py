"""A socket lives no longer than the access it was opened with."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from chatd.accounts.actions import create_session, create_token
from chatd.accounts.models import APIKey, LoginType, User
from chatd.core.clock import now
from chatd.sockets import registry
from chatd.sockets.consumer import OneWaySocket
from chatd.sockets.handshake import authenticate_scope
from config.env import env
from tests.api.client import API, Api, Chats, api_of
from tests.conftest import Cast
from tests.sockets.live import SECONDS, Follower, LiveServer, Watcher
from tests.sockets.test_handshake import session_cookie

USERS = "/api/v2/users"
MEMBERS = "/api/v2/organizations/default/members"
ENDED = (1008, "access ended (401)")


@pytest.fixture(autouse=True)
def guardian(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """No round of healing comes to the aid of a doorbell, unless a test asks for one."""

    def every(seconds: float) -> None:
        monkeypatch.setattr(registry, "env", replace(env, heal_seconds=seconds))

    every(3600)
    return every


@pytest.fixture
def root(cast: Cast) -> Api:
    return api_of(cast.root)


def open_both(server: LiveServer, chats: Chats, token: str) -> tuple[Follower, Watcher]:
    """Open a stream and a watch socket, and read what the stream begins with."""
    follower, watcher = server.follow(chats.waiting(), token), server.watch(token)
    follower.until_status("waiting")
    return follower, watcher


def is_open(socket: Watcher, chats: Chats) -> bool:
    """Tell whether a watch socket of alice still hears of her chats."""
    chat = chats.pending()
    return bool(socket.next()["chat"]["id"] == str(chat.pk))


def suspend(root: Api, key: APIKey) -> int:
    return root.put(f"{USERS}/alice/status/suspend").status


def delete(root: Api, key: APIKey) -> int:
    return root.delete(f"{USERS}/alice").status


def revoke(root: Api, key: APIKey) -> int:
    return root.delete(f"{USERS}/alice/keys/{key.pk}").status


@pytest.mark.parametrize("end", [suspend, delete, revoke])
def test_sockets_close_when_their_access_is_taken_away(
    server: LiveServer, chats: Chats, cast: Cast, root: Api, end: Callable[[Api, APIKey], int]
) -> None:
    key, token = create_token(user=cast.alice)
    follower, watcher = open_both(server, chats, token)
    with follower, watcher, server.watch(create_token(user=cast.bob)[1]) as other:
        assert end(root, key) in (200, 204)
        assert follower.closed() == ENDED
        assert watcher.closed() == ENDED
        Chats(cast.bob, cast.organization, chats.model).pending()
        assert other.next()["kind"] == "created", "of somebody else, so still open"
    with pytest.raises(InvalidStatus, match="401"):
        server.watch(token)


def test_only_the_sockets_of_the_token_that_ended_close(
    server: LiveServer, chats: Chats, cast: Cast, root: Api
) -> None:
    key, token = create_token(user=cast.alice)
    with server.watch(token) as ended, server.watch(create_token(user=cast.alice)[1]) as other:
        revoke(root, key)
        assert ended.closed() == ENDED
        assert is_open(other, chats)


def test_a_socket_closes_when_its_token_expires(
    server: LiveServer, chats: Chats, cast: Cast
) -> None:
    began = now()
    for one in open_both(server, chats, create_token(user=cast.alice)[1]):
        one.socket.close()
    to_open = now() - began  # on this machine
    lifetime = max(timedelta(seconds=1), 8 * to_open)
    key, token = create_token(user=cast.alice, lifetime=lifetime)
    follower, watcher = open_both(server, chats, token)
    with follower, watcher:
        assert follower.closed() == ENDED
        assert watcher.closed() == ENDED
    assert now() >= key.expires_at


def test_signing_out_closes_the_sockets_of_that_session_alone(
    server: LiveServer, chats: Chats, cast: Cast
) -> None:
    first, second = (create_session(cast.alice)[1] for _ in range(2))
    with server.watch(first) as ended, server.watch(second) as other:
        assert Api(first).post(f"{USERS}/logout").status == 200
        assert ended.closed() == ENDED
        assert is_open(other, chats)


def test_a_new_password_closes_the_sockets_of_other_sessions(
    server: LiveServer, chats: Chats, cast: Cast, root: Api
) -> None:
    User.objects.filter(pk=cast.alice.pk).update(login_type=LoginType.PASSWORD)
    cast.alice.refresh_from_db()
    path = f"{API}/chats/watch"
    page = Watcher(server.connect(path, Cookie=session_cookie(cast.alice)))
    with (
        page,
        server.watch(create_session(cast.alice)[1]) as session,
        server.watch(create_token(user=cast.alice)[1]) as script,
    ):
        body = {"password": "a new long secret"}
        assert root.put(f"{USERS}/alice/password", body).status == 204
        assert page.closed() == ENDED
        assert session.closed() == ENDED
        assert is_open(script, chats)


def test_who_leaves_an_organisation_sees_its_chats_no_more(
    server: LiveServer, chats: Chats, cast: Cast, root: Api
) -> None:
    follower, watcher = open_both(server, chats, create_token(user=cast.alice)[1])
    with follower, watcher:
        assert root.delete(f"{MEMBERS}/alice").status == 204
        assert follower.closed() == (1008, "access ended (404)")
        assert is_open(watcher, chats), "a watch socket is about oneself"


def test_a_lost_doorbell_is_made_up_for(
    server: LiveServer, chats: Chats, cast: Cast, guardian: Callable[[float], None]
) -> None:
    guardian(0.1)
    keys = [create_token(user=cast.alice) for _ in range(2)]
    with server.watch(keys[0][1]) as ended, server.watch(keys[1][1]) as other:
        APIKey.objects.filter(pk=keys[0][0].pk).delete()
        assert ended.closed() == ENDED
        assert is_open(other, chats)
        User.objects.filter(pk=cast.alice.pk).update(status="suspended")
        assert other.closed() == ENDED


def test_watching_takes_the_scope_to_read_chats(
    server: LiveServer, chats: Chats, cast: Cast
) -> None:
    def token(*scopes: str) -> str:
        return create_token(user=cast.alice, scopes=scopes)[1]

    with pytest.raises(InvalidStatus, match="403"):
        server.watch(token("chat:update"))
    with pytest.raises(InvalidStatus, match="404"):
        server.follow(chats.waiting(), token("chat:update"))
    with server.watch(token("chat:read")) as watcher:
        assert is_open(watcher, chats)


def test_a_check_that_breaks_closes_nothing(
    server: LiveServer, chats: Chats, cast: Cast, root: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(scope: Any) -> None:
        raise OSError("the database is away")

    with server.watch(create_token(user=cast.alice)[1]) as watcher:
        quiet = type("Log", (), {"exception": lambda *_, **__: None})()
        monkeypatch.setattr("chatd.sockets.consumer.log", quiet)
        monkeypatch.setattr("chatd.sockets.consumer.authenticate_scope", broken)
        root.put(f"{USERS}/alice/profile", {"username": "alice", "name": "A"})
        assert is_open(watcher, chats)


class Standstill:
    """The first look of a socket that was let in rests once it has its answer, until `end`.

    `rung` counts the doorbells that socket has heard.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answered, self.end, self.rung = (
            threading.Event(),
            threading.Event(),
            threading.Semaphore(0),
        )
        look_again = OneWaySocket.look_again

        def heard(socket: OneWaySocket) -> None:
            look_again(socket)
            self.rung.release()

        monkeypatch.setattr(OneWaySocket, "look_again", heard)
        monkeypatch.setattr("chatd.sockets.consumer.authenticate_scope", self._authenticate)

    def _authenticate(self, scope: Any) -> Any:
        actor = authenticate_scope(scope)
        if not self.answered.is_set():
            self.answered.set()
            assert self.end.wait(SECONDS)
        return actor


@pytest.mark.parametrize("end", [suspend, revoke])
def test_what_is_taken_away_during_a_look_is_seen_by_the_next(
    server: LiveServer,
    chats: Chats,
    cast: Cast,
    root: Api,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Api, APIKey], int],
) -> None:
    key, token = create_token(user=cast.alice)
    with server.watch(token) as watcher:
        look = Standstill(monkeypatch)
        root.put(f"{USERS}/alice/profile", {"username": "alice", "name": "A"})
        assert look.answered.wait(SECONDS)
        assert look.rung.acquire(timeout=SECONDS)
        assert end(root, key) in (200, 204)
        assert look.rung.acquire(timeout=SECONDS), "the doorbell has come during the look"
        look.end.set()
        assert watcher.closed() == ENDED
