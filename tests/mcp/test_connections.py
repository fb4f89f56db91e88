"""Connecting to a server in a browser, from being sent off to the tokens, and ending it again."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from django.db import transaction

from chatd.accounts.actions import create_token
from chatd.audit.models import AuditEntry
from chatd.core.fields import open_secret
from chatd.mcp import connections
from chatd.mcp.discovery import callback_path
from chatd.mcp.models import AuthType, MCPServerConfig, MCPServerUserToken
from chatd.mcp.oauth import challenge_of
from tests.api.client import NOT_FOUND, SIGNED_OUT, Api, api_of
from tests.api.routes import mcp_server
from tests.conftest import Cast
from tests.mcp.browser import BASE, ORIGIN, Browser, agreed, asked_of, discovered
from tests.support.authorization import AuthorizationServer, answer, echo

pytestmark = pytest.mark.django_db(transaction=True)

UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"
BAD_STATE = "Invalid or missing OAuth2 state parameter."


@pytest.fixture
def server(cast: Cast, authorization: AuthorizationServer) -> MCPServerConfig:
    made = api_of(cast.root).post("/mcp/servers", discovered(authorization))
    return MCPServerConfig.objects.get(pk=made.body["id"])


@pytest.fixture
def browser(cast: Cast) -> Browser:
    return Browser(cast.alice)


def is_connected(cast: Cast, name: str = "alice") -> bool:
    (seen,) = api_of(getattr(cast, name)).get("/mcp/servers").body
    return bool(seen["auth_connected"])


# being sent off


def test_a_browser_is_sent_off_with_what_it_has_to_bring_back(
    browser: Browser, server: MCPServerConfig
) -> None:
    sent = browser.connect(server.pk)
    assert (sent.status_code, sent.content) == (307, b"")
    assert sent["Location"].startswith(f"{server.oauth2_auth_url}?")
    asked = asked_of(sent)
    state, verifier = (sent.cookies[f"mcp_oauth2_{each}_{server.pk}"] for each in KEPT)
    assert asked == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": f"{ORIGIN}{callback_path(server.pk)}",
        "state": state.value,
        "code_challenge": challenge_of(verifier.value),
        "code_challenge_method": "S256",
        "scope": "tools:read offline_access",
        "resource": server.url,
    }
    for cookie in (state, verifier):
        assert cookie["path"] == callback_path(server.pk)
        assert (cookie["max-age"], cookie["samesite"]) == (600, "Lax")
        assert cookie["httponly"] is True
        assert not cookie["secure"]
    assert 43 <= len(verifier.value) <= 128
    assert (sent["Cache-Control"], sent["Referrer-Policy"]) == ("no-store", "no-referrer")


KEPT = ("state", "verifier")


def test_cookies_are_secure_where_those_of_sessions_are(
    browser: Browser, server: MCPServerConfig, settings: Any
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    sent = browser.connect(server.pk)
    assert all(sent.cookies[f"mcp_oauth2_{each}_{server.pk}"]["secure"] for each in KEPT)


def test_the_way_back_is_where_the_browser_came_from(
    browser: Browser, server: MCPServerConfig, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["chat.example"]
    sent = browser.connect(server.pk, secure=True, headers={"host": "chat.example"})
    assert asked_of(sent)["redirect_uri"] == f"https://chat.example{callback_path(server.pk)}"


def test_every_attempt_has_a_state_and_a_verifier_of_its_own(
    browser: Browser, server: MCPServerConfig
) -> None:
    first, second = (browser.connect(server.pk) for _ in range(2))
    for name in KEPT:
        key = f"mcp_oauth2_{name}_{server.pk}"
        assert first.cookies[key].value != second.cookies[key].value


def test_a_query_of_the_authorization_address_is_kept(browser: Browser) -> None:
    server = by_hand(oauth2_auth_url="https://as.example/a?tenant=x&state=forged#part")
    asked = browser.connect(server.pk)["Location"]
    assert asked.startswith("https://as.example/a?tenant=x&response_type=code&client_id=us&")
    assert "forged" not in asked
    assert "#" not in asked
    assert "scope=" not in asked
    assert "resource=" not in asked, "not every server that is set up by hand takes one"


def by_hand(**fields: Any) -> MCPServerConfig:
    given = {
        "auth_type": AuthType.OAUTH2,
        "oauth2_client_id": "us",
        "oauth2_auth_url": "https://as.example/a",
        "oauth2_token_url": "http://127.0.0.1:9/token",
    }
    return mcp_server(**given | fields)


REFUSALS = [
    ({"enabled": False}, "MCP server is not enabled."),
    ({"auth_type": AuthType.API_KEY}, "MCP server does not use OAuth2 authentication."),
    ({"oauth2_auth_url": ""}, "MCP server OAuth2 authorization URL is not configured."),
]


@pytest.mark.parametrize(("fields", "message"), REFUSALS)
@pytest.mark.parametrize("who", ["alice", "root"])
def test_servers_that_nobody_connects_to_say_so(
    cast: Cast, who: str, fields: dict[str, Any], message: str
) -> None:
    server = by_hand(**fields)
    refused = Browser(getattr(cast, who)).connect(server.pk)
    assert (refused.status_code, refused.json()["message"]) == (400, message)  # type: ignore[attr-defined]
    assert not refused.cookies


@pytest.mark.parametrize("way", ["connect", "callback"])
def test_ids_are_judged_and_looked_for(browser: Browser, way: str) -> None:
    refused: Any = browser.get(f"{BASE}/x/oauth2/{way}")
    assert refused.status_code == 400
    assert refused.json()["message"] == "Invalid MCP server config ID."
    unknown: Any = browser.get(f"{BASE}/{UNKNOWN}/oauth2/{way}")
    assert (unknown.status_code, unknown.json()) == (404, NOT_FOUND)


def test_who_is_signed_out_is_told_before_all_else(client: Any, db: None) -> None:
    for way in ("connect", "callback?code=x"):
        refused = client.get(f"{BASE}/x/oauth2/{way}")
        assert (refused.status_code, refused.json()["message"]) == (401, SIGNED_OUT)


def test_a_limited_token_connects_only_with_the_scope_for_it(cast: Cast) -> None:
    server = by_hand()
    for scope, status in (("chat:*", 403), ("user:personal", 307)):
        token = create_token(user=cast.alice, scopes=[scope])[1]
        assert Api(token).status("GET", f"/mcp/servers/{server.pk}/oauth2/connect") == status
    refused = Api(create_token(user=cast.alice, scopes=["chat:*"])[1]).delete(
        f"/mcp/servers/{server.pk}/oauth2/disconnect"
    )
    assert refused.status == 403


# coming back


def test_who_comes_back_is_connected(
    browser: Browser, server: MCPServerConfig, cast: Cast, authorization: AuthorizationServer
) -> None:
    assert not is_connected(cast)
    page = browser.through(server.pk)
    assert page.status_code == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert is_connected(cast)
    assert not is_connected(cast, "bob")
    token = MCPServerUserToken.objects.get()
    (asked,) = authorization.asked
    assert asked.form.keys() == {
        "grant_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "client_id",
        "resource",
    }
    assert open_secret(token.access_token).startswith("access-0-")
    assert open_secret(token.refresh_token) == authorization.grants[0].refresh_token
    assert (token.user, token.server, token.token_type) == (cast.alice, server, "Bearer")
    assert token.expiry is not None
    assert 3500 < (token.expiry - token.created_at).total_seconds() <= 3600


def test_the_page_tells_the_window_that_opened_it_and_nobody_else(
    browser: Browser, server: MCPServerConfig
) -> None:
    MCPServerConfig.objects.update(display_name="</script><b>Tools")
    page = browser.through(server.pk)
    html = page.content.decode()
    assert f'{{"type": "mcp-oauth2-complete", "serverID": "{server.pk}"}}' in html
    assert "postMessage(message, window.location.origin)" in html
    assert "<b>" not in html
    policy = page["Content-Security-Policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert f'<script nonce="{nonce}">' in html
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert page["Cross-Origin-Opener-Policy"] == "unsafe-none"
    assert (page["Cache-Control"], page["Referrer-Policy"]) == ("no-store", "no-referrer")


def test_what_was_kept_is_thrown_away_whatever_came_of_it(
    browser: Browser, server: MCPServerConfig
) -> None:
    for back in (agreed, lambda sent: f"{callback_path(server.pk)}?error=access_denied"):
        came = browser.get(back(browser.connect(server.pk)))
        for name in KEPT:
            cookie = came.cookies[f"mcp_oauth2_{name}_{server.pk}"]
            assert (cookie.value, cookie["max-age"]) == ("", 0)
            assert cookie["path"] == callback_path(server.pk)


def test_the_way_back_is_good_once(
    browser: Browser, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    back = agreed(browser.connect(server.pk))
    assert browser.get(back).status_code == 200
    again: Any = browser.get(back)
    assert (again.status_code, again.json()["message"]) == (400, BAD_STATE)
    assert len(authorization.asked) == 1


def test_an_authorization_server_that_says_no(browser: Browser, server: MCPServerConfig) -> None:
    browser.connect(server.pk)
    came: Any = browser.come_back(server.pk, error="access_denied", error_description="Not today.")
    assert came.status_code == 400
    assert came.json() == {
        "message": "OAuth2 provider returned an error.",
        "detail": "access_denied Not today.",
    }


def test_nothing_to_exchange(browser: Browser, server: MCPServerConfig) -> None:
    state = asked_of(browser.connect(server.pk))["state"]
    for query in ({"state": state}, {"state": state, "code": ""}):
        came: Any = browser.come_back(server.pk, **query)
        assert (came.status_code, came.json()["message"]) == (400, "Missing authorization code.")


def no_state(browser: Browser, state: str) -> dict[str, str]:
    return {}


def another_state(browser: Browser, state: str) -> dict[str, str]:
    return {"state": state[:-1]}


def odd_state(browser: Browser, state: str) -> dict[str, str]:
    return {"state": "ä\u20ac"}


def no_cookies(browser: Browser, state: str) -> dict[str, str]:
    for name in [name for name in browser.client.cookies if name.startswith("mcp_")]:
        del browser.client.cookies[name]
    return {"state": state}


def no_verifier(browser: Browser, state: str) -> dict[str, str]:
    for name in [name for name in browser.client.cookies if "verifier" in name]:
        del browser.client.cookies[name]
    return {"state": state}


def made_up(browser: Browser, state: str) -> dict[str, str]:
    """Somebody has put cookies into the browser."""
    for name in [name for name in browser.client.cookies if "state" in name]:
        browser.client.cookies[name] = "abc.def"
    return {"state": "abc.def"}


@pytest.mark.parametrize(
    "how", [no_state, another_state, odd_state, no_cookies, no_verifier, made_up]
)
def test_a_way_back_that_nobody_was_sent_off_to_is_refused(
    browser: Browser,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    how: Callable[[Browser, str], dict[str, str]],
) -> None:
    state = asked_of(browser.connect(server.pk))["state"]
    came: Any = browser.come_back(server.pk, code="c", **how(browser, state))
    assert (came.status_code, came.json()["message"]) == (400, BAD_STATE)
    assert came.json()["detail"].startswith("Connect again from the beginning")
    assert authorization.asked == []


def test_one_person_does_not_come_back_for_another(
    browser: Browser, server: MCPServerConfig, cast: Cast, authorization: AuthorizationServer
) -> None:
    back = agreed(browser.connect(server.pk))
    browser.client.force_login(cast.bob)
    came: Any = browser.get(back)
    assert (came.status_code, came.json()["message"]) == (400, BAD_STATE)
    assert authorization.asked == []


# the exchange


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_client_with_a_secret_proves_itself_as_it_was_told_to(
    cast: Cast, browser: Browser, authorization: AuthorizationServer, method: str
) -> None:
    authorization.knobs.methods = [method]
    made = api_of(cast.root).post("/mcp/servers", discovered(authorization))
    assert browser.through(made.body["id"]).status_code == 200
    (asked,) = authorization.asked
    pair = base64.b64encode(b"client-1:secret%2Bof%2Fclient-1").decode()
    basic = method == "client_secret_basic"
    assert asked.authorization == (f"Basic {pair}" if basic else "")
    assert ("client_secret" in asked.form) != basic


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_client_that_was_set_up_by_hand_tries_both_ways(
    browser: Browser, authorization: AuthorizationServer, cast: Cast, method: str
) -> None:
    here = authorization.base_url
    body = discovered(authorization) | {
        "oauth2_client_id": "by hand",
        "oauth2_client_secret": "&=/ä",
        "oauth2_auth_url": f"{here}/as/authorize",
        "oauth2_token_url": f"{here}/as/token",
    }
    server_id = api_of(cast.root).post("/mcp/servers", body).body["id"]
    authorization.clients["by hand"] = {
        "client_id": "by hand",
        "client_secret": "&=/ä",
        "token_endpoint_auth_method": method,
        "redirect_uris": [f"{ORIGIN}{callback_path(server_id)}"],
    }
    assert browser.through(server_id).status_code == 200
    assert len(authorization.asked) == (1 if method == "client_secret_basic" else 2)
    assert MCPServerUserToken.objects.exists()


EXCHANGES: list[tuple[Any, str]] = [
    (answer(400, {"error": "invalid_grant", "error_description": "spent"}), "invalid_grant spent"),
    (answer(200, {"error": "bad_verification_code"}), "bad_verification_code"),
    (answer(200, {}), "The token endpoint answered without a token."),
    (answer(200, {"access_token": "a\r\nX: b"}), "what cannot be a token"),
    (answer(200, {"access_token": "x" * 40_000}), "what cannot be a token"),
    (answer(200, {"access_token": "a", "token_type": "\n"}), "a token of an unknown type"),
    (answer(200, ["a"]), "It sent an answer that cannot be read."),
    (answer(500, ["a"]), "status 500"),
    (answer(302, {}, Location="http://127.0.0.1:9/token"), "status 302"),
    (answer(200, {"access_token": "x" * 300_000}), "Its answer is larger than"),
]


@pytest.mark.parametrize(("token", "reason"), EXCHANGES, ids=lambda value: str(value)[:20])
def test_an_exchange_that_fails_is_told_without_secrets(
    browser: Browser,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    token: Any,
    reason: str,
) -> None:
    authorization.knobs.answers["token"] = token
    came: Any = browser.through(server.pk)
    assert came.status_code == 502
    assert came.json()["message"] == "Failed to exchange the authorization code for a token."
    assert reason in came.json()["detail"]
    assert not MCPServerUserToken.objects.exists()


def test_what_the_token_endpoint_repeats_is_not_shown(
    browser: Browser, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    sent = browser.connect(server.pk)
    code = "a-code-that-was-never-given"
    came: Any = browser.come_back(server.pk, code=code, state=asked_of(sent)["state"])
    assert came.status_code == 502
    detail = came.json()["detail"]
    assert detail.startswith("The token endpoint refused: invalid_grant no such code: [redacted]")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_nor_is_it_shown_in_the_way_it_was_sent(
    browser: Browser, cast: Cast, authorization: AuthorizationServer, method: str
) -> None:
    authorization.knobs.methods = [method]
    api_of(cast.root).post("/mcp/servers", discovered(authorization))
    server = MCPServerConfig.objects.get()
    authorization.knobs.answers["token"] = echo
    detail: Any = browser.through(server.pk).json()["detail"]  # type: ignore[attr-defined]
    (client,) = authorization.clients.values()
    secret = client["client_secret"]
    pair = f"{client['client_id']}:{quote_plus(secret)}"
    assert "temporarily_unavailable" in detail
    assert "[redacted]" in detail
    for shown in (secret, quote_plus(secret), base64.b64encode(pair.encode()).decode()):
        assert shown not in detail


def test_a_wrong_verifier_gets_nothing(
    browser: Browser, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    back = agreed(browser.connect(server.pk))
    browser.client.cookies[f"mcp_oauth2_verifier_{server.pk}"] = "x" * 43
    assert browser.get(back).status_code == 502
    assert len(authorization.asked) == 1


def test_a_client_secret_that_cannot_be_read_is_told(
    browser: Browser, authorization: AuthorizationServer, cast: Cast
) -> None:
    server = by_hand(oauth2_client_secret="v1:000000000000:x")
    state = asked_of(browser.connect(server.pk))["state"]
    came: Any = browser.come_back(server.pk, code="c", state=state)
    assert came.status_code == 502
    assert came.json()["detail"].endswith("cannot be read: enter it again.")


LIFETIMES = [
    (None, None),
    (0, None),
    (-5, None),
    ("3600", 3600),
    (60.5, 60.5),
    (1e12, 3650 * 86400),
]


@pytest.mark.parametrize(("given", "seconds"), LIFETIMES)
def test_a_token_ends_when_it_was_said_to(
    browser: Browser,
    server: MCPServerConfig,
    authorization: AuthorizationServer,
    given: Any,
    seconds: float | None,
) -> None:
    token = {"access_token": "a", "expires_in": given}
    authorization.knobs.answers["token"] = answer(200, token)
    assert browser.through(server.pk).status_code == 200
    stored = MCPServerUserToken.objects.get()
    if seconds is None:
        assert stored.expiry is None
    else:
        assert stored.expiry is not None
        assert (stored.expiry - stored.updated_at).total_seconds() == pytest.approx(seconds, abs=5)


def test_no_transaction_is_open_while_a_code_is_exchanged(
    browser: Browser, server: MCPServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = connections.wait_for

    def wait_for(work: Any) -> Any:
        seen.append(transaction.get_connection().in_atomic_block)
        return real(work)

    monkeypatch.setattr(connections, "wait_for", wait_for)
    assert browser.through(server.pk).status_code == 200
    assert seen == [False]


# again, and no more


def test_connecting_again_takes_the_place_of_what_was(
    browser: Browser, server: MCPServerConfig, authorization: AuthorizationServer
) -> None:
    browser.through(server.pk)
    first = MCPServerUserToken.objects.get()
    MCPServerUserToken.objects.update(refresh_failures=3, refresh_token="")
    browser.through(server.pk)
    second = MCPServerUserToken.objects.get()
    assert first.pk == second.pk
    assert open_secret(second.access_token).startswith("access-1-")
    assert (second.refresh_failures, second.refresh_not_before) == (0, None)
    assert second.refresh_token


def test_disconnecting_is_a_success_for_everybody_and_every_time(
    browser: Browser, server: MCPServerConfig, cast: Cast
) -> None:
    browser.through(server.pk)
    Browser(cast.bob).through(server.pk)
    path = f"/mcp/servers/{server.pk}/oauth2/disconnect"
    alice = api_of(cast.alice)
    assert [alice.delete(path).status for _ in range(2)] == [204, 204]
    assert (is_connected(cast), is_connected(cast, "bob")) == (False, True)
    assert alice.delete(f"/mcp/servers/{UNKNOWN}/oauth2/disconnect").status == 204
    refused = alice.delete("/mcp/servers/x/oauth2/disconnect")
    assert (refused.status, refused.message) == (400, "Invalid MCP server config ID.")
    MCPServerConfig.objects.update(enabled=False)
    assert api_of(cast.bob).delete(path).status == 204


def test_connections_are_in_the_audit_log_without_tokens(
    browser: Browser, server: MCPServerConfig, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    browser.through(server.pk)
    browser.through(server.pk)
    api_of(cast.alice).delete(f"/mcp/servers/{server.pk}/oauth2/disconnect")
    entries = AuditEntry.objects.filter(resource_type="mcp_server_user_token").order_by("id")
    assert [entry.action for entry in entries] == ["create", "write", "delete"]
    assert {entry.actor_id for entry in entries} == {cast.alice.pk}
    assert {entry.resource_name for entry in entries} == {"Tools"}
    told = repr([entry.changes for entry in entries]) + caplog.text
    assert "access-" not in told
    assert "refresh-" not in told
    assert "code=" not in told
    assert "/oauth2/callback" in told, "requests are logged"


def test_a_deleted_person_leaves_no_tokens(
    browser: Browser, server: MCPServerConfig, cast: Cast
) -> None:
    browser.through(server.pk)
    Browser(cast.bob).through(server.pk)
    assert api_of(cast.root).delete("/api/v2/users/alice").status == 200
    assert [token.user for token in MCPServerUserToken.objects.all()] == [cast.bob]


def test_a_callback_with_an_unknown_query_is_no_fault(
    browser: Browser, server: MCPServerConfig
) -> None:
    query = urlencode({"iss": "https://as.example", "session_state": "x"})
    assert browser.get(f"{callback_path(server.pk)}?{query}").status_code == 400
