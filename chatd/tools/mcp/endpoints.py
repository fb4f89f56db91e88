"""The servers of a turn: which of a chat's servers it uses, and what its requests show them.

Read from the database in a few queries, however many servers there are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from chatd.accounts.models import User
from chatd.chats.identity import identity_headers
from chatd.chats.models import Mode, PlanMode
from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret
from chatd.llm.user_agent import user_agent
from chatd.mcp.models import AuthType, MCPServerConfig
from chatd.mcp.refreshing import stored_tokens
from chatd.mcp.secrets import open_headers
from chatd.tools.mcp.bearers import Bearer, OAuthBearer, OIDCBearer

if TYPE_CHECKING:
    from chatd.tools.registry import TurnContext

log = structlog.get_logger(__name__)

AUTHORIZATION = "Authorization"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server as one turn calls it. `bearer` gives the token that belongs to a person."""

    server: MCPServerConfig
    headers: Mapping[str, str] = field(repr=False)
    bearer: Bearer | None = None

    @property
    def host(self) -> str:
        """Where it is, for logs: paths and queries of such URLs may be secret."""
        try:
            return urlsplit(self.server.url).hostname or ""
        except ValueError:
            return ""


def wanted_servers(context: "TurnContext") -> list[UUID]:
    """Return the servers that a chat names and that its mode lets it use."""
    is_root = context.parent_chat_id is None
    explores = context.mode == Mode.EXPLORE and is_root
    plans = context.plan_mode == PlanMode.PLAN and not is_root
    if explores or plans:
        return []
    return [UUID(each) for each in context.mcp_server_ids]


def read_endpoints(context: "TurnContext", ids: Collection[UUID]) -> list[Endpoint]:
    """Return those of the servers that are on; in a plan, those that are allowed there."""
    servers = MCPServerConfig.objects.filter(pk__in=ids, enabled=True)
    if context.plan_mode == PlanMode.PLAN:
        servers = servers.filter(allow_in_plan_mode=True)
    found = list(servers)
    bearers = _bearers(context.owner_id, found)
    return [
        endpoint
        for server in found
        if (endpoint := _endpoint(context, server, bearers.get(server.pk)))
    ]


def _bearers(owner_id: UUID, servers: Sequence[MCPServerConfig]) -> dict[UUID, Bearer]:
    own = [server.pk for server in servers if server.uses_oauth]
    tokens = {token.server_id: token for token in stored_tokens(owner_id, own)} if own else {}
    bearers: dict[UUID, Bearer] = {
        server_id: OAuthBearer(owner_id, server_id, tokens.get(server_id)) for server_id in own
    }
    signed_in = [server.pk for server in servers if server.auth_type == AuthType.USER_OIDC]
    owner = User.objects.filter(pk=owner_id).first() if signed_in else None
    if owner:
        bearers |= dict.fromkeys(signed_in, OIDCBearer(owner))
    return bearers


def _endpoint(
    context: "TurnContext", server: MCPServerConfig, bearer: Bearer | None
) -> Endpoint | None:
    try:
        shared = _shared_headers(server)
    except UndecryptableError:
        log.warning(
            "an MCP server was left out: its secrets cannot be read", server_id=str(server.pk)
        )
        return None
    headers = {"User-Agent": user_agent()}
    if server.forward_coder_headers:
        headers |= identity_headers(
            context.chat_id, owner_id=context.owner_id, parent_chat_id=context.parent_chat_id
        )
    taken = {name.lower() for name in shared}
    kept = {name: value for name, value in headers.items() if name.lower() not in taken}
    return Endpoint(server=server, headers=kept | shared, bearer=bearer)


def _shared_headers(server: MCPServerConfig) -> dict[str, str]:
    """Return what everybody shows a server. Raises UndecryptableError."""
    if server.auth_type == AuthType.CUSTOM_HEADERS:
        return open_headers(server)
    if server.auth_type == AuthType.API_KEY:
        value = open_secret(server.api_key_value)
        return {server.api_key_header or AUTHORIZATION: value} if value else {}
    return {}
