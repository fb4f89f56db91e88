"""People's connections to servers that ask for OAuth: made in the browser, kept, ended.

A browser is sent to the authorization server with a state and a code challenge, and comes back with
a code. What belongs to that one attempt is kept by the browser alone, in cookies.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction
from django.utils.crypto import salted_hmac

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, rights_over
from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.errors import ChatdError, ErrorCode, bad_request, forbidden, not_found
from chatd.mcp.actions import get_server
from chatd.mcp.discovery import callback_path
from chatd.mcp.http import OAuthError, create_session, wait_for
from chatd.mcp.models import MCPServerConfig, MCPServerUserToken
from chatd.mcp.oauth import (
    Client,
    Grant,
    authorization_url,
    client_of,
    exchange_code,
    new_verifier,
)
from chatd.mcp.refreshing import grant_columns
from chatd.mcp.selectors import hold_servers

EXCHANGE_SECONDS = 15.0
ACCESS_DENIED = "access_denied"
"""The error of RFC 6749 that a person comes back with who did not agree."""

_FROM_PAGE = "page~"
_MAX_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a browser is sent, and what it has to bring back."""

    url: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What a browser came back with: in the address, and in its cookies."""

    error: str = ""
    error_description: str = ""
    code: str = field(default="", repr=False)
    state: str = field(default="", repr=False)
    kept_state: str = field(default="", repr=False)
    kept_verifier: str = field(default="", repr=False)


def begin_connection(
    actor: Actor, server_id: UUID, *, origin: str, from_page: bool = False
) -> Departure:
    """Send a person off to let us in, by a program or `from_page`, which they come back to.

    Raises ChatdError 400, 403, 404.
    """
    server = _connectable(actor.user, server_id)
    if not server.oauth2_auth_url:
        raise bad_request("MCP server OAuth2 authorization URL is not configured.")
    state = _new_state(actor.user, server_id, begins_with=_FROM_PAGE if from_page else "")
    verifier = new_verifier()
    redirect_uri = origin + callback_path(server_id)
    url = authorization_url(server, redirect_uri=redirect_uri, state=state, verifier=verifier)
    return Departure(url, state, verifier)


def is_from_page(state: str) -> bool:
    """Tell of a state that somebody comes back with whether a page sent them off.

    Anybody can make up such a state; `finish_connection` tells whether it is one of ours.
    """
    return state.startswith(_FROM_PAGE)


def check_returned(user: User, server_id: UUID, came: Return) -> None:
    """Raise a ChatdError 400 for somebody who was not sent off with what they came back with."""
    if not _is_ours(user, server_id, came):
        raise bad_request(
            "Invalid or missing OAuth2 state parameter.",
            detail="Connect again from the beginning, in the same browser and within 10 minutes.",
        )


def finish_connection(
    actor: Actor, server_id: UUID, came: Return, *, origin: str
) -> MCPServerConfig:
    """Exchange the code that a person came back with, and keep the tokens.

    Waits for the network, so it must not be called in a transaction. Raises ChatdError 400, 403,
    404, 502.
    """
    server = _connectable(actor.user, server_id)
    if came.error:
        said = f"{came.error} {came.error_description}".strip()
        raise bad_request("OAuth2 provider returned an error.", detail=said[:_MAX_SHOWN])
    if not came.code:
        raise bad_request("Missing authorization code.")
    check_returned(actor.user, server_id, came)
    try:
        client = client_of(server)
        redirect_uri = origin + callback_path(server_id)
        grant = wait_for(_exchange(client, came, redirect_uri))
    except OAuthError as error:
        raise ChatdError(
            ErrorCode.BAD_GATEWAY,
            "Failed to exchange the authorization code for a token.",
            detail=error.message,
        ) from None
    keep_connection(actor.author, actor.user, server, grant)
    return server


@transaction.atomic
def keep_connection(author: Author, user: User, server: MCPServerConfig, grant: Grant) -> None:
    """Store a person's tokens in place of earlier ones. Raises ChatdError 404, 503."""
    if hold_servers([server.pk]):
        raise not_found()
    earlier = MCPServerUserToken.objects.filter(user=user, server=server)
    replaced = earlier.values_list("updated_at", flat=True).first()
    columns = grant_columns(grant) | {"refresh_claim": None, "refreshing_until": None}
    token, _ = MCPServerUserToken.objects.update_or_create(
        user=user, server=server, defaults=columns
    )
    if replaced is None:
        record(author, Action.CREATE, _resource(token), after=_fields(token))
    else:
        before, after = {"updated_at": replaced}, {"updated_at": token.updated_at}
        record(author, Action.WRITE, _resource(token), before=before, after=after)


def disconnect(actor: Actor, server_id: UUID) -> None:
    """End a person's own connection; none is a success. Raises ChatdError 403."""
    _check_personal(actor.user)
    _drop(actor.author, actor.user, server_id)


@transaction.atomic
def drop_connections_of(author: Author, user: User) -> None:
    """End all connections of a person, as when the person is deleted."""
    for server_id in MCPServerUserToken.objects.filter(user=user).values_list("server", flat=True):
        _drop(author, user, server_id)


@transaction.atomic
def _drop(author: Author, user: User, server_id: UUID) -> None:
    tokens = MCPServerUserToken.objects.select_related("server")
    for token in tokens.filter(user=user, server_id=server_id):
        record(author, Action.DELETE, _resource(token), before=_fields(token))
        token.delete()


def _connectable(user: User, server_id: UUID) -> MCPServerConfig:
    """Return a server that people can connect to. Raises ChatdError 400, 403, 404."""
    _check_personal(user)
    server = get_server(server_id)
    if not server.enabled:
        raise bad_request("MCP server is not enabled.")
    if not server.uses_oauth:
        raise bad_request("MCP server does not use OAuth2 authentication.")
    return server


def _check_personal(user: User) -> None:
    """Raise the 403 for a token that is not for what is one's own."""
    if SiteRight.PERSONAL not in rights_over(user, user):
        raise forbidden(detail="This token may not change what is your own.")


async def _exchange(client: Client, came: Return, redirect_uri: str) -> Grant:
    async with create_session(seconds=EXCHANGE_SECONDS) as session:
        return await exchange_code(
            session,
            client,
            code=came.code,
            verifier=came.kept_verifier,
            redirect_uri=redirect_uri,
        )


# the state of one attempt


def _new_state(user: User, server_id: UUID, *, begins_with: str) -> str:
    """Return a state that only this person can come back with, to this server."""
    nonce = begins_with + secrets.token_urlsafe(24)
    return f"{nonce}.{_mark(nonce, user, server_id)}"


def _is_ours(user: User, server_id: UUID, came: Return) -> bool:
    if not (came.state and came.kept_state and came.kept_verifier):
        return False
    nonce, _, mark = came.kept_state.partition(".")
    same = hmac.compare_digest(_raw(came.state), _raw(came.kept_state))
    own = hmac.compare_digest(_raw(mark), _raw(_mark(nonce, user, server_id)))
    return same and own


def _mark(nonce: str, user: User, server_id: UUID) -> str:
    said = f"{nonce} {user.pk} {server_id}"
    return salted_hmac("chatd.mcp.state", said, algorithm="sha256").hexdigest()


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


# the audit log


def _resource(token: MCPServerUserToken) -> Resource:
    return Resource("mcp_server_user_token", str(token.pk), token.server.display_name)


def _fields(token: MCPServerUserToken) -> dict[str, object]:
    return {"user_id": token.user_id, "mcp_server_config_id": token.server_id}
