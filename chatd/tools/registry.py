"""The tools of a turn: where they come from, in which order, and which name wins.

A source opens what it needs (connections, for example) for as long as the turn runs. Its place in
`SOURCES` is the order in which the model sees its tools; a name that is taken keeps its first
tool. Tools of clients come last and lose to every other.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import structlog

from chatd.core.outages import DATABASE_AWAY
from chatd.llm.types import ToolSpec
from chatd.tools.client_tools import client_tools, declared_tools
from chatd.tools.mcp.source import mcp_tools
from chatd.tools.types import Tool

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnContext:
    """The chat that a turn works for, as its tools see it."""

    chat_id: UUID
    owner_id: UUID
    organization_id: UUID
    parent_chat_id: UUID | None = None
    mode: str | None = None
    plan_mode: str | None = None
    mcp_server_ids: Sequence[str] = ()
    dynamic_tools: Sequence[Mapping[str, Any]] = ()


class ToolSource(Protocol):
    """Opens the tools of one origin for a turn. It skips what fails and says so in the log."""

    def __call__(self, context: TurnContext) -> AbstractAsyncContextManager[Sequence[Tool]]: ...


SOURCES: tuple[ToolSource, ...] = (mcp_tools,)


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools that are active in a turn, in the order in which the model sees them."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    of_client: Mapping[str, ToolSpec] = field(default_factory=dict)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return (*(tool.spec for tool in self.tools.values()), *self.of_client.values())

    def mcp_server_of(self, name: str) -> UUID | None:
        """Return the MCP server that a tool belongs to."""
        tool = self.tools.get(name)
        return tool.mcp_server_config_id if tool else None


@asynccontextmanager
async def open_toolset(
    context: TurnContext, sources: Sequence[ToolSource] | None = None
) -> AsyncIterator[Toolset]:
    """Open the tools of a turn; they are closed when the turn leaves the block.

    A source that fails altogether is left out: the turn goes on with the others. Not so when the
    database is away: then the turn is begun again. Raises what `DATABASE_AWAY` names.
    """
    async with AsyncExitStack() as stack:
        tools: dict[str, Tool] = {}
        for source in SOURCES if sources is None else sources:
            try:
                found = await stack.enter_async_context(source(context))
            except DATABASE_AWAY:
                raise
            except Exception:
                log.exception("tools could not be opened", source=repr(source))
                continue
            for tool in found:
                tools.setdefault(tool.name, tool)
        declared = client_tools(declared_tools(context))
        yield Toolset(tools, {spec.name: spec for spec in declared if spec.name not in tools})
