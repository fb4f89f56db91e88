"""The Anthropic Messages wire: bytes of a stream to events, in any cut.

Belongs here: content blocks as they begin, grow and end. Does not belong here: HTTP, frames,
requests (`request`), answers without a stream (`answer`).
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from chatd.llm.types import (
    Event,
    Finish,
    Provider,
    ReasoningDelta,
    ReasoningEnd,
    Request,
    Source,
    TextDelta,
    TextEnd,
    ToolResult,
)
from chatd.llm.wires.anthropic.blocks import SEARCH_RESULT, SECTION, kept_citations
from chatd.llm.wires.anthropic.growing import (
    CALLS,
    Block,
    call_delta,
    metadata_of,
    shown,
    whole_call,
)
from chatd.llm.wires.anthropic.usage import reason_of, usage_of
from chatd.llm.wires.decoding import Framing, StreamDecoder, count_in, is_object

MAX_KEPT_CHARS = 16 * 1024 * 1024
"""Of arguments, signatures, citations and results in one answer."""

TOO_DEEP = "A part of the answer is nested too deeply."

_BEDROCK_COUNTS = {
    "inputTokenCount": "input_tokens",
    "outputTokenCount": "output_tokens",
    "cacheReadInputTokenCount": "cache_read_input_tokens",
    "cacheWriteInputTokenCount": "cache_creation_input_tokens",
}


# Members are `Any`: what is odd in one event is ignored, not fatal.
class _Event(msgspec.Struct):
    type: Any = None
    index: Any = None
    delta: Any = None
    content_block: Any = None
    message: Any = None
    usage: Any = None
    error: Any = None
    metrics: Any = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


class Decoder(StreamDecoder):
    """Reads one streamed answer of this wire; it is whole when `message_stop` came."""

    def __init__(
        self, request: Request, provider: Provider, framing: Framing | None = None
    ) -> None:
        super().__init__(request, provider, framing)
        self._events = msgspec.json.Decoder(_Event)
        self._blocks: dict[Any, Block] = {}
        self._kept_chars = 0
        self._call_ids: set[str] = set()
        self._server_calls: dict[str, str] = {}
        self._source_urls: set[str] = set()
        self._usage: dict[str, Any] = {}
        self._stop_reason: Any = None
        self._response_id: str | None = None
        self._takes: Mapping[str, Callable[[_Event, list[Event]], None]] = {
            "content_block_delta": self._delta,
            "content_block_start": self._start,
            "content_block_stop": self._stop,
            "message_start": self._message_start,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "ping": self._ping,
        }

    def _take(self, data: bytes, out: list[Event]) -> None:
        try:
            event = self._events.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._break()
            return
        if event.error or event.type == "error":
            self.failure = self._error_in(data)
            return
        take = self._takes.get(event.type) if isinstance(event.type, str) else None
        if take is not None:
            take(event, out)

    def _ended(self, out: list[Event]) -> None:
        """Ignore the end mark of other wires: only `message_stop` ends an answer."""

    def _ping(self, event: _Event, out: list[Event]) -> None:
        self.events_seen -= 1  # keeps the connection open, and says nothing of the answer

    # the message

    def _message_start(self, event: _Event, out: list[Event]) -> None:
        message = event.message if is_object(event.message) else {}
        if isinstance(message.get("id"), str):
            self._response_id = message["id"]
        self._count(message.get("usage"))

    def _message_delta(self, event: _Event, out: list[Event]) -> None:
        delta = event.delta if is_object(event.delta) else {}
        self._stop_reason = delta.get("stop_reason") or self._stop_reason
        self._count(event.usage)

    def _message_stop(self, event: _Event, out: list[Event]) -> None:
        for theirs, name in _BEDROCK_COUNTS.items():
            if name not in self._usage:
                self._count({name: count_in(event.metrics, theirs)})
        self._finish(out)

    def _count(self, usage: Any) -> None:
        """Take numbers of tokens; later ones are of the whole answer so far."""
        if is_object(usage):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _complete(self, out: list[Event]) -> None:
        out.append(
            Finish(
                reason=reason_of(self._stop_reason),
                usage=usage_of(self._usage),
                response_id=self._response_id,
            )
        )

    # its content

    def _start(self, event: _Event, out: list[Event]) -> None:
        content = event.content_block if is_object(event.content_block) else {}
        kind = content.get("type")
        if not isinstance(kind, str) or not isinstance(event.index, int):
            return
        if kind.endswith("_tool_result"):
            self._result(kind, content, out)
            return
        block = self._blocks[event.index] = Block(kind)
        match kind:
            case "text":
                self._text(block, content.get("text"), out)
            case "thinking":
                self._thinking(block, content.get("thinking"), out)
                self._keep(block, content.get("signature"))
            case "redacted_thinking":
                self._keep(block, content.get("data"))
            case "tool_use" | "server_tool_use":
                self._call(block, content, out)

    def _delta(self, event: _Event, out: list[Event]) -> None:
        delta = event.delta
        block = self._blocks.get(event.index) if isinstance(event.index, int) else None
        if block is None or not is_object(delta):
            return
        match delta.get("type"):
            case "text_delta":
                self._text(block, delta.get("text"), out)
            case "thinking_delta":
                self._thinking(block, delta.get("thinking"), out)
            case "input_json_delta":
                self._arguments(block, delta.get("partial_json"), out)
            case "signature_delta":
                if block.kind == "thinking":
                    self._keep(block, delta.get("signature"))
            case "citations_delta":
                self._citation(block, delta.get("citation"))

    def _stop(self, event: _Event, out: list[Event]) -> None:
        block = self._blocks.pop(event.index, None) if isinstance(event.index, int) else None
        match block.kind if block else None:
            case "text" if block:
                cited = block.citations if block.has_text else []
                out.append(TextEnd(provider_metadata=metadata_of(citations=cited)))
                for citation in cited:  # not before: a source would cut the text in two
                    self._source(citation, out)
            case "thinking" if block:
                signature = "".join(block.pieces)
                out.append(ReasoningEnd(provider_metadata=metadata_of(signature=signature)))
            case "redacted_thinking" if block:
                redacted = "".join(block.pieces)
                out.append(ReasoningEnd(provider_metadata=metadata_of(redacted_data=redacted)))
            case "tool_use" | "server_tool_use" if block:
                out.append(whole_call(block))

    def _text(self, block: Block, text: Any, out: list[Event]) -> None:
        if isinstance(text, str) and text and block.kind == "text":
            block.has_text = True
            out.append(TextDelta(text=text))

    def _thinking(self, block: Block, text: Any, out: list[Event]) -> None:
        if isinstance(text, str) and text and block.kind == "thinking":
            out.append(ReasoningDelta(text=text))

    def _call(self, block: Block, content: dict[str, Any], out: list[Event]) -> None:
        call_id, name = content.get("id"), content.get("name")
        is_free = isinstance(call_id, str) and call_id and call_id not in self._call_ids
        block.id = str(call_id) if is_free else f"toolu_{uuid.uuid4().hex[:24]}"
        block.name = name if isinstance(name, str) else ""
        block.input = given if self._fits(given := content.get("input")) else None
        self._call_ids.add(block.id)
        if CALLS[block.kind]:
            self._server_calls[block.id] = block.name
        out.append(call_delta(block, ""))

    def _arguments(self, block: Block, piece: Any, out: list[Event]) -> None:
        if isinstance(piece, str) and piece and block.kind in CALLS:
            self._keep(block, piece)
            out.append(call_delta(block, piece))

    def _citation(self, block: Block, citation: Any) -> None:
        if is_object(citation) and block.kind == "text" and self._fits(citation):
            block.citations += kept_citations([citation])

    def _result(self, kind: str, content: dict[str, Any], out: list[Event]) -> None:
        """Take what a call gave that the vendor carried out; it comes in one piece.

        One without its call is left out: nobody could send it back.
        """
        call_id, found = content.get("tool_use_id"), content.get("content")
        name = self._server_calls.get(call_id) if isinstance(call_id, str) else None
        if name is None or found is None or not self._fits(found):
            return
        results = found if isinstance(found, list) else [found]
        results = [result for result in results if is_object(result)]
        error = next((r for r in results if str(r.get("type", "")).endswith("_error")), None)
        out.append(
            ToolResult(
                call_id=str(call_id),
                name=name,
                output={"error": error.get("error_code")} if error else shown(kind, results),
                is_error=error is not None,
                provider_metadata={SECTION: {"type": kind, "content": found}},
            )
        )
        for result in results if kind == SEARCH_RESULT else ():
            self._source(result, out)

    def _source(self, found: dict[str, Any], out: list[Event]) -> None:
        url, title = found.get("url"), found.get("title")
        if isinstance(url, str) and url and url not in self._source_urls:
            self._source_urls.add(url)
            name = title if isinstance(title, str) else ""
            out.append(Source(id=f"source_{len(self._source_urls)}", url=url, title=name))

    def _fits(self, document: Any) -> bool:
        """Count what came in one piece; what is nested too deeply could not be stored."""
        try:
            self._grow(len(orjson.dumps(document)))
        except orjson.JSONEncodeError:
            self._break(TOO_DEEP)
        return self.failure is None

    def _keep(self, block: Block, piece: Any) -> None:
        if isinstance(piece, str) and piece:
            block.pieces.append(piece)
            self._grow(len(piece))

    def _grow(self, size: int) -> None:
        self._kept_chars += size
        if self._kept_chars > MAX_KEPT_CHARS:
            self._break("The answer is too large.")
