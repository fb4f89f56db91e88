"""Having the OAuth part of a server found out from the server itself, as `registration` does it."""

import asyncio

from chatd.core.errors import bad_request
from chatd.core.fields import seal
from chatd.mcp.http import OAuthError, create_session, wait_for
from chatd.mcp.models import MCPServerConfig

DISCOVERY_SECONDS = 20.0
REQUEST_SECONDS = 8.0

FAILED = "OAuth2 could not be set up by discovery."
_ADVICE = "Give oauth2_client_id, oauth2_auth_url and oauth2_token_url to set it up by hand."


def callback_path(server_id: object) -> str:
    """Return where authorization servers send people back to."""
    return f"/api/experimental/mcp/servers/{server_id}/oauth2/callback"


def discover(server: MCPServerConfig, *, origin: str) -> None:
    """Fill in the OAuth part of a server that is not stored yet. Raises ChatdError 400.

    Waits for the network, up to `DISCOVERY_SECONDS`, so it must not be called in a transaction.
    """
    try:
        secret = wait_for(_discover(server, origin + callback_path(server.pk)))
    except OAuthError as error:
        raise bad_request(FAILED, detail=f"{error.message} {_ADVICE}") from None
    server.oauth2_client_secret = seal(secret)


async def _discover(server: MCPServerConfig, redirect_uri: str) -> str:
    """Fill in all but the client secret, which is returned."""
    # the packages take 40 MB and half a second, which only those who discover need
    from chatd.mcp.registration import register_with

    limit = asyncio.timeout(DISCOVERY_SECONDS)
    try:
        async with limit, create_session(seconds=REQUEST_SECONDS) as session:
            return await register_with(session, server, redirect_uri)
    except TimeoutError:
        raise OAuthError("The servers did not answer in time.") from None
