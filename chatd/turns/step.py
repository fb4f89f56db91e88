"""One model call: events become streamed parts at once, and one message at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from msgspec import UNSET

from chatd.chats.models import Role
from chatd.chats.parts import parsed_arguments
from chatd.chats.transition import NewMessage, StepUsage
from chatd.core.clock import now, rfc3339
from chatd.live.writer import PartWriter
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    Source,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from chatd.providers.pricing import Prices

MAX_ANSWER_BYTES = 2560 * 1024
MAX_REASONING_BYTES = 768 * 1024
"""Of the JSON of text and arguments, and of reasoning: a message must fit one frame of 4 MiB."""

CUT = "\n\n[The answer was cut here: it is longer than a message can be.]"
TOO_LARGE = "The model sent a tool call that is too large to be carried out."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a finished call produced. `content`: stored parts; `calls`: local tool calls."""

    content: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    reason: FinishReason
    usage: StepUsage
    response_id: str | None
    runtime_ms: int
    called_at: datetime

    def message(self, model_config_id: UUID, prices: Prices) -> NewMessage | None:
        """Return the assistant message of the step; None when the model said nothing."""
        if not self.content:
            return None
        return NewMessage(
            role=Role.ASSISTANT,
            content=self.content,
            model_config_id=model_config_id,
            usage=self.usage,
            prices=prices,
            runtime_ms=self.runtime_ms,
            provider_response_id=self.response_id,
        )


@dataclass(slots=True)
class _Block:
    """A text or a reasoning that is still growing."""

    type: str
    pieces: list[str] = field(default_factory=list)
    started_at: str = ""
    ended_at: str = ""

    def stored(self) -> dict[str, Any]:
        part: dict[str, Any] = {"type": self.type, "text": "".join(self.pieces)}
        if self.type == "reasoning":
            part |= {"created_at": self.started_at, "completed_at": self.ended_at}
        return part


class StepCollector:
    """Takes the events of one attempt, in order; streams them through `writer`."""

    def __init__(
        self,
        writer: PartWriter,
        *,
        context_limit: int,
        mcp_server_of: Callable[[str], UUID | None] = lambda name: None,
    ) -> None:
        self._writer = writer
        self._context_limit = context_limit
        self._mcp_server_of = mcp_server_of
        self._blocks: list[_Block | dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._answer_bytes = 0
        self._reasoning_bytes = 0
        self._is_full = False
        self._finish: Finish | None = None
        self._started = time.monotonic()
        self._called_at = now()

    @property
    def is_full(self) -> bool:
        """True when the answer is as long as a message may be; the call is ended there."""
        return self._is_full

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self._add_answer(text)
            case ReasoningDelta(text=text):
                self._add_reasoning(text)
            case ToolCallDelta():
                self._add_call_delta(event)
            case ToolCall():
                self._add_call(event)
            case Source(id=source_id, url=url, title=title):
                part = {"type": "source", "source_id": source_id, "url": url, "title": title}
                self._add_whole(
                    {key: value for key, value in part.items() if value or key == "url"}
                )
            case Finish():
                self._finish = event

    def _add_answer(self, text: str) -> None:
        """Add a piece of text; what goes over the bound is cut, visibly."""
        size = _json_size(text)
        if self._answer_bytes + size > MAX_ANSWER_BYTES:
            # no character takes more than six bytes
            text = text[: max(MAX_ANSWER_BYTES - self._answer_bytes, 0) // 6] + CUT
            self._is_full = True
        self._answer_bytes += size
        self._add_text("text", text)

    def _add_reasoning(self, text: str) -> None:
        """Add a piece of reasoning; what goes over the bound is left out, the answer goes on."""
        size = _json_size(text)
        if self._reasoning_bytes + size <= MAX_REASONING_BYTES:
            self._reasoning_bytes += size
            self._add_text("reasoning", text)

    def _add_text(self, kind: str, text: str) -> None:
        if not text:
            return
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Block) or last.type != kind:
            self._end_block()
            last = _Block(kind, started_at=rfc3339(now()))
            self._blocks.append(last)
        last.pieces.append(text)
        self._writer.add(Role.ASSISTANT, {"type": kind, "text": text})

    def _add_call_delta(self, event: ToolCallDelta) -> None:
        self._end_block()
        self._answer_bytes += _json_size(event.arguments_delta)
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise LLMError(kind=ErrorKind.GENERIC, message=TOO_LARGE)
        part = {
            "type": "tool-call",
            "tool_call_id": event.id,
            "tool_name": event.name,
            "args_delta": event.arguments_delta,
            **self._origin(event.name),
        }
        self._writer.add(Role.ASSISTANT, part)

    def _add_call(self, event: ToolCall) -> None:
        part: dict[str, Any] = {
            "type": "tool-call",
            "tool_call_id": event.id,
            "tool_name": event.name,
            "created_at": rfc3339(now()),
            **self._origin(event.name),
        }
        args = parsed_arguments(event.arguments or "{}")
        if args is not UNSET:  # what does not parse is stored without arguments
            part["args"] = args
        self._calls.append(part)
        self._add_whole(part)

    def _origin(self, tool_name: str) -> dict[str, Any]:
        """Return the mark of calls that go to an MCP server."""
        server_id = self._mcp_server_of(tool_name)
        return {"mcp_server_config_id": str(server_id)} if server_id else {}

    def _add_whole(self, part: dict[str, Any]) -> None:
        self._end_block()
        self._blocks.append(part)
        self._writer.add(Role.ASSISTANT, part)

    def _end_block(self) -> None:
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, _Block) and not last.ended_at:
            last.ended_at = rfc3339(now())

    def result(self) -> StepResult:
        """Return the step; a call that was cut because it was full ended by length."""
        self._end_block()
        content = [block.stored() if isinstance(block, _Block) else block for block in self._blocks]
        finish = self._finish or Finish(reason=FinishReason.LENGTH, usage=None)
        return StepResult(
            content=content,
            calls=self._calls,
            reason=finish.reason,
            usage=step_usage(finish.usage, finish.context_limit or self._context_limit),
            response_id=finish.response_id,
            runtime_ms=int((time.monotonic() - self._started) * 1000),
            called_at=self._called_at,
        )


def _json_size(text: str) -> int:
    return len(orjson.dumps(text))


def step_usage(usage: Usage | None, context_limit: int) -> StepUsage:
    """Return the tokens of a call as they are stored."""
    usage = usage or Usage()
    return StepUsage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        total_tokens=usage.total,
        reasoning_tokens=usage.reasoning,
        cache_creation_tokens=usage.cache_write,
        cache_read_tokens=usage.cache_read,
        context_limit=context_limit,
    )
