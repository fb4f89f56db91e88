"""OAuth 2 as a client: the authorisation URL with PKCE, and what the token endpoint is asked.

Belongs here: RFC 6749, 7636 and 8707 on the wire. Does not belong here: who connects and what is
stored (`connections`), when a token is refreshed (`refreshing`).
"""

import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

import aiohttp
from msgspec import Struct

from chatd.core.clock import now
from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret
from chatd.mcp.http import Answer, OAuthError, send
from chatd.mcp.models import MCPServerConfig, TokenAuthMethod

INVALID_CLIENT = "invalid_client"
INVALID_GRANT = "invalid_grant"

MAX_TOKEN_BYTES = 32 * 1024
MAX_LIFETIME = timedelta(days=3650)
_MAX_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """This deployment as a client of an authorization server. Blank `auth_method`: not known."""

    token_url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    auth_method: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Tokens as they were answered; no `refresh_token` is "the one there is stays"."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: str
    expiry: datetime | None


class _TokenAnswer(Struct):
    access_token: str = ""
    refresh_token: str | None = None
    token_type: str | None = None
    expires_in: float | None = None
    error: str | None = None
    error_description: str | None = None

    def __repr__(self) -> str:
        return "_TokenAnswer(…)"


def client_of(server: MCPServerConfig) -> Client:
    """Return what a server's authorization server knows us by. Raises OAuthError."""
    if not (server.oauth2_token_url and server.oauth2_client_id):
        raise OAuthError("The token URL or the client id of the MCP server is not configured.")
    try:
        secret = open_secret(server.oauth2_client_secret)
    except UndecryptableError:
        raise OAuthError(
            "The client secret of the MCP server cannot be read: enter it again."
        ) from None
    return Client(
        token_url=server.oauth2_token_url,
        client_id=server.oauth2_client_id,
        client_secret=secret,
        auth_method=server.oauth2_auth_method,
        resource=server.oauth2_resource,
    )


def new_verifier() -> str:
    """Return a fresh code verifier of RFC 7636."""
    return secrets.token_urlsafe(48)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge for a verifier."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization_url(
    server: MCPServerConfig, *, redirect_uri: str, state: str, verifier: str
) -> str:
    """Return where a person is sent to let us in; a query that the URL has is kept."""
    parts = urlsplit(server.oauth2_auth_url)
    asked = {
        "response_type": "code",
        "client_id": server.oauth2_client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        "scope": server.oauth2_scopes,
        "resource": server.oauth2_resource,
    }
    kept = [(key, value) for key, value in parse_qsl(parts.query) if key not in asked]
    query = urlencode(kept + [(key, value) for key, value in asked.items() if value])
    return urlunsplit(parts._replace(query=query, fragment=""))


async def exchange_code(
    session: aiohttp.ClientSession,
    client: Client,
    *,
    code: str,
    verifier: str,
    redirect_uri: str,
) -> Grant:
    """Return the tokens for an authorization code. Raises OAuthError."""
    return await _token_request(
        session,
        client,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        },
    )


async def refresh_grant(
    session: aiohttp.ClientSession, client: Client, refresh_token: str
) -> Grant:
    """Return new tokens. Raises OAuthError; with `invalid_grant` there will never be any."""
    return await _token_request(
        session, client, {"grant_type": "refresh_token", "refresh_token": refresh_token}
    )


async def _token_request(
    session: aiohttp.ClientSession, client: Client, asked: Mapping[str, str]
) -> Grant:
    """Ask the token endpoint in the ways it may want us to prove ourselves, one after another."""
    refusal = OAuthError("")
    for method in _methods(client):
        form, headers = _proof(client, method)
        form = {**asked, **form}
        if client.resource:
            form["resource"] = client.resource
        answer = await send(session, "POST", client.token_url, data=form, headers=headers)
        try:
            return _grant(answer, hidden=_as_sent(asked, client, headers))
        except OAuthError as error:
            refusal = error
        # a server that does not know the way we proved ourselves has not looked at the grant
        if refusal.code != INVALID_CLIENT:
            break
    raise refusal


def _methods(client: Client) -> list[str]:
    if not client.client_secret:
        return [TokenAuthMethod.NONE]
    if client.auth_method in (TokenAuthMethod.BASIC, TokenAuthMethod.POST):
        return [client.auth_method]
    return [TokenAuthMethod.BASIC, TokenAuthMethod.POST]


def _proof(client: Client, method: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a method adds to the form and to the headers."""
    if method == TokenAuthMethod.BASIC:
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        return {}, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    form = {"client_id": client.client_id}
    if method == TokenAuthMethod.POST:
        form["client_secret"] = client.client_secret
    return form, {}


def _as_sent(asked: Mapping[str, str], client: Client, headers: Mapping[str, str]) -> list[str]:
    """Return what an answer must not repeat, in each way in which it was sent."""
    secret = [*asked.values(), client.client_secret]
    proof = [value.removeprefix("Basic ") for value in headers.values()]
    return [*proof, *secret, *map(quote_plus, secret)]


def _grant(answer: Answer, *, hidden: list[str]) -> Grant:
    """Read an answer of a token endpoint; some refuse with a status of success."""
    try:
        said = answer.json(_TokenAnswer)
    except OAuthError:
        if answer.ok:
            raise
        said = _TokenAnswer()
    if not answer.ok or said.error:
        raise _refusal(answer.status, said, hidden)
    tokens = (said.access_token, said.refresh_token or "")
    if not said.access_token:
        raise OAuthError("The token endpoint answered without a token.")
    if any(len(token) > MAX_TOKEN_BYTES or not _is_header_text(token) for token in tokens):
        raise OAuthError("The token endpoint answered with what cannot be a token.")
    return Grant(
        access_token=tokens[0],
        refresh_token=tokens[1],
        token_type=_token_type(said.token_type),
        expiry=_expiry(said.expires_in),
    )


def _refusal(status: int, said: _TokenAnswer, hidden: list[str]) -> OAuthError:
    code = said.error if said.error and re.fullmatch(r"[\w.-]{1,64}", said.error) else ""
    words = " ".join(filter(None, [code, said.error_description])) or f"status {status}"
    for secret in filter(None, hidden):
        words = words.replace(secret, "[redacted]")
    # RFC 6749 has this status for a client that was not believed, whatever the body says
    if status == 401:
        code = code or INVALID_CLIENT
    return OAuthError(f"The token endpoint refused: {words[:_MAX_SHOWN]}.", code=code)


def _token_type(given: str | None) -> str:
    if not given or given.lower() == "bearer":
        return "Bearer"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", given):
        raise OAuthError("The token endpoint answered with a token of an unknown type.")
    return given


def _expiry(seconds: Any) -> datetime | None:
    if seconds is None or not 0 < seconds < float("inf"):
        return None
    return now() + min(timedelta(seconds=min(seconds, 1e9)), MAX_LIFETIME)


def _is_header_text(text: str) -> bool:
    return text.isascii() and text.isprintable()
