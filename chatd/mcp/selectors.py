"""Reads of servers: what somebody may see, what chats may name, what a person has connected."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.db import connection

from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.core.errors import not_found
from chatd.core.statements import Select
from chatd.mcp.models import Availability, MCPServerConfig, MCPServerUserToken
from chatd.mcp.refreshing import has_ended, holds, refreshed


def server_ids_of(named: Sequence[str]) -> list[str]:
    """Return the servers of a chat: those it names, and those that are in every chat."""
    in_every_chat = [str(each) for each in _FORCED.all()]
    return [*dict.fromkeys([*named, *in_every_chat])]


_FORCED = Select(
    lambda: MCPServerConfig.objects.filter(
        enabled=True, availability=Availability.FORCE_ON
    ).values_list("pk", flat=True)
)


class ConnectionState(StrEnum):
    """How a person stands with a server."""

    NOT_NEEDED = "not_needed"
    CONNECTED = "connected"
    NONE = "none"
    FAILING = "failing"
    """The authorization server does not renew the connection just now; it is tried again."""
    ENDED = "ended"
    """There was a connection that cannot be used any more: connect again."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server as one person has it. `whole`: they may see where it is and how it is called."""

    server: MCPServerConfig
    whole: bool
    state: ConnectionState

    @property
    def is_ready(self) -> bool:
        return self.state in (ConnectionState.NOT_NEEDED, ConnectionState.CONNECTED)


def reads_all_servers(user: User) -> bool:
    """Tell whether a user sees disabled servers, and where servers are."""
    return SiteRight.CONFIG_READ in site_rights(user)


def list_servers_for(user: User) -> list[ServerView]:
    """Return the servers a user may see, by name, in as many queries for one as for fifty.

    Tokens that are about to expire are refreshed first, so it must not be called in a transaction.
    """
    whole = reads_all_servers(user)
    servers = MCPServerConfig.objects.order_by("display_name", "id")
    return _views(user, list(servers if whole else servers.filter(enabled=True)), whole=whole)


def get_server_for(user: User, server_id: UUID) -> ServerView:
    """Return a server a user may see, like `list_servers_for`. Raises ChatdError 404."""
    server = get_visible_server(user, server_id)
    return _views(user, [server], whole=reads_all_servers(user))[0]


def get_visible_server(user: User, server_id: UUID) -> MCPServerConfig:
    """Return a server a user may see, without asking how they stand. Raises ChatdError 404."""
    server = MCPServerConfig.objects.filter(pk=server_id).first()
    if server is None or not (server.enabled or reads_all_servers(user)):
        raise not_found()
    return server


def _views(user: User, servers: Sequence[MCPServerConfig], *, whole: bool) -> list[ServerView]:
    states = connection_states(user, servers)
    return [ServerView(server, whole, states[server.pk]) for server in servers]


def connection_states(
    user: User, servers: Collection[MCPServerConfig]
) -> Mapping[UUID, ConnectionState]:
    """Return how a person stands with each of these servers, after refreshing what has to be."""
    own = [server.pk for server in servers if server.uses_oauth]
    stored = MCPServerUserToken.objects.filter(user=user, server__in=own) if own else []
    tokens = {token.server_id: token for token in refreshed(list(stored))}
    return {
        server.pk: _state(tokens.get(server.pk))
        if server.uses_oauth
        else ConnectionState.NOT_NEEDED
        for server in servers
    }


def _state(token: MCPServerUserToken | None) -> ConnectionState:
    if token is None:
        return ConnectionState.NONE
    if holds(token):
        return ConnectionState.CONNECTED
    return ConnectionState.ENDED if has_ended(token) else ConnectionState.FAILING


# what chats name


def unknown_server_ids(ids: Collection[UUID]) -> set[UUID]:
    """Return those ids that are no server's; disabled ones count as known."""
    if not ids:
        return set()
    known = MCPServerConfig.objects.filter(pk__in=ids).values_list("pk", flat=True)
    return set(ids) - set(known)


def hold_servers(ids: Collection[UUID]) -> set[UUID]:
    """Keep servers from being deleted until the transaction ends; return those that are gone.

    As weak a lock as a foreign key takes: nobody who only changes a server or names it waits.
    """
    if not ids:
        return set()
    if connection.vendor != "postgresql":
        return unknown_server_ids(ids)  # the transaction keeps everybody else from writing
    found = MCPServerConfig.objects.filter(pk__in=ids).order_by("pk").values("pk")
    sql, parameters = found.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(sql + " FOR KEY SHARE", parameters)
        return set(ids) - {row[0] for row in cursor.fetchall()}
