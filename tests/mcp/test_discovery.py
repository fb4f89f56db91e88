"""Servers that are asked how they let people in: what is found, and what is made of it."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from chatd.core.fields import open_secret
from chatd.mcp import actions, discovery
from chatd.mcp.models import MCPServerConfig
from tests.api.client import Api, api_of
from tests.conftest import Cast
from tests.mcp.browser import ORIGIN, discovered
from tests.support.authorization import AuthorizationServer, answer

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/mcp/servers"
RESOURCE = "/.well-known/oauth-protected-resource/mcp"
METADATA = "/.well-known/oauth-authorization-server/as"


@pytest.fixture
def root(cast: Cast) -> Api:
    return api_of(cast.root)


def made(root: Api, body: dict[str, Any]) -> MCPServerConfig:
    made = root.post(PATH, body)
    assert made.status == 201, made.body
    return MCPServerConfig.objects.get(pk=made.body["id"])


def test_a_server_is_discovered_and_registered_with(
    root: Api, authorization: AuthorizationServer
) -> None:
    server = made(root, discovered(authorization))
    here = authorization.base_url
    assert authorization.paths == ["/mcp", RESOURCE, METADATA, "/as/register"]
    assert server.oauth2_client_id == "client-1"
    assert server.oauth2_client_secret == ""
    assert server.oauth2_auth_url == f"{here}/as/authorize"
    assert server.oauth2_token_url == f"{here}/as/token"
    assert server.oauth2_scopes == "tools:read offline_access"
    assert server.oauth2_auth_method == "none"
    assert server.oauth2_resource == f"{here}/mcp"
    client = authorization.clients["client-1"]
    assert client["redirect_uris"] == [f"{ORIGIN}{discovery.callback_path(server.pk)}"]
    assert client["grant_types"] == ["authorization_code", "refresh_token"]
    assert client["application_type"] == "web"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_secret_that_is_given_is_kept_and_not_shown(
    root: Api, authorization: AuthorizationServer, method: str
) -> None:
    authorization.knobs.methods = [method]
    shown = root.post(PATH, discovered(authorization))
    assert "secret+of" not in shown.raw.decode()
    assert shown.body["has_oauth2_secret"] is True
    server = MCPServerConfig.objects.get()
    assert server.oauth2_auth_method == method
    assert open_secret(server.oauth2_client_secret) == "secret+of/client-1"


def test_scopes_that_are_asked_for_are_not_replaced(
    root: Api, authorization: AuthorizationServer
) -> None:
    server = made(root, discovered(authorization, oauth2_scopes=" only:this "))
    assert server.oauth2_scopes == "only:this"
    assert authorization.clients["client-1"]["scope"] == "only:this"


def test_a_server_of_events_is_asked_as_it_listens(
    root: Api, authorization: AuthorizationServer
) -> None:
    made(root, discovered(authorization, transport="sse"))
    assert authorization.paths[0] == "/mcp"


def test_an_older_server_is_found_at_its_own_address(
    root: Api, authorization: AuthorizationServer
) -> None:
    here = authorization.base_url
    authorization.knobs.answers = {
        "mcp": answer(404, {}),
        "oauth-protected-resource": answer(404, {}),
        "oauth-authorization-server": answer(
            200,
            {
                "issuer": here,
                "authorization_endpoint": f"{here}/as/authorize",
                "token_endpoint": f"{here}/as/token",
                "registration_endpoint": f"{here}/as/register",
            },
        ),
    }
    server = made(root, discovered(authorization))
    assert server.oauth2_token_url == f"{here}/as/token"
    assert server.oauth2_resource == ""
    assert server.oauth2_auth_method == "client_secret_basic", "what RFC 8414 says without a word"


def no_metadata(server: AuthorizationServer) -> None:
    server.knobs.answers["as"] = answer(404, {})


def no_registration(server: AuthorizationServer) -> None:
    server.knobs.registers = False


def refused_registration(server: AuthorizationServer) -> None:
    server.knobs.answers["register"] = answer(403, {"error": "access_denied"})


def senseless_registration(server: AuthorizationServer) -> None:
    server.knobs.answers["register"] = answer(201, {"client_secret": "no id"})


def no_pkce(server: AuthorizationServer) -> None:
    server.knobs.challenge_methods = ["plain"]


def another_issuer(server: AuthorizationServer) -> None:
    server.knobs.issuer = "https://other.example"


def another_resource(server: AuthorizationServer) -> None:
    server.knobs.resource = "https://other.example/mcp"


def redirected(server: AuthorizationServer) -> None:
    elsewhere = {"Location": f"{server.base_url}/as/register"}
    server.knobs.answers["register"] = answer(307, {}, **elsewhere)


def too_much(server: AuthorizationServer) -> None:
    server.knobs.answers["as"] = answer(200, {"issuer": "x" * 300_000})


def senseless(server: AuthorizationServer) -> None:
    server.knobs.answers["as"] = answer(200, ["no", "object"])


FAILURES: list[tuple[Callable[[AuthorizationServer], None], str]] = [
    (no_metadata, "No description of an authorization server was found."),
    (senseless, "No description of an authorization server was found."),
    (no_registration, "The authorization server registers no clients by itself."),
    (refused_registration, "The authorization server refused to register (status 403)."),
    (redirected, "The authorization server refused to register (status 307)."),
    (senseless_registration, "The answer to the registration cannot be read."),
    (no_pkce, "The authorization server does not support PKCE with S256."),
    (another_issuer, "calls itself https://other.example"),
    (another_resource, "The MCP server describes another one, https://other.example/mcp."),
    (too_much, "Its answer is larger than"),
]


@pytest.mark.parametrize(("fail", "reason"), FAILURES, ids=lambda value: str(value)[:24])
def test_what_goes_wrong_is_told_and_leaves_no_row(
    root: Api, authorization: AuthorizationServer, fail: Callable[[Any], None], reason: str
) -> None:
    fail(authorization)
    refused = root.post(PATH, discovered(authorization))
    assert (refused.status, refused.message) == (400, "OAuth2 could not be set up by discovery.")
    assert reason in refused.detail
    assert refused.detail.endswith("to set it up by hand.")
    assert not MCPServerConfig.objects.exists()


def test_nothing_that_listens_is_told(root: Api, authorization: AuthorizationServer) -> None:
    refused = root.post(PATH, discovered(authorization, url="http://127.0.0.1:9/mcp"))
    assert refused.status == 400
    assert refused.detail.startswith("It could not be reached (ClientConnectorError).")


def test_a_silent_server_is_given_up(
    root: Api, authorization: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert discovery.DISCOVERY_SECONDS == 20
    monkeypatch.setattr(discovery, "REQUEST_SECONDS", 0.2)
    authorization.knobs.answers["register"] = answer(200, {})
    body = discovered(authorization)
    with silent() as url:
        refused = root.post(PATH, body | {"url": url})
    assert refused.detail.startswith("It did not answer in time.")


class silent:  # noqa: N801 - reads as what it is
    """A server that takes connections and says nothing."""

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/mcp"

    def __exit__(self, *error: object) -> None:
        self._listener.close()


def test_no_transaction_is_open_while_servers_are_asked(
    root: Api, authorization: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_transactions = []
    real = actions.discover

    def discover(*args: Any, **kwargs: Any) -> None:
        open_transactions.append(transaction.get_connection().in_atomic_block)
        real(*args, **kwargs)

    monkeypatch.setattr(actions, "discover", discover)
    headers = {"Idempotency-Key": "make-1"}
    body = discovered(authorization)
    first, second = (root.post(PATH, body, headers=headers) for _ in range(2))
    assert first.body == second.body
    assert open_transactions == [False]
    assert len(authorization.clients) == 1


def test_a_slug_that_is_taken_is_refused_before_anybody_is_asked(
    root: Api, authorization: AuthorizationServer
) -> None:
    made(root, discovered(authorization))
    authorization.paths.clear()
    assert root.post(PATH, discovered(authorization)).status == 409
    assert authorization.paths == []


def test_who_discovers_nothing_does_not_pay_for_it(tmp_path: Path) -> None:
    program = (
        "import sys, django; django.setup(); import chatd.api.urls, chatd.mcp.admin;"
        "print('mcp' in sys.modules, 'chatd.mcp.registration' in sys.modules)"
    )
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "CHATD_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **settings},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == ["False", "False"]
