"""Tokens that are about to end: refreshed once, by whoever is first, and what follows otherwise."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.core.clock import now
from chatd.core.fields import open_secret, seal
from chatd.mcp import refreshing
from chatd.mcp.connections import disconnect, keep_connection
from chatd.mcp.models import AuthType, MCPServerConfig, MCPServerUserToken
from chatd.mcp.oauth import Grant
from chatd.mcp.refreshing import LEEWAY, access_token_for
from chatd.mcp.selectors import ConnectionState, connection_states, get_server_for
from tests.api.client import api_of
from tests.api.routes import mcp_server
from tests.conftest import Cast
from tests.mcp.browser import Browser, discovered
from tests.sockets.live import LiveServer
from tests.support.authorization import AuthorizationServer, answer
from tests.support.people import token_for

pytestmark = pytest.mark.django_db(transaction=True)

SOON = LEEWAY - timedelta(seconds=1)
SECONDS = 60.0


@pytest.fixture
def server(cast: Cast, authorization: AuthorizationServer) -> MCPServerConfig:
    """A server that alice is connected to."""
    made = api_of(cast.root).post("/mcp/servers", discovered(authorization))
    server = MCPServerConfig.objects.get(pk=made.body["id"])
    assert Browser(cast.alice).through(server.pk).status_code == 200
    return server


def stored() -> MCPServerUserToken:
    return MCPServerUserToken.objects.get()


def ends_in(left: timedelta) -> str:
    """Have alice's token end; return it."""
    MCPServerUserToken.objects.update(expiry=now() + left)
    return open_secret(stored().access_token)


def state(cast: Cast, server: MCPServerConfig) -> ConnectionState:
    return connection_states(cast.alice, [server])[server.pk]


# one caller


