"""How a server lets people in: RFC 9728 and 8414, then registering as a client with RFC 7591.

The shapes and the addresses to try come from the `mcp` package, so that what servers of that
protocol publish is read as its own clients read it. Its transport is left out: it follows redirects
and keeps no bounds of ours.
"""

from typing import Any, TypeVar, cast

import aiohttp
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    extract_field_from_www_auth,
    get_client_metadata_scopes,
    issuers_match,
)
from mcp.shared.auth import (
    DEFAULT_GRANT_TYPES,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    ProtectedResourceMetadata,
)
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url
from mcp.types import LATEST_PROTOCOL_VERSION
from pydantic import BaseModel, ValidationError

from chatd.mcp.http import OAuthError, send
from chatd.mcp.models import MAX_SCOPES, MAX_URL, MCPServerConfig, TokenAuthMethod, Transport

_PREFERRED = (TokenAuthMethod.NONE, TokenAuthMethod.BASIC, TokenAuthMethod.POST)

M = TypeVar("M", bound=BaseModel)


async def register_with(
    session: aiohttp.ClientSession, server: MCPServerConfig, redirect_uri: str
) -> str:
    """Register and fill in the OAuth part of a server; return the client secret, blank for none.

    Raises OAuthError.
    """
    told = await _challenge(session, server)
    resource = await _resource_metadata(session, server.url, told.get("resource_metadata"))
    metadata = await _server_metadata(session, server.url, resource)
    wanted = server.oauth2_scopes or get_client_metadata_scopes(
        told.get("scope"), resource, metadata, list(DEFAULT_GRANT_TYPES)
    )
    scopes = _short("The list of scopes", wanted or "", MAX_SCOPES)
    client = await _register(session, metadata, redirect_uri, scopes)
    server.oauth2_client_id = _short("The client id", client.client_id, MAX_URL)
    server.oauth2_auth_url = _address(metadata.authorization_endpoint)
    server.oauth2_token_url = _address(metadata.token_endpoint)
    server.oauth2_scopes = scopes
    server.oauth2_auth_method = _given_method(client)
    if resource:
        server.oauth2_resource = resource_url_from_server_url(resource.resource)
    return client.client_secret or ""


async def _challenge(session: aiohttp.ClientSession, server: MCPServerConfig) -> dict[str, str]:
    """Return what an unknown caller is told: `resource_metadata` and `scope`, where they are."""
    options: dict[str, Any] = {
        "headers": {"Accept": "application/json, text/event-stream"},
        "headers_only": True,
    }
    if server.transport == Transport.SSE:
        answer = await send(session, "GET", server.url, **options)
    else:
        answer = await send(session, "POST", server.url, json=_HELLO, **options)
    if answer.status not in (401, 403):
        return {}
    has_headers = cast("Any", answer)
    names = ("resource_metadata", "scope")
    found = {name: extract_field_from_www_auth(has_headers, name) for name in names}
    return {name: value for name, value in found.items() if value}


_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": LATEST_PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": {"name": "chatd", "version": "1"},
    },
}
"""The first request of the protocol."""


async def _resource_metadata(
    session: aiohttp.ClientSession, url: str, told: str | None
) -> ProtectedResourceMetadata | None:
    """Return what a server says of itself; older ones say nothing. Raises OAuthError."""
    for candidate in build_protected_resource_metadata_discovery_urls(told, url):
        if found := await _fetch(session, candidate, ProtectedResourceMetadata):
            if not check_resource_allowed(url, str(found.resource)):
                raise OAuthError(f"The MCP server describes another one, {found.resource}.")
            return found
    return None


async def _server_metadata(
    session: aiohttp.ClientSession, url: str, resource: ProtectedResourceMetadata | None
) -> OAuthMetadata:
    issuer = str(resource.authorization_servers[0]) if resource else None
    for candidate in build_oauth_authorization_server_metadata_discovery_urls(issuer, url):
        if found := await _fetch(session, candidate, OAuthMetadata):
            if issuer and not issuers_match(str(found.issuer), issuer):
                raise OAuthError(f"The authorization server {issuer} calls itself {found.issuer}.")
            methods = found.code_challenge_methods_supported
            if methods is not None and "S256" not in methods:
                raise OAuthError("The authorization server does not support PKCE with S256.")
            return found
    raise OAuthError("No description of an authorization server was found.")


async def _register(
    session: aiohttp.ClientSession, metadata: OAuthMetadata, redirect_uri: str, scopes: str
) -> OAuthClientInformationFull:
    if metadata.registration_endpoint is None:
        raise OAuthError("The authorization server registers no clients by itself.")
    asked = {
        "client_name": "chatd",
        "redirect_uris": [redirect_uri],
        "application_type": "web",
        "token_endpoint_auth_method": _wanted_method(metadata),
        "scope": scopes or None,
    }
    answer = await send(
        session,
        "POST",
        _address(metadata.registration_endpoint),
        json=OAuthClientMetadata.model_validate(asked).model_dump(mode="json", exclude_none=True),
    )
    if not answer.ok:
        raise OAuthError(f"The authorization server refused to register (status {answer.status}).")
    try:
        return OAuthClientInformationFull.model_validate_json(answer.body)
    except ValidationError:
        raise OAuthError("The answer to the registration cannot be read.") from None


def _wanted_method(metadata: OAuthMetadata) -> str:
    # a server that does not say takes Basic, says RFC 8414
    known = metadata.token_endpoint_auth_methods_supported or [TokenAuthMethod.BASIC]
    return next((method for method in _PREFERRED if method in known), TokenAuthMethod.POST)


def _given_method(client: OAuthClientInformationFull) -> str:
    """Return how we are to prove ourselves; blank where the server did not say what we know."""
    if not client.client_secret:
        return TokenAuthMethod.NONE
    given = client.token_endpoint_auth_method
    return given if given in (TokenAuthMethod.BASIC, TokenAuthMethod.POST) else ""


async def _fetch(session: aiohttp.ClientSession, url: str, shape: type[M]) -> M | None:
    """Return a description; None where there is none that can be read. Raises OAuthError."""
    answer = await send(session, "GET", url)
    if answer.status != 200:
        return None
    try:
        return shape.model_validate_json(answer.body)
    except ValidationError:
        return None


def _address(url: object) -> str:
    return _short("An address of the authorization server", str(url), MAX_URL)


def _short(what: str, text: str, most: int) -> str:
    if len(text) > most:
        raise OAuthError(f"{what} is longer than {most} characters.")
    return text
