"""Carrying out the calls of one step: all at once, results in the order of the calls.

Belongs here: which calls run, exclusive tools, what becomes of exceptions. Does not belong here:
storing intents and results (`turns`), what a tool does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from chatd.core.tracing import span
from chatd.tools.registry import Toolset
from chatd.tools.results import result_part
from chatd.tools.types import Tool, ToolInvocation, ToolOutput

log = structlog.get_logger(__name__)

StoredCall = Mapping[str, Any]
Finished = Callable[[StoredCall, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Batch:
    """The local calls of a step, sorted by what becomes of them. Results are stored parts."""

    calls: Sequence[StoredCall]
    """Those that the server answers, in the order of the model."""
    refused: Mapping[str, dict[str, Any]]
    """Results of calls that are not carried out, by call id."""
    of_client: Sequence[StoredCall]
    """Those that the client answers."""

    @property
    def runs_tools(self) -> bool:
        return len(self.refused) < len(self.calls)

    def to_run(self) -> list[StoredCall]:
        return [call for call in self.calls if call["tool_call_id"] not in self.refused]


def plan(calls: Sequence[StoredCall], toolset: Toolset) -> Batch:
    """Sort the local calls of a step."""
    of_client = [call for call in calls if call["tool_name"] in toolset.of_client]
    local = [call for call in calls if call["tool_name"] not in toolset.of_client]
    refused = {
        call["tool_call_id"]: result_part(call, ToolOutput(text=reason, is_error=True))
        for call in local
        if (reason := _refusal(call, calls, toolset))
    }
    return Batch(local, refused, of_client)


def _refusal(call: StoredCall, batch: Sequence[StoredCall], toolset: Toolset) -> str:
    """Return why a call is not carried out; empty when it is."""
    tool = toolset.tools.get(call["tool_name"])
    if tool is None:
        return f"Tool not active in this turn: {call['tool_name']}"
    exclusive = _exclusive_of(batch, toolset)
    if exclusive is None:
        return ""
    if tool.is_exclusive:
        return (
            f"{tool.name} must be called alone, without other tools in the same batch."
            f" Retry with only the {tool.name} call."
        )
    return (
        f"this tool was skipped because {exclusive} must run alone in its batch."
        f" Retry your tool calls without {exclusive}, or call {exclusive} separately first."
    )


def _exclusive_of(batch: Sequence[StoredCall], toolset: Toolset) -> str | None:
    if len(batch) < 2:
        return None
    tools = (toolset.tools.get(call["tool_name"]) for call in batch)
    return next((tool.name for tool in tools if tool and tool.is_exclusive), None)


async def carry_out(
    calls: Sequence[StoredCall], toolset: Toolset, finished: Finished
) -> dict[str, dict[str, Any]]:
    """Carry out calls of active tools, all at once; returns their results by call id.

    `finished` is awaited after each one, with the call and its stored result. Cancelling this
    cancels every tool; what `finished` raises ends the batch.
    """
    results: dict[str, dict[str, Any]] = {}

    async def run(call: StoredCall) -> None:
        output = await _traced(toolset.tools[call["tool_name"]], call)
        results[call["tool_call_id"]] = part = result_part(call, output)
        await finished(call, part)

    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(run(call))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return results


async def _traced(tool: Tool, call: StoredCall) -> ToolOutput:
    """Carry a call out as a span that has its names, and neither arguments nor result."""
    about = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.call.id": str(call["tool_call_id"]),
        "gen_ai.tool.type": "function",
    }
    with span(f"execute_tool {tool.name}", attributes=about) as traced:
        output = await _run_one(tool, call)
        if output.is_error:
            traced.fail("tool_error")
        return output


async def _run_one(tool: Tool, call: StoredCall) -> ToolOutput:
    arguments = call.get("args")
    invocation = ToolInvocation(
        id=call["tool_call_id"],
        name=tool.name,
        arguments=arguments if isinstance(arguments, dict) else {},
    )
    task = asyncio.current_task()
    try:
        return await tool.run(invocation)
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        return ToolOutput(text="The tool was cancelled.", is_error=True)
    except Exception as error:  # noqa: BLE001 - the edge to tools of any origin
        log.warning("tool failed", tool=tool.name, error=type(error).__name__)
        return ToolOutput(text=str(error) or type(error).__name__, is_error=True)