def test_a_token_that_holds_is_used_as_it_is(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    token = ends_in(LEEWAY + timedelta(seconds=5))
    with CaptureQueriesContext(connection) as queries:
        assert access_token_for(cast.alice, server) == token
    assert len(queries) == 1
    MCPServerUserToken.objects.update(expiry=None)
    assert access_token_for(cast.alice, server) == token
    assert authorization.refreshes == 0


@pytest.mark.parametrize("left", [SOON, timedelta(0), timedelta(days=-3)])
def test_a_token_that_is_about_to_end_is_refreshed_first(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer, left: timedelta
) -> None:
    old, had = ends_in(left), open_secret(stored().refresh_token)
    new = access_token_for(cast.alice, server)
    assert new != old
    token = stored()
    assert open_secret(token.access_token) == new
    assert open_secret(token.refresh_token) == authorization.grants[0].refresh_token != had
    assert token.expiry is not None
    assert token.expiry > now() + timedelta(minutes=59)
    assert (token.refresh_claim, token.refreshing_until) == (None, None)
    asked = authorization.asked[-1].form
    assert asked == {
        "grant_type": "refresh_token",
        "refresh_token": had,
        "client_id": "client-1",
        "resource": server.url,
    }
    assert access_token_for(cast.alice, server) == new
    assert authorization.refreshes == 1


def test_a_refresh_token_that_is_not_replaced_stays(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    authorization.knobs.rotates = False
    sealed = stored().refresh_token
    ends_in(SOON)
    access_token_for(cast.alice, server)
    assert stored().refresh_token == sealed
    ends_in(SOON)
    access_token_for(cast.alice, server)
    assert authorization.refreshes == 2


def test_who_has_no_token_is_given_none(cast: Cast, server: MCPServerConfig) -> None:
    assert access_token_for(cast.bob, server) == ""
    other = mcp_server(slug="other", auth_type=AuthType.API_KEY)
    assert access_token_for(cast.alice, other) == ""


def test_lists_refresh_what_they_show(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(timedelta(days=-1))
    (listed,) = api_of(cast.alice).get("/mcp/servers").body
    assert listed["auth_connected"] is True
    assert authorization.refreshes == 1
    ends_in(timedelta(days=-1))
    assert api_of(cast.alice).get(f"/mcp/servers/{server.pk}").body["auth_connected"] is True
    assert authorization.refreshes == 2


def test_several_tokens_are_refreshed_side_by_side(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    for number in range(3):
        body = discovered(authorization, slug=f"s{number}")
        made = api_of(cast.root).post("/mcp/servers", body)
        Browser(cast.alice).through(made.body["id"])
    ends_in_all(SOON)
    authorization.open.clear()
    asked = before = authorization.refreshes
    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(in_thread, lambda: api_of(cast.alice).get("/mcp/servers").body)
        while asked < before + 4:  # all have asked before one is answered
            assert authorization.waiting.acquire(timeout=SECONDS)
            asked = authorization.refreshes
        authorization.open.set()
        assert all(each["auth_connected"] for each in listing.result(SECONDS))


def ends_in_all(left: timedelta) -> None:
    MCPServerUserToken.objects.update(expiry=now() + left)


def in_thread(work: Callable[[], Any]) -> Any:
    """Do work in a thread and give its connections back."""
    try:
        return work()
    finally:
        connections.close_all()


# many callers


def test_many_at_once_refresh_once(
    cast: Cast,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others, looked = 5, threading.Semaphore(0)
    real = refreshing._wait_for_others

    def wait_for_others(ids: set[Any]) -> None:
        if ids:
            looked.release()
        real(ids)

    monkeypatch.setattr(refreshing, "_wait_for_others", wait_for_others)
    old = ends_in(timedelta(seconds=-1))
    authorization.open.clear()

    def use() -> str:
        return str(in_thread(lambda: access_token_for(cast.alice, server)))

    with ThreadPoolExecutor(others + 1) as pool:
        users = [pool.submit(use)]
        while authorization.refreshes == 0:
            assert authorization.waiting.acquire(timeout=SECONDS)
        users += [pool.submit(use) for _ in range(others)]
        for _ in range(others):
            assert looked.acquire(timeout=SECONDS)
        authorization.open.set()
        tokens = {user.result(SECONDS) for user in users}
    assert len(tokens) == 1
    assert old not in tokens
    assert authorization.refreshes == 1
    assert not authorization.grants[0].ended


def test_who_read_a_token_before_it_was_refreshed_does_not_refresh_it_again(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(SOON)
    read_before = stored()
    new = access_token_for(cast.alice, server)
    (token,) = refreshing.refreshed([read_before])
    assert open_secret(token.access_token) == new
    assert authorization.refreshes == 1


def test_a_claim_whose_holder_died_is_taken_over(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    old = ends_in(SOON)
    MCPServerUserToken.objects.update(
        refresh_claim=server.pk, refreshing_until=now() - timedelta(seconds=1)
    )
    assert access_token_for(cast.alice, server) != old
    assert authorization.refreshes == 1


def test_who_waits_longer_than_a_refresh_may_take_uses_what_there_is(
    cast: Cast,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert refreshing.REFRESH_SECONDS == 10
    monkeypatch.setattr(refreshing, "REFRESH_SECONDS", 0.05)
    old = ends_in(SOON)
    MCPServerUserToken.objects.update(
        refresh_claim=server.pk, refreshing_until=now() + refreshing.CLAIM_KEPT
    )
    assert access_token_for(cast.alice, server) == old
    assert authorization.refreshes == 0


def during_a_refresh(
    authorization: AuthorizationServer, refresh: Callable[[], Any], meanwhile: Callable[[], None]
) -> Any:
    """Do something while a refresh waits for its answer; return what came of the refresh."""
    authorization.open.clear()
    before = authorization.refreshes
    with ThreadPoolExecutor(1) as pool:
        running: Future[Any] = pool.submit(in_thread, refresh)
        while authorization.refreshes == before:
            assert authorization.waiting.acquire(timeout=SECONDS)
        meanwhile()
        authorization.open.set()
        return running.result(SECONDS)


def test_nothing_is_locked_while_a_refresh_waits(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(SOON)

    def write() -> None:
        with transaction.atomic():
            assert MCPServerUserToken.objects.select_for_update(nowait=lockable()).count() == 1
            MCPServerConfig.objects.update(description="changed")

    assert during_a_refresh(authorization, lambda: access_token_for(cast.alice, server), write)
    assert stored().refresh_claim is None


def lockable() -> bool:
    return connection.vendor == "postgresql"


def test_who_disconnects_meanwhile_is_disconnected(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(SOON)
    used = during_a_refresh(
        authorization,
        lambda: access_token_for(cast.alice, server),
        lambda: disconnect(Actor(cast.alice), server.pk),
    )
    assert used == ""
    assert not MCPServerUserToken.objects.exists()


def test_who_connects_anew_meanwhile_keeps_the_new_tokens(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(SOON)
    fresh = Grant(access_token="new", refresh_token="r", token_type="Bearer", expiry=None)
    used = during_a_refresh(
        authorization,
        lambda: access_token_for(cast.alice, server),
        lambda: keep_connection(Actor(cast.alice).author, cast.alice, server, fresh),
    )
    assert used == "new"
    assert open_secret(stored().refresh_token) == "r"


def test_a_rotation_of_keys_meanwhile_loses_no_refreshed_token(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(SOON)
    had = open_secret(stored().refresh_token)

    def reseal() -> None:
        MCPServerUserToken.objects.update(refresh_token=seal(had))

    during_a_refresh(authorization, lambda: access_token_for(cast.alice, server), reseal)
    assert open_secret(stored().refresh_token) == authorization.grants[0].refresh_token != had


# failures


def test_a_grant_that_was_taken_back_is_not_asked_for_again(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    old = ends_in(SOON)
    authorization.grants[0].ended = True
    assert access_token_for(cast.alice, server) == old, "it has some seconds left"
    assert stored().refresh_token == ""
    assert state(cast, server) is ConnectionState.CONNECTED
    ends_in(timedelta(0))
    assert access_token_for(cast.alice, server) == ""
    assert state(cast, server) is ConnectionState.ENDED
    assert api_of(cast.alice).get("/mcp/servers").body[0]["auth_connected"] is False
    assert authorization.refreshes == 1
    Browser(cast.alice).through(server.pk)
    assert state(cast, server) is ConnectionState.CONNECTED


FAILURES: list[Any] = [
    answer(500, {}),
    answer(503, ["busy"]),
    answer(400, {"error": "temporarily_unavailable"}),
    answer(401, {"error": "invalid_client"}),
    answer(200, {"no": "token"}),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_for_now_keeps_the_tokens_and_is_not_repeated_at_once(
    cast: Cast,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    failure: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    old, sealed = ends_in(timedelta(0)), stored().refresh_token
    authorization.knobs.answers["token"] = failure
    authorization.paths.clear()
    for _ in range(3):
        assert access_token_for(cast.alice, server) == old
        assert state(cast, server) is ConnectionState.FAILING
    assert len(authorization.paths) == 1
    token = stored()
    assert (token.refresh_token, token.refresh_failures) == (sealed, 1)
    assert token.refresh_claim is None
    told = caplog.text
    assert told.count("an MCP token was not refreshed") == 1
    assert open_secret(sealed) not in told


def test_the_pause_grows_and_ends(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    ends_in(timedelta(0))
    authorization.knobs.answers["token"] = answer(500, {})
    pauses = []
    for _ in range(8):
        MCPServerUserToken.objects.update(refresh_not_before=now() - timedelta(seconds=1))
        access_token_for(cast.alice, server)
        until = stored().refresh_not_before
        assert until is not None
        pauses.append((until - now()).total_seconds())
    assert 23 < pauses[0] <= 36
    assert 47 < pauses[1] <= 72
    assert 475 < pauses[-1] <= 720
    MCPServerUserToken.objects.update(refresh_not_before=now() - timedelta(seconds=1))
    authorization.knobs.answers.clear()
    assert access_token_for(cast.alice, server)
    token = stored()
    assert (token.refresh_failures, token.refresh_not_before) == (0, None)
    assert state(cast, server) is ConnectionState.CONNECTED


def test_an_authorization_server_that_is_gone_or_silent_is_a_failure_for_now(
    cast: Cast,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refreshing, "REFRESH_SECONDS", 0.2)
    old = ends_in(timedelta(0))
    authorization.open.clear()
    assert access_token_for(cast.alice, server) == old
    assert stored().refresh_failures == 1
    authorization.open.set()
    MCPServerConfig.objects.update(oauth2_token_url="http://127.0.0.1:9/token")
    MCPServerUserToken.objects.update(refresh_not_before=None)
    assert access_token_for(cast.alice, server) == old
    assert stored().refresh_failures == 2


def test_without_a_refresh_token_a_connection_ends_with_its_token(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    MCPServerUserToken.objects.update(refresh_token="")
    assert access_token_for(cast.alice, server) == ends_in(SOON)
    ends_in(timedelta(0))
    assert access_token_for(cast.alice, server) == ""
    assert get_server_for(cast.alice, server.pk).state is ConnectionState.ENDED
    assert authorization.refreshes == 0


def test_tokens_that_cannot_be_read_any_more_are_no_connection(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer, settings: Any
) -> None:
    settings.CHATD_ENCRYPTION_KEYS = ("A" * 43 + "=",)
    assert access_token_for(cast.alice, server) == ""
    assert state(cast, server) is ConnectionState.ENDED
    ends_in_all(timedelta(0))
    assert access_token_for(cast.alice, server) == ""
    assert authorization.refreshes == 0


def test_people_do_not_refresh_for_each_other(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    Browser(cast.bob).through(server.pk)
    ends_in_all(SOON)
    users: list[User] = [cast.alice, cast.bob]
    tokens = [access_token_for(user, server) for user in users]
    assert tokens[0] != tokens[1]
    assert authorization.refreshes == 2
    assert [grant.ended for grant in authorization.grants] == [False, False]


def test_a_browser_that_goes_away_cuts_no_refresh_off(
    cast: Cast, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    old = ends_in(SOON)
    authorization.open.clear()
    with LiveServer() as live:
        browser = socket.create_connection(("127.0.0.1", live.port))
        token = token_for(cast.alice)
        browser.sendall(
            f"GET /api/experimental/mcp/servers HTTP/1.1\r\nHost: localhost\r\n"
            f"Coder-Session-Token: {token}\r\n\r\n".encode()
        )
        while authorization.refreshes == 0:
            assert authorization.waiting.acquire(timeout=SECONDS)
        browser.close()
        until(lambda: not live.server.server_state.connections)
        authorization.open.set()
        until(lambda: stored().refresh_claim is None)
    token = open_secret(stored().access_token)
    assert token != old
    assert open_secret(stored().refresh_token) == authorization.grants[0].refresh_token


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    pause = threading.Event()
    for _ in range(int(SECONDS * 100)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never happened")
