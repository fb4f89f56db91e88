"""The tools of the MCP servers that a chat names, for as long as a turn runs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import structlog

from chatd.core.threads import in_database_thread
from chatd.llm.types import ToolSpec
from chatd.mcp.models import MCPServerConfig
from chatd.tools.mcp.endpoints import Endpoint, read_endpoints, wanted_servers
from chatd.tools.mcp.outputs import limited, output_of
from chatd.tools.mcp.schemas import parameters_of, tool_name, with_intent, without_intent
from chatd.tools.types import Tool, ToolInvocation, ToolOutput

if TYPE_CHECKING:
    from chatd.tools.mcp.connection import Connection, Limits
    from chatd.tools.registry import TurnContext

log = structlog.get_logger(__name__)


@asynccontextmanager
async def mcp_tools(
    context: "TurnContext", limits: "Limits | None" = None
) -> AsyncIterator[Sequence[Tool]]:
    """Connect to all servers side by side and yield their tools, by name.

    A server that fails is left out. All connections are closed at the end, in bounded time.
    """
    ids = wanted_servers(context)
    endpoints = await in_database_thread(read_endpoints, context, ids) if ids else []
    if not endpoints:
        yield ()
        return
    connections = await _connections(endpoints, limits)
    try:
        found = await asyncio.gather(*(_tools_of(connection) for connection in connections))
        yield sorted((tool for tools in found for tool in tools), key=_order)
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))


def _order(tool: Tool) -> tuple[str, str]:
    return tool.name, str(tool.mcp_server_config_id)


async def _connections(
    endpoints: Sequence[Endpoint], limits: "Limits | None"
) -> "list[Connection]":
    # the SDK takes a second to import, which neither a start nor the loop should wait for
    module: Any = await asyncio.to_thread(import_module, "chatd.tools.mcp.connection")
    return [module.Connection(endpoint, limits or module.Limits()) for endpoint in endpoints]


async def _tools_of(connection: "Connection") -> list[Tool]:
    """Return the tools of a server that the lists of its administrators let through."""
    from chatd.tools.mcp.connection import MCPFailureError

    server = connection.endpoint.server
    try:
        listed = await connection.open()
    except MCPFailureError as failure:
        log.warning(
            "an MCP server was left out",
            server_id=str(server.pk),
            slug=server.slug,
            host=connection.endpoint.host,
            reason=str(failure),
        )
        return []
    return [_tool(connection, each) for each in listed if _is_allowed(server, each.name)]


def _is_allowed(server: MCPServerConfig, name: str) -> bool:
    if server.tool_allow_list:
        return name in server.tool_allow_list
    return name not in server.tool_deny_list


def _tool(connection: "Connection", listed: Any) -> Tool:
    server = connection.endpoint.server
    parameters = parameters_of(listed.input_schema)
    return Tool(
        spec=ToolSpec(
            name=tool_name(server.slug, listed.name),
            description=listed.description or "",
            parameters=with_intent(parameters) if server.model_intent else parameters,
        ),
        run=_runner(connection, listed.name),
        is_read_only=bool(listed.annotations and listed.annotations.read_only_hint),
        mcp_server_config_id=server.pk,
    )


def _runner(connection: "Connection", name: str) -> Any:
    """Return what carries out calls of a tool; failures are error results that the model reads."""
    server = connection.endpoint.server

    async def run(invocation: ToolInvocation) -> ToolOutput:
        from chatd.tools.mcp.connection import MCPFailureError

        arguments = invocation.arguments
        if server.model_intent:
            arguments = without_intent(arguments)
        try:
            return output_of(await connection.call(name, arguments))
        except MCPFailureError as failure:
            log.warning(
                "an MCP call failed",
                server_id=str(server.pk),
                tool=name,
                host=connection.endpoint.host,
            )
            said = limited(f"{server.display_name}: {failure}")
            return ToolOutput(text=said, is_error=True)

    return run
