"""Chats put into a state, and the events of the law as calls of the real functions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from chatd.chats import runs, states
from chatd.chats.law import Event
from chatd.chats.models import (
    Chat,
    ChatMessage,
    ChatQueuedMessage,
    Role,
    Status,
    Visibility,
)
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import CallState, OpenCall, calls_in_doubt
from chatd.chats.partial import Partial
from chatd.chats.parts import SUMMARY_TOOL, ToolResultPart
from chatd.chats.runs import Fence
from chatd.chats.step_models import OpenStep
from chatd.core.clock import now
from tests.support.people import text, user_content

CLIENT_TOOL = {"name": "ask_browser", "description": "", "input_schema": {"type": "object"}}

_CALLS = iter(range(1, 10**9))


def call_part(tool_name: str = "ask_browser") -> dict[str, Any]:
    """Return a stored tool call with an id of its own."""
    return {
        "type": "tool-call",
        "tool_call_id": f"call-{next(_CALLS)}",
        "tool_name": tool_name,
        "args": {"q": 1},
    }


def answer(*parts: dict[str, Any], words: str = "an answer") -> NewMessage:
    """Return an assistant message of a text and then `parts`."""
    return NewMessage(role=Role.ASSISTANT, content=[*text(words), *parts])


def result_of(call: dict[str, Any]) -> NewMessage:
    """Return the tool message that answers `call`."""
    content = [
        {
            "type": "tool-result",
            "tool_call_id": call["tool_call_id"],
            "tool_name": call["tool_name"],
            "result": {"output": "fine"},
        }
    ]
    return NewMessage(role=Role.TOOL, content=content)


def summary(words: str = "what was said") -> list[NewMessage]:
    """Return the three messages of a compaction."""
    call = call_part(SUMMARY_TOOL)
    call["tool_call_id"] = f"{SUMMARY_TOOL}_{call['tool_call_id']}"
    shown = NewMessage(role=Role.ASSISTANT, content=[call], visibility=Visibility.USER)
    hidden = NewMessage(role=Role.USER, content=text(words), visibility=Visibility.MODEL)
    return [replace(row, compressed=True) for row in (hidden, shown, result_of(call))]


def cost(micros: int = 5) -> NewMessage:
    """Return the hidden row of a call beside the conversation."""
    return NewMessage(
        role=Role.ASSISTANT, content=[], visibility=Visibility.MODEL, total_cost_micros=micros
    )


def fence_of(chat: Chat) -> Fence:
    """Return the fence of the runner that holds `chat`; a made-up one when nobody does."""
    return Fence(
        chat_id=chat.pk,
        runner_id=chat.runner_id or uuid4(),
        history_version=chat.history_version,
    )


def put_into(chat: Chat, status: Status, *, queued: int = 0, archived: bool = False) -> Chat:
    """Give a fresh chat a history and a queue, and write it into a state, real or not."""
    call, doubtful = call_part(), call_part("built_in")
    history: list[tuple[Role, list[dict[str, Any]]]] = [(Role.ASSISTANT, text("before"))]
    if status == Status.REQUIRES_ACTION:
        history = [(Role.ASSISTANT, [*text("before"), call])]
    elif status == Status.ERROR and not archived:
        history = [(Role.ASSISTANT, [*text("before"), doubtful])]
        leave_in_doubt(chat, doubtful)
    for role, content in history:
        ChatMessage.objects.create(chat=chat, revision=1, role=role, content=content)
    for number in range(queued):
        ChatQueuedMessage.objects.create(
            chat=chat,
            content=text(f"queued {number}"),
            size_bytes=30,
            created_by=chat.owner_id,
            model_config_id=chat.last_model_config_id,
        )
    past = now() - timedelta(seconds=5)
    runs = status == Status.RUNNING
    Chat.objects.filter(pk=chat.pk).update(
        status=status,
        dynamic_tools=[CLIENT_TOOL],
        runner_id=uuid4() if runs else None,
        lease_expires_at=past if runs else None,
        started_at=past if runs else None,
        attempt=1 if runs else 0,
        action_deadline_at=past if status == Status.REQUIRES_ACTION else None,
        last_error={"message": "broken", "kind": "generic"} if status == Status.ERROR else None,
        archived=archived,
        archived_at=past if archived else None,
    )
    return Chat.objects.get(pk=chat.pk)


def leave_in_doubt(chat: Chat, *calls: dict[str, Any]) -> None:
    """Leave calls of the last message as a worker does that is lost in the middle of them."""
    left = [OpenCall(call=call, state=CallState.IN_DOUBT) for call in calls]
    OpenStep.objects.create(chat=chat, calls=msgspec.to_builtins(left))


@dataclass(frozen=True)
class Attempt:
    """A chat in a state and what an event needs to name: its queue head and open calls."""

    chat: Chat
    someone: UUID

    @property
    def running(self) -> Partial:
        return Partial(None)

    @property
    def queue_head(self) -> int:
        head = self.chat.queued_messages.order_by("created_at", "id").first()
        return head.pk if head else 999_999_999

    @property
    def first_user_message(self) -> int:
        return self.chat.messages.filter(role=Role.USER).earliest("id").pk

    @property
    def doubtful(self) -> UUID:
        return next((call.id for call in calls_in_doubt(self.chat)), uuid4())

    def results(self) -> list[ToolResultPart]:
        return [
            ToolResultPart(tool_call_id=part["tool_call_id"], result={"ok": True})
            for message in self.chat.messages.filter(role=Role.ASSISTANT)
            for part in message.content
            if part["type"] == "tool-call"
        ]


CALLS: dict[Event, Callable[[Attempt], Any]] = {
    Event.SEND: lambda a: states.send_message(a.chat.pk, user_content(a.someone, "sent")),
    Event.SEND_INTERRUPT: lambda a: states.send_message(
        a.chat.pk, user_content(a.someone, "sent"), interrupt=True, partial=a.running
    ),
    Event.INTERRUPT: lambda a: states.interrupt(a.chat.pk, partial=a.running),
    Event.EDIT: lambda a: states.edit_message(
        a.chat.pk, a.first_user_message, user_content(a.someone, "edited")
    ),
    Event.DELETE_QUEUED: lambda a: states.delete_queued(a.chat.pk, a.queue_head),
    Event.PROMOTE: lambda a: states.promote_queued(
        a.chat.pk, a.queue_head, promoted_by=a.someone, partial=a.running
    ),
    Event.SUBMIT_TOOL_RESULTS: lambda a: states.submit_tool_results(
        a.chat.pk, a.results(), submitted_by=a.someone
    ),
    Event.DECIDE_CALL: lambda a: states.decide_call(
        a.chat.pk, a.doubtful, states.Decision.DONE, decided_by=a.someone
    ),
    Event.ARCHIVE: lambda a: states.archive_chat(a.chat.pk, partials={a.chat.pk: a.running}),
    Event.UNARCHIVE: lambda a: states.unarchive_chat(a.chat.pk),
    Event.ACQUIRE: lambda a: runs.acquire(a.chat.pk, uuid4(), lease_seconds=30),
    Event.RETRY: lambda a: runs.record_retry(
        fence_of(a.chat), {"attempt": 1, "delay_ms": 1, "error": "again"}
    ),
    Event.COMMIT_STEP: lambda a: runs.commit_step(fence_of(a.chat), [answer()]),
    Event.COMPACT: lambda a: runs.compact(fence_of(a.chat), summary(), cost()),
    Event.FINISH: lambda a: runs.finish(fence_of(a.chat), [answer()]),
    Event.REQUIRE_ACTION: lambda a: runs.require_action(fence_of(a.chat), [answer(call_part())]),
    Event.FAIL: lambda a: runs.fail(fence_of(a.chat), {"message": "broken", "kind": "generic"}),
    Event.RELEASE: lambda a: runs.release(a.chat.pk, fence_of(a.chat).runner_id),
    Event.RECOVER: lambda a: runs.recover(a.chat.pk),
    Event.EXPIRE_ACTION: lambda a: runs.expire_action(a.chat.pk),
}
"""How each event is tried. What must name the past (leases, deadlines) finds it in `put_into`."""
