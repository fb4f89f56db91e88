"""Tool calls at most once: what is known of a step between its model call and its commit.

Before the tools of a step run, the step is written down with its calls; after each tool its
result. Whoever ends the step (the runner, an interrupt, the recovery of a lost worker) finds here
what the model said and what has been done. A call that was begun, has no result and may have
changed something is in doubt: it is never made again unless a person says so.

These change an open transition, or are fenced by the runner; `states` and `runs` use them. A result
in an open step is never in the history yet: what is stored there is dropped here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.db.models import UUIDField
from msgspec import Struct

from chatd.chats.models import Chat, Role, Visibility
from chatd.chats.new_messages import NewMessage, StepUsage, cost_of
from chatd.chats.parts import error_result
from chatd.chats.step_models import OpenStep
from chatd.chats.transition import Transition
from chatd.core.clock import now
from chatd.core.statements import Parameter, Select
from chatd.spending.ledger import shrink_hold

NEVER_DECIDED = (
    "It is not known whether this tool call was carried out: its worker was lost in the middle of"
    " it, and nobody decided what to do."
)
SKIPPED = "This tool call was not carried out: its worker was lost, and the user chose to skip it."


class CallState(StrEnum):
    """How far a call has come. `AGAIN` is to be carried out by the next runner."""

    BEGUN = "begun"
    DONE = "done"
    IN_DOUBT = "in_doubt"
    AGAIN = "again"
    OF_CLIENT = "of_client"


class OpenCall(Struct, kw_only=True, omit_defaults=True):
    """One local call of an open step. `call` and `result` are stored parts."""

    call: dict[str, Any]
    state: CallState
    is_read_only: bool = False
    result: dict[str, Any] | None = None
    id: UUID = msgspec.field(default_factory=uuid4)

    @property
    def call_id(self) -> str:
        return str(self.call.get("tool_call_id", ""))


class UnstoredMessage(Struct, kw_only=True):
    """The assistant message of an open step, with everything that its row will have."""

    content: list[dict[str, Any]]
    model_config_id: UUID | None
    usage: dict[str, int | None]
    total_cost_micros: int | None
    runtime_ms: int | None
    provider_response_id: str | None
    hold_id: UUID | None = None

    @classmethod
    def of(cls, message: NewMessage) -> "UnstoredMessage":
        return cls(
            content=message.content,
            model_config_id=message.model_config_id,
            usage=msgspec.to_builtins(message.usage),
            total_cost_micros=cost_of(message),
            runtime_ms=message.runtime_ms,
            provider_response_id=message.provider_response_id,
            hold_id=message.hold_id,
        )

    def message(self) -> NewMessage:
        return NewMessage(
            role=Role.ASSISTANT,
            content=self.content,
            model_config_id=self.model_config_id,
            usage=StepUsage(**self.usage),
            total_cost_micros=self.total_cost_micros,
            runtime_ms=self.runtime_ms,
            provider_response_id=self.provider_response_id,
            hold_id=self.hold_id,
        )


def open_calls(chat: Chat | UUID) -> list[OpenCall]:
    """Return the calls of the open step of a chat, in the order of the model; none is normal."""
    chat_id = chat if isinstance(chat, UUID) else chat.pk
    return _calls(_OPEN.first(chat_id=chat_id) or [])


_OPEN = Select(
    lambda: OpenStep.objects.filter(chat_id=Parameter("chat_id", UUIDField())).values_list(
        "calls", flat=True
    )[:1]
)


def calls_in_doubt(chat: Chat) -> list[OpenCall]:
    """Return the calls that a person has to decide about."""
    return [call for call in open_calls(chat) if call.state is CallState.IN_DOUBT]


def write_down(
    chat_id: UUID, runner_id: UUID, message: NewMessage | None, calls: Sequence[OpenCall]
) -> None:
    """Keep a step whose tools are about to be carried out. The chat is locked.

    What its call cost is known by now, and no more than that is held.
    """
    if message is not None and message.hold_id is not None:
        shrink_hold(message.hold_id, cost_of(message) or 0, at=now())
    OpenStep.objects.update_or_create(
        chat_id=chat_id,
        defaults={
            "runner_id": runner_id,
            "message": msgspec.to_builtins(UnstoredMessage.of(message)) if message else None,
            "calls": msgspec.to_builtins(list(calls)),
        },
    )


def record_calls(chat_id: UUID, runner_id: UUID, calls: Sequence[OpenCall]) -> bool:
    """Write how far the calls of a step have come; False when it is not the runner's any more."""
    held = OpenStep.objects.filter(chat_id=chat_id, runner_id=runner_id)
    return held.update(calls=msgspec.to_builtins(list(calls))) == 1


