"""One model call: events become streamed parts at once, and one message at the end."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
from msgspec import UNSET

from chatd.chats.models import Role, Visibility
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.parts import parsed_arguments, result_of
from chatd.core.clock import now, rfc3339
from chatd.live.writer import PartWriter
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    GeneratedFile,
    ProviderMetadata,
    ReasoningDelta,
    ReasoningEnd,
    Source,
    TextDelta,
    TextEnd,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from chatd.providers.pricing import Prices
from chatd.spending.holds import Hold

MAX_ANSWER_BYTES = 2560 * 1024
MAX_REASONING_BYTES = 768 * 1024
"""Of the JSON of text and arguments, and of reasoning: a message must fit one frame of 4 MiB."""

CUT = "\n\n[The answer was cut here: it is longer than a message can be.]"
TOO_LARGE = "The model sent a tool call or a file that is too large to be kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a finished call produced. `content`: stored parts; `calls`: local tool calls.

    `hold` is what was held for it, with its prices.
    """

    content: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    reason: FinishReason
    usage: StepUsage
    response_id: str | None
    runtime_ms: int
    hold: Hold | None = None

    def message(self, model_config_id: UUID) -> NewMessage | None:
        """Return the assistant message of the step; None when the model said nothing."""
        return self._row(model_config_id) if self.content else None

    def cost(self, model_config_id: UUID) -> NewMessage | None:
        """Return the hidden row of a call that said nothing; None when it did, or was for free."""
        if self.content or self.usage == StepUsage(context_limit=self.usage.context_limit):
            return None
        return replace(self._row(model_config_id), visibility=Visibility.MODEL)

    def _row(self, model_config_id: UUID) -> NewMessage:
        return NewMessage(
            role=Role.ASSISTANT,
            content=self.content,
            model_config_id=model_config_id,
            usage=self.usage,
            prices=self.hold.prices if self.hold else Prices(),
            runtime_ms=self.runtime_ms,
            provider_response_id=self.response_id,
            hold_id=self.hold.id if self.hold else None,
        )


@dataclass(slots=True)
class _Block:
    """A text or a reasoning that is still growing."""

    type: str
    pieces: list[str] = field(default_factory=list)
    started_at: str = ""
    ended_at: str = ""
    metadata: ProviderMetadata | None = None

    def stored(self) -> dict[str, Any]:
        part: dict[str, Any] = {"type": self.type, "text": "".join(self.pieces)}
        if self.type == "reasoning":
            part |= {"created_at": self.started_at, "completed_at": self.ended_at}
        return part | _kept(self.metadata)


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
        self._is_reasoning_cut = False
        self._is_full = False
        self._finish: Finish | None = None
        self._started = time.monotonic()

    @property
    def is_full(self) -> bool:
        """True when the answer is as long as a message may be; the call is ended there."""
        return self._is_full

    @property
    def written_bytes(self) -> int:
        """How much the model has written so far, reasoning included."""
        return self._answer_bytes + self._reasoning_bytes

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self._add_answer(text)
            case TextEnd(provider_metadata=metadata):
                self._end_text("text", metadata)
            case ReasoningDelta(text=text):
                self._add_reasoning(text)
            case ReasoningEnd(provider_metadata=metadata):
                self._end_text("reasoning", metadata)
            case ToolCallDelta():
                self._add_call_delta(event)
            case ToolCall():
                self._add_call(event)
            case ToolResult():
                self._add_result(event)
            case GeneratedFile():
                self._add_file(event)
            case Source(id=source_id, url=url, title=title):
                part = {"type": "source", "source_id": source_id, "url": url, "title": title}
                self._add_whole(
                    {key: value for key, value in part.items() if value or key == "url"}, None
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
        else:
            self._is_reasoning_cut = True

    def _add_text(self, kind: str, text: str) -> None:
        if not text:
            return
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Block) or last.type != kind or last.ended_at:
            self._end_block()
            last = _Block(kind, started_at=rfc3339(now()))
            self._blocks.append(last)
        last.pieces.append(text)
        self._writer.add(Role.ASSISTANT, {"type": kind, "text": text})

    def _end_text(self, kind: str, metadata: ProviderMetadata | None) -> None:
        """End the open block of a kind; metadata that comes without any makes one of its own."""
        if kind == "reasoning" and self._is_reasoning_cut:
            metadata = None  # a signature holds for the whole of it alone
            self._is_reasoning_cut = False
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Block) or last.type != kind or last.ended_at:
            if not metadata:
                return
            self._end_block()
            last = _Block(kind, started_at=rfc3339(now()))
            self._blocks.append(last)
            self._writer.add(Role.ASSISTANT, {"type": kind, "text": ""})
        last.metadata = metadata
        self._end_block()
        self._writer.end_block(Role.ASSISTANT, metadata)

    def _take_room(self, size: int) -> None:
        """Count bytes of what cannot be cut. Raises LLMError when there is no room for them."""
        self._answer_bytes += size
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise LLMError(kind=ErrorKind.GENERIC, message=TOO_LARGE)

    def _add_call_delta(self, event: ToolCallDelta) -> None:
        self._end_block()
        self._take_room(_json_size(event.arguments_delta))
        part = {
            "type": "tool-call",
            "tool_call_id": event.id,
            "tool_name": event.name,
            "args_delta": event.arguments_delta,
            **self._origin(event.name, provider_executed=event.provider_executed),
        }
        self._writer.add(Role.ASSISTANT, part)

    def _add_call(self, event: ToolCall) -> None:
        part: dict[str, Any] = {
            "type": "tool-call",
            "tool_call_id": event.id,
            "tool_name": event.name,
            "created_at": rfc3339(now()),
            **self._origin(event.name, provider_executed=event.provider_executed),
        }
        args = parsed_arguments(event.arguments or "{}")
        if args is not UNSET:  # what does not parse is stored without arguments
            part["args"] = args
        stored = self._add_whole(part, event.provider_metadata)
        if not event.provider_executed:
            self._calls.append(stored)

    def _add_result(self, event: ToolResult) -> None:
        flags = {"is_error": True} if event.is_error else {}
        call = {"tool_call_id": event.call_id, "tool_name": event.name}
        part = result_of(call, event.output, provider_executed=True, **flags)
        self._take_room(len(orjson.dumps(part)))
        self._add_whole(part, event.provider_metadata, role=Role.TOOL)

    def _add_file(self, event: GeneratedFile) -> None:
        encoded = base64.b64encode(event.data).decode()
        self._take_room(len(encoded))
        part = {"type": "file", "media_type": event.media_type, "data": encoded}
        self._add_whole(part, event.provider_metadata)

    def _origin(self, tool_name: str, *, provider_executed: bool) -> dict[str, Any]:
        """Return the mark of calls that the provider carries out, or that go to an MCP server."""
        if provider_executed:
            return {"provider_executed": True}
        server_id = self._mcp_server_of(tool_name)
        return {"mcp_server_config_id": str(server_id)} if server_id else {}

    def _add_whole(
        self,
        part: dict[str, Any],
        metadata: ProviderMetadata | None,
        *,
        role: Role = Role.ASSISTANT,
    ) -> dict[str, Any]:
        """Stream a part and return it as it is stored."""
        self._end_block()
        stored = part | _kept(metadata)
        self._blocks.append(stored)
        self._writer.add(role, part)
        if metadata:
            self._writer.end_block(role, metadata)
        return stored

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
        )


def _kept(metadata: ProviderMetadata | None) -> dict[str, Any]:
    return {"provider_metadata": metadata} if metadata else {}


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
