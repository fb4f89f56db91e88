"""Carrying out the tools of a step so that a call is made at most once, whoever dies when."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from chatd.chats import runs
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import CallState, OpenCall, record_calls
from chatd.chats.runs import Fence
from chatd.core.threads import in_database_thread
from chatd.tools.batch import Batch, StoredCall, carry_out
from chatd.tools.registry import Toolset

log = structlog.get_logger(__name__)

GRACE_SECONDS = 10.0
"""How long the tools of a step may go on when their worker is told to stop."""

Results = dict[str, dict[str, Any]]


class TakenAwayError(Exception):
    """Somebody else has ended the step: an interrupt, an edit, another runner."""


async def carry_out_step(
    fence: Fence,
    message: NewMessage | None,
    batch: Batch,
    toolset: Toolset,
    *,
    has_grace: Callable[[], bool],
) -> tuple[Results, bool]:
    """Write the step down, carry its calls out, and return their results by call id.

    `message` is the assistant message, None when it is stored already. When this is cancelled
    while `has_grace`, calls that change something may finish for `GRACE_SECONDS`; the second value
    tells that the caller was cancelled meanwhile and has to stop after storing the results.

    Raises TakenAwayError, StateConflictError, CancelledError.
    """
    calls = _written_down(batch, toolset)
    await in_database_thread(runs.open_step, fence, message, calls)
    by_id = {entry.call_id: entry for entry in calls}
    recording = asyncio.Lock()

    async def finished(call: StoredCall, part: dict[str, Any]) -> None:
        entry = by_id[call["tool_call_id"]]
        entry.state, entry.result = CallState.DONE, part
        if entry.is_read_only:
            return
        async with recording:
            kept = await in_database_thread(record_calls, fence.chat_id, fence.runner_id, calls)
        if not kept:
            raise TakenAwayError

    work = asyncio.create_task(carry_out(batch.to_run(), toolset, finished))
    try:
        return dict(batch.refused) | await asyncio.shield(work), False
    except asyncio.CancelledError:
        changes = any(not entry.is_read_only for entry in calls)
        try:
            if has_grace() and changes:
                await asyncio.wait({work}, timeout=GRACE_SECONDS)
        finally:
            if not _succeeded(work):
                await _cancelled(work)
        if not _succeeded(work):
            raise
        return dict(batch.refused) | work.result(), True


def _succeeded(work: asyncio.Task[Results]) -> bool:
    return work.done() and not work.cancelled() and work.exception() is None


async def _cancelled(work: asyncio.Task[Results]) -> None:
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()  # asked for, so that it is not reported as lost


def _written_down(batch: Batch, toolset: Toolset) -> list[OpenCall]:
    calls = []
    for call in batch.calls:
        refusal = batch.refused.get(call["tool_call_id"])
        tool = toolset.tools.get(call["tool_name"])
        calls.append(
            OpenCall(
                call=dict(call),
                state=CallState.DONE if refusal else CallState.BEGUN,
                is_read_only=tool is None or tool.is_read_only,
                result=refusal,
            )
        )
    calls += [OpenCall(call=dict(call), state=CallState.OF_CLIENT) for call in batch.of_client]
    return calls


def in_call_order(calls: Sequence[StoredCall], results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the results in the order of their calls."""
    return [results[call["tool_call_id"]] for call in calls]
