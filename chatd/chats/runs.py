"""The engine's events of the state machine: what a runner and the sweeps do to a chat.

As in `states`, each function is one short transaction. A runner's write carries a fence: its id
and the history version it worked on. When either has moved, the write is refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from chatd.chats import shapes
from chatd.chats.cut_off import charge_cut_off, streamed_by
from chatd.chats.law import Event
from chatd.chats.models import Chat, Role, Status
from chatd.chats.moves import (
    STILL_WORKING,
    WAITING_FOR_INPUT,
    action_deadline,
    clear_summary,
    close_client_calls,
    promote_head,
    relabel,
    summarize,
)
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import (
    CallState,
    OpenCall,
    forget_open_step,
    leave_open_step,
    write_down,
)
from chatd.chats.partial import Partial
from chatd.chats.selectors import open_client_calls
from chatd.chats.transition import StateConflictError, Transition, lock_chat, transition
from chatd.chats.wire import client_call_bodies
from chatd.core.clock import rfc3339
from chatd.core.errors import ChatdError
from chatd.core.shared_clock import from_now, shared_now

ACTION_TIMED_OUT = "Dynamic tool execution timed out"
RESTARTING = "The worker is restarting; the turn goes on with another one."
FENCED_OUT = "the runner was fenced out"
IN_DOUBT: dict[str, Any] = {
    "message": (
        "A tool call was under way when its worker was lost. It may have been carried out, or not:"
        " decide what to do with it."
    ),
    "kind": "generic",
    "retryable": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What a runner's write names: refused as soon as either has moved."""

    chat_id: UUID
    runner_id: UUID
    history_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a runner stands after a write of its own."""

    status: Status
    history_version: int
    attempt: int
    updated_at: datetime


def acquire(chat_id: UUID, runner_id: UUID, *, lease_seconds: float) -> Chat | None:
    """Take a pending chat for a runner; None when it is not to be had (that is normal)."""
    try:
        with transition(chat_id, Event.ACQUIRE) as t:
            t.set_status(Status.RUNNING, silent=True)
            t.set(
                runner_id=runner_id,
                lease_expires_at=from_now(lease_seconds),
                started_at=t.at,
                attempt=t.chat.attempt + 1,
            )
            t.notify(worker_id=str(runner_id))
            return t.chat
    except (StateConflictError, ChatdError):  # it moved, or is gone
        return None


def renew_leases(runner_ids: Sequence[UUID], *, lease_seconds: float) -> set[UUID]:
    """Extend the leases of these runners; returns those that still hold one.

    A row that is locked right now is skipped: it is being changed, or will be renewed next time.
    Waiting for it would hold up all the others, and could deadlock with whoever locks several.
    """
    held = Chat.objects.filter(runner_id__in=runner_ids, status=Status.RUNNING)
    free = held.select_for_update(skip_locked=True, no_key=True).values("pk")
    with transaction.atomic():
        Chat.objects.filter(pk__in=free).update(lease_expires_at=from_now(lease_seconds))
    return {runner for runner in held.values_list("runner_id", flat=True) if runner}


def open_step(fence: Fence, message: NewMessage | None, calls: Sequence[OpenCall]) -> None:
    """Write down a step whose tools are about to be carried out; clients see nothing of it.

    `message` is None when it stands in the history already. Raises StateConflictError when the
    fence has moved.
    """
    with transaction.atomic():
        held_chat(fence)
        write_down(fence.chat_id, fence.runner_id, message, calls)


def held_chat(fence: Fence) -> Chat:
    """Return the chat of a runner, locked. Raises StateConflictError when the fence has moved."""
    chat = lock_chat(fence.chat_id)
    if (chat.runner_id, chat.history_version) != (fence.runner_id, fence.history_version):
        raise StateConflictError(Event.COMMIT_STEP, chat, FENCED_OUT)
    return chat


def commit_step(fence: Fence, messages: Sequence[NewMessage]) -> Progress:
    """Store the messages of a step; the runner goes on with a new episode.

    Raises StateConflictError when the fence has moved.
    """
    with _fenced(fence, Event.COMMIT_STEP) as t:
        forget_open_step(t.chat.pk)
        if t.insert(messages):
            t.set(attempt=1, retry=None)
        return _progress(t)


def compact(
    fence: Fence, messages: Sequence[NewMessage], cost: NewMessage | None = None
) -> Progress:
    """Store a compaction and what its model call cost; the runner goes on with a new episode.

    `messages` are the summary for the model and the two rows that people see, none when there is
    nothing but a cost to record. The summary carries the API key of the message that began the
    turn. What was summarised stays as it is. Raises StateConflictError when the fence has moved.
    """
    with _fenced(fence, Event.COMPACT) as t:
        key = _api_key_of_turn(t.chat) if messages else None
        rows = [
            replace(message, api_key_id=key) if message.role == Role.USER else message
            for message in messages
        ]
        if t.insert(rows):
            t.set(attempt=1, retry=None)
        if cost is not None:
            t.record_cost(cost)
        return _progress(t)


def finish(
    fence: Fence,
    messages: Sequence[NewMessage] = (),
    cost: NewMessage | None = None,
    label: str = "",
) -> Progress:
    """End a turn well, with the messages of its last step; the head of the queue is promoted.

    `cost` is of a last call that said nothing. A `label` says in a list of chats how it ended,
    where nobody makes a better one afterwards.
    """
    with _fenced(fence, Event.FINISH) as t:
        t.insert(messages)
        if cost is not None:
            t.record_cost(cost)
        if promote_head(t):
            summarize(t, STILL_WORKING)
        else:
            t.set_status(Status.WAITING)
            if label:
                relabel(t, label)
        t.settle_runner()
        return _progress(t)


def require_action(fence: Fence, messages: Sequence[NewMessage]) -> Progress:
    """End a turn at client-side tool calls: the chat waits for their results."""
    with _fenced(fence, Event.REQUIRE_ACTION) as t:
        forget_open_step(t.chat.pk)
        t.insert(messages)
        t.set_status(Status.REQUIRES_ACTION, deadline=action_deadline())
        t.settle_runner()
        t.notify(action_required=True)
        t.watch("action_required", tool_calls=client_call_bodies(open_client_calls(t.chat)))
        summarize(t, WAITING_FOR_INPUT)
        return _progress(t)


def fail(fence: Fence, error: dict[str, Any], *, summary: str = "") -> Progress:
    """End a turn with an error (a stored ChatError). The queue stays; the next send drains it.

    A `summary` says in a list of chats why.
    """
    streamed = streamed_by(fence.chat_id)
    with _fenced(fence, Event.FAIL) as t:
        leave_open_step(t)
        charge_cut_off(t, streamed)
        t.notify(error_payload=error, error=str(error.get("message", "")))
        t.set_status(Status.ERROR, error=error)
        t.settle_runner()
        if summary:
            summarize(t, summary)
        else:
            clear_summary(t)
        return _progress(t)


def record_retry(fence: Fence, retry: shapes.Retry) -> Progress:
    """Announce a back-off; parts streamed so far are void and a new episode begins."""
    with _fenced(fence, Event.RETRY) as t:
        t.set(attempt=t.chat.attempt + 1, retry=retry, retry_version=t.version)
        t.notify(retry=retry)
        return _progress(t)


def release(chat_id: UUID, runner_id: UUID, *, why: str = RESTARTING) -> bool:
    """Give a running turn back; False when it was not ours any more. Followers are told `why`.

    It becomes pending, or an error when a tool call is in doubt.
    """
    streamed = streamed_by(chat_id)
    try:
        with transition(chat_id, Event.RELEASE) as t:
            if t.chat.runner_id != runner_id:
                raise t.conflict("another runner holds the chat")
            _hand_over(t, why, streamed)
            t.settle_runner()
    except (StateConflictError, ChatdError):
        return False
    return True


def recover(chat_id: UUID) -> bool:
    """Take a running chat from a runner whose lease has expired; False when it has not.

    It becomes pending, or an error when a tool call is in doubt.
    """
    streamed = streamed_by(chat_id)
    try:
        with transition(chat_id, Event.RECOVER) as t:
            if t.chat.lease_expires_at is None or t.chat.lease_expires_at > shared_now():
                raise t.conflict("the lease is alive")
            _hand_over(t, "The worker that ran this turn stopped responding.", streamed)
    except (StateConflictError, ChatdError):
        return False
    return True


def expire_action(chat_id: UUID) -> bool:
    """End a wait for client-side results whose deadline has passed; False when it has not."""
    try:
        with transition(chat_id, Event.EXPIRE_ACTION) as t:
            if t.chat.action_deadline_at is None or t.chat.action_deadline_at > shared_now():
                raise t.conflict("the deadline has not passed")
            error = {"message": ACTION_TIMED_OUT, "kind": "generic", "retryable": False}
            close_client_calls(t, ACTION_TIMED_OUT)
            t.notify(error_payload=error, error=ACTION_TIMED_OUT)
            t.set_status(Status.ERROR, error=error)
            clear_summary(t)
    except (StateConflictError, ChatdError):
        return False
    return True


@contextmanager
def _fenced(fence: Fence, event: Event) -> Iterator[Transition]:
    with transition(fence.chat_id, event) as t:
        held = (t.chat.runner_id, t.chat.history_version)
        if held != (fence.runner_id, fence.history_version):
            raise t.conflict(FENCED_OUT)
        yield t


def _api_key_of_turn(chat: Chat) -> str | None:
    asked = chat.messages.filter(role=Role.USER, deleted=False).order_by("-id")
    return asked.values_list("api_key_id", flat=True).first()


def _progress(t: Transition) -> Progress:
    return Progress(
        status=Status(t.chat.status),
        history_version=t.chat.history_version,
        attempt=t.chat.attempt,
        updated_at=t.chat.updated_at,
    )


def _hand_over(t: Transition, why: str, streamed: Partial | None) -> None:
    """Leave a running turn to the next runner, or to a person when a tool call is in doubt."""
    left = leave_open_step(t)
    charge_cut_off(t, streamed)
    if left is CallState.IN_DOUBT:
        t.notify(error_payload=IN_DOUBT, error=IN_DOUBT["message"])
        t.set_status(Status.ERROR, error=IN_DOUBT)
        clear_summary(t)
        return
    if t.chat.history_version != t.version:
        _void_parts(t, why)
    t.set_status(Status.PENDING, silent=True)


def _void_parts(t: Transition, why: str) -> None:
    """Tell followers to drop the parts of the attempt that will be made again."""
    retry: shapes.Retry = {
        "attempt": t.chat.attempt,
        "delay_ms": 0,
        "error": why,
        "kind": "generic",
        "retrying_at": rfc3339(t.at),
    }
    t.notify(retry=retry)
    t.set(retry_version=t.version)
