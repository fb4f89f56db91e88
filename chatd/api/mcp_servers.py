"""MCP servers: everybody sees those that are on, administrators see and change all."""

from collections.abc import Iterator
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.idempotency import Finish, slow_write
from chatd.api.parsing import ConfidentialBody, decode_body, parse_uuid
from chatd.api.views import ResourceViewSet
from chatd.core.clock import rfc3339
from chatd.core.shapes import documented, one_of, shaped
from chatd.mcp import shapes
from chatd.mcp.actions import delete_server, insert_server, prepare_server, update_server
from chatd.mcp.drafts import ServerFields
from chatd.mcp.models import AuthType, Availability, MCPServerConfig, Transport
from chatd.mcp.secrets import unreadable_secrets
from chatd.mcp.selectors import ServerView, get_server_for, list_servers_for

MAX_MCP_BODY_BYTES = 512 * 1024


class UpdateMCPServerConfigRequest(ConfidentialBody, kw_only=True):
    """Body of `PATCH /mcp/servers/{server}`; absent and null are "no change".

    An empty secret is removed, and so are those of other kinds when `auth_type` changes.
    """

    display_name: str | None = None
    slug: str | None = None
    description: str | None = None
    icon_url: str | None = None
    transport: Annotated[str | None, one_of(Transport)] = None
    url: str | None = None
    auth_type: Annotated[str | None, one_of(AuthType)] = None
    oauth2_client_id: str | None = None
    oauth2_client_secret: str | None = None
    oauth2_auth_url: str | None = None
    oauth2_token_url: str | None = None
    oauth2_scopes: str | None = None
    api_key_header: str | None = None
    api_key_value: str | None = None
    custom_headers: dict[str, str] | None = None
    tool_allow_list: list[str] | None = None
    tool_deny_list: list[str] | None = None
    availability: Annotated[str | None, one_of(Availability)] = None
    enabled: bool | None = None
    model_intent: bool | None = None
    allow_in_plan_mode: bool | None = None
    forward_coder_headers: bool | None = None

    def fields(self) -> ServerFields:
        return ServerFields(**{name: getattr(self, name) for name in self.__struct_fields__})


class CreateMCPServerConfigRequest(UpdateMCPServerConfigRequest, kw_only=True):
    """Body of `POST /mcp/servers`.

    With `auth_type` oauth2, the client id and both addresses are given, or none of them: then they
    are discovered and chatd registers itself as a client.
    """

    display_name: Annotated[str | None, documented(required=True)] = None
    slug: Annotated[str | None, documented(required=True)] = None
    transport: Annotated[str | None, documented(required=True, enum=Transport.values)] = None
    url: Annotated[str | None, documented(required=True)] = None
    auth_type: Annotated[str | None, documented(required=True, enum=AuthType.values)] = None
    availability: Annotated[str | None, documented(required=True, enum=Availability.values)] = None


class MCPServerViewSet(ResourceViewSet):
    """`/mcp/servers`."""

    @Operation(
        "listMCPServers",
        "List the MCP servers one may see, by name",
        answer=list[shapes.MCPServerConfig],
    )
    def list(self, request: Request) -> Response:
        found = list_servers_for(self.actor(request).user)
        return Response([view_body(view) for view in found])

    @Operation("getMCPServer", "Get an MCP server", answer=shapes.MCPServerConfig)
    def retrieve(self, request: Request, server: str) -> Response:
        return Response(view_body(get_server_for(self.actor(request).user, server_id_of(server))))

    @Operation(
        "createMCPServer",
        "Add an MCP server",
        description="Waits for the server where its OAuth part is discovered, up to 20 seconds.",
        answer=shapes.MCPServerConfig,
        status=201,
        body=CreateMCPServerConfigRequest,
        refusals=[403],
    )
    @slow_write
    def create(self, request: Request) -> Iterator[Finish]:
        actor = self.actor(request)
        prepared = prepare_server(
            actor,
            lambda: _decoded(request, CreateMCPServerConfigRequest),
            origin=origin_of(request._request),
        )
        yield lambda: Response(server_body(insert_server(actor, prepared)), status=201)

    @Operation(
        "updateMCPServer",
        "Change an MCP server",
        description="People have to connect again when their tokens would go to another place.",
        answer=shapes.MCPServerConfig,
        body=UpdateMCPServerConfigRequest,
        refusals=[403],
    )
    def partial_update(self, request: Request, server: str) -> Response:
        changed = update_server(
            self.actor(request),
            lambda: server_id_of(server),
            lambda: _decoded(request, UpdateMCPServerConfigRequest),
        )
        return Response(server_body(changed))

    @Operation(
        "deleteMCPServer",
        "Delete an MCP server, with what chats and people know of it",
        status=204,
        refusals=[403],
    )
    def destroy(self, request: Request, server: str) -> Response:
        delete_server(self.actor(request), lambda: server_id_of(server))
        return Response(status=204)


def server_id_of(raw: str) -> UUID:
    """Return the server id of a path. Raises ChatdError 400."""
    return parse_uuid(raw, "Invalid MCP server config ID.")


def origin_of(request: HttpRequest) -> str:
    """Return where the caller reached this deployment, as `https://chat.example.com`."""
    return f"{request.scheme}://{request.get_host()}"


def _decoded(request: Request, shape: type[UpdateMCPServerConfigRequest]) -> ServerFields:
    return decode_body(request, shape, cap=MAX_MCP_BODY_BYTES).fields()


def view_body(view: ServerView) -> shapes.MCPServerConfig:
    """Return the MCPServerConfig object as somebody may see it."""
    body = server_body(view.server)
    body["auth_connected"] = view.is_ready
    if not view.whole:
        body["url"] = body["transport"] = ""
        for name in _ADMINISTERED:
            body.pop(name, None)  # type: ignore[misc]
    return body


_ADMINISTERED = (
    "oauth2_client_id",
    "oauth2_auth_url",
    "oauth2_token_url",
    "oauth2_scopes",
    "api_key_header",
    "unreadable_secrets",
)


def server_body(server: MCPServerConfig) -> shapes.MCPServerConfig:
    """Return the whole MCPServerConfig object, of nobody's connection in particular."""
    body: shapes.MCPServerConfig = {
        "id": str(server.pk),
        "display_name": server.display_name,
        "slug": server.slug,
        "description": server.description,
        "icon_url": server.icon_url,
        "transport": server.transport,
        "url": server.url,
        "auth_type": server.auth_type,
        "oauth2_client_id": server.oauth2_client_id,
        "has_oauth2_secret": bool(server.oauth2_client_secret),
        "oauth2_auth_url": server.oauth2_auth_url,
        "oauth2_token_url": server.oauth2_token_url,
        "oauth2_scopes": server.oauth2_scopes,
        "api_key_header": server.api_key_header,
        "has_api_key": bool(server.api_key_value),
        "has_custom_headers": bool(server.custom_headers),
        "unreadable_secrets": unreadable_secrets(server),
        "tool_allow_list": list(server.tool_allow_list),
        "tool_deny_list": list(server.tool_deny_list),
        "availability": server.availability,
        "enabled": server.enabled,
        "model_intent": server.model_intent,
        "allow_in_plan_mode": server.allow_in_plan_mode,
        "forward_coder_headers": server.forward_coder_headers,
        "created_at": rfc3339(server.created_at),
        "updated_at": rfc3339(server.updated_at),
        "auth_connected": False,
    }
    return shaped(shapes.MCPServerConfig, body)