def forget_open_step(chat_id: UUID) -> None:
    """Drop the open step of a chat: its messages are stored."""
    OpenStep.objects.filter(chat_id=chat_id).delete()


def cut_open_step(t: Transition) -> None:
    """Drop an open step with the history that it belongs to; what its call cost stays charged."""
    step = OpenStep.objects.filter(chat_id=t.chat.pk).first()
    if step is None:
        return
    for message in _message(step):
        t.record_cost(replace(message, content=[], visibility=Visibility.MODEL))
    step.delete()


def close_open_step(t: Transition, reason: str) -> bool:
    """Store an open step as it stands; calls without a result get an error that says `reason`.

    False when there is none. What is in doubt stays so for the model: it reads that nobody knows.
    """
    step = OpenStep.objects.filter(chat_id=t.chat.pk).first()
    if step is None:
        return False
    calls = _calls(step.calls)
    for call in calls:
        if call.state is not CallState.DONE:
            in_doubt = call.state is CallState.IN_DOUBT
            text = NEVER_DECIDED if in_doubt else reason
            call.result = error_result(call.call, {"error": text})
    t.insert([*_message(step), *_results(calls, t.chat.last_model_config_id)])
    step.delete()
    return True


def leave_open_step(t: Transition) -> CallState | None:
    """Store what is known of a step that lost its runner; what could not be done stays open.

    Returns None when nothing is left to do, `AGAIN` when the next runner has calls to carry out,
    `IN_DOUBT` when a person has to decide first.
    """
    step = OpenStep.objects.filter(chat_id=t.chat.pk).first()
    if step is None:
        return None
    calls = _calls(step.calls)
    for call in calls:
        if call.state is CallState.BEGUN:
            call.state = CallState.AGAIN if call.is_read_only else CallState.IN_DOUBT
    done = [call for call in calls if call.state is CallState.DONE]
    t.insert([*_message(step), *_results(done, t.chat.last_model_config_id)])
    return _keep(step, [call for call in calls if call.state is not CallState.DONE])


def decide(
    t: Transition,
    call_id: UUID,
    settled: Callable[[OpenCall], dict[str, Any] | None],
    *,
    decided_by: UUID,
) -> CallState | None:
    """Take a person's decision about a call: `settled` returns its result, None for "again".

    Returns what is left, as `leave_open_step`. Raises KeyError when the call is not in doubt.
    """
    step = OpenStep.objects.filter(chat_id=t.chat.pk).first()
    calls = _calls(step.calls) if step else []
    call = next((c for c in calls if c.id == call_id and c.state is CallState.IN_DOUBT), None)
    if step is None or call is None:
        raise KeyError(call_id)
    call.result = settled(call)
    if call.result is None:
        call.state = CallState.AGAIN
        return _keep(step, calls)
    [message] = _results([call], t.chat.last_model_config_id)
    t.insert([replace(message, created_by=decided_by)])
    return _keep(step, [other for other in calls if other is not call])


def _keep(step: OpenStep, calls: list[OpenCall]) -> CallState | None:
    """Keep the calls that are open, without a runner."""
    if not calls:
        step.delete()
        return None
    step.message, step.runner_id = None, None
    step.calls = msgspec.to_builtins(calls)
    step.save()
    in_doubt = any(call.state is CallState.IN_DOUBT for call in calls)
    return CallState.IN_DOUBT if in_doubt else CallState.AGAIN


def _message(step: OpenStep) -> list[NewMessage]:
    if step.message is None:
        return []
    return [msgspec.convert(step.message, UnstoredMessage).message()]


def _results(calls: Iterable[OpenCall], model_config_id: Any) -> list[NewMessage]:
    return [
        NewMessage(role=Role.TOOL, content=[call.result], model_config_id=model_config_id)
        for call in calls
        if call.result is not None
    ]


def _calls(stored: Any) -> list[OpenCall]:
    return msgspec.convert(stored, list[OpenCall])
