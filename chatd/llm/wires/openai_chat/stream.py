"""The OpenAI chat/completions wire: bytes of a stream to events, in any cut.

Belongs here: how this wire and its many dialects tell text, reasoning, calls, usage and the end.
Does not belong here: HTTP, retries, other wires; requests are in `request`, answers without a
stream in `answer`.
"""

import uuid
from typing import Any

import msgspec
import orjson

from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    Provider,
    ProviderMetadata,
    ReasoningDelta,
    Request,
    Source,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from chatd.llm.wires.decoding import StreamDecoder, count_in, is_json, is_object
from chatd.llm.wires.openai_chat.compat import signature_in
from chatd.llm.wires.openai_chat.images import generated_files
from chatd.llm.wires.openai_chat.reasoning import ReasoningReader

MAX_ARGUMENTS_CHARS = 16 * 1024 * 1024

REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}


# Fields whose shape differs between servers are `Any`: an odd value is ignored, not fatal.
class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: Any = None


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[_CallDelta] | None = None
    annotations: Any = None
    images: Any = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: Any = None
    object: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None


class _Call:
    """One tool call being put together; `wire_id` is the provider's id, `id` is unique."""

    __slots__ = ("arguments", "id", "name", "signature", "wire_id")

    def __init__(self, *, call_id: str, wire_id: str) -> None:
        self.id = call_id
        self.wire_id = wire_id
        self.name = ""
        self.signature: str | None = None
        self.arguments: list[str] = []


class Decoder(StreamDecoder):
    """Reads one streamed answer of this wire."""

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self._chunks = msgspec.json.Decoder(_Chunk)
        self._calls: list[_Call] = []
        self._call_ids: set[str] = set()
        self._slots: dict[tuple[int, int], _Call] = {}
        self._arguments_chars = 0
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._response_id: str | None = None
        self._source_urls: set[str] = set()
        self._reasoning = ReasoningReader(provider.kind)

    @property
    def answered(self) -> bool:
        """Whether a finish reason came, so that a lost end marker does not matter."""
        return self._reason is not None

    def _take(self, data: bytes, out: list[Event]) -> None:
        try:
            chunk = self._chunks.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._break()
            return
        if chunk.error or chunk.object == "error":
            self.failure = self._error_in(data)
            return
        self._chunk(chunk, out)

    def _chunk(self, chunk: _Chunk, out: list[Event]) -> None:
        if self._response_id is None and isinstance(chunk.id, str) and chunk.id:
            self._response_id = chunk.id
        usage = chunk.usage or (chunk.x_groq.get("usage") if is_object(chunk.x_groq) else None)
        if is_object(usage):
            self._usage = usage_of(usage) or self._usage
        for choice in chunk.choices or ():
            if choice.delta is not None:
                self._delta(choice.index or 0, choice.delta, out)
            if choice.finish_reason:
                self._reason = REASONS.get(choice.finish_reason, FinishReason.UNKNOWN)

    def _delta(self, choice: int, delta: _Delta, out: list[Event]) -> None:
        if reasoning := self._reasoning.read(delta):
            out.append(ReasoningDelta(text=reasoning))
        text = plain_text(delta.content) or plain_text(delta.refusal)
        if self._reasoning.is_open and (text or delta.tool_calls):
            out.extend(self._reasoning.end())
        if text:
            out.append(TextDelta(text=text))
        for call_delta in delta.tool_calls or ():
            self._call_delta(choice, call_delta, out)
        if isinstance(delta.annotations, list):
            self._annotations(delta.annotations, out)
        if isinstance(delta.images, list):
            out.extend(generated_files(delta.images))

    def _call_delta(self, choice: int, delta: _CallDelta, out: list[Event]) -> None:
        function = delta.function or _Function()
        piece = _arguments(function.arguments)
        self._arguments_chars += len(piece)
        if self._arguments_chars > MAX_ARGUMENTS_CHARS:
            self._break("The tool calls are too large.")
            return
        slot = (choice, delta.index or 0)
        call = self._slots.get(slot)
        is_new = call is None or _starts_another(call, delta)
        if call is None or is_new:
            call = self._open_call(slot, delta.id or "")
        if function.name and not call.name:
            call.name = function.name
        if delta.id and not call.wire_id:
            call.wire_id = delta.id
        call.signature = call.signature or signature_in(delta.extra_content)
        if piece:
            call.arguments.append(piece)
        if piece or is_new:
            out.append(ToolCallDelta(id=call.id, name=call.name, arguments_delta=piece))

    def _open_call(self, slot: tuple[int, int], wire_id: str) -> _Call:
        is_free = bool(wire_id) and wire_id not in self._call_ids
        call_id = wire_id if is_free else f"call_{uuid.uuid4().hex[:24]}"
        self._call_ids.add(call_id)
        call = _Call(call_id=call_id, wire_id=wire_id)
        self._calls.append(call)
        self._slots[slot] = call
        return call

    def _annotations(self, annotations: list[Any], out: list[Event]) -> None:
        for annotation in annotations:
            citation = annotation.get("url_citation") if is_object(annotation) else None
            if not is_object(citation):
                continue
            url = citation.get("url")
            if isinstance(url, str) and url and url not in self._source_urls:
                self._source_urls.add(url)
                title = citation.get("title")
                out.append(
                    Source(
                        id=f"source_{len(self._source_urls)}",
                        url=url,
                        title=title if isinstance(title, str) else "",
                    )
                )

    def _complete(self, out: list[Event]) -> None:
        out.extend(self._reasoning.end())
        out.extend(
            ToolCall(
                id=call.id,
                name=call.name,
                arguments="".join(call.arguments).strip() or "{}",
                provider_metadata=_metadata(call),
            )
            for call in self._calls
        )
        reason = FinishReason.TOOL_CALLS if self._calls else self._reason
        out.append(
            Finish(
                reason=reason or FinishReason.UNKNOWN,
                usage=self._usage,
                response_id=self._response_id,
            )
        )


def _metadata(call: _Call) -> ProviderMetadata | None:
    """Return what Google's endpoint for clients of OpenAI wants back with a call."""
    return {"google": {"thought_signature": call.signature}} if call.signature else None


def _starts_another(call: _Call, delta: _CallDelta) -> bool:
    """Tell whether a delta for an occupied slot begins a new call.

    A different id does. Servers that send neither ids nor indexes put each call into one delta:
    there a name after complete arguments does.
    """
    if delta.id:
        if call.wire_id:
            return delta.id != call.wire_id
        return bool(call.name and delta.function and delta.function.name)
    named = delta.function is not None and bool(delta.function.name) and bool(call.name)
    return delta.index is None and named and is_json("".join(call.arguments).encode())


def plain_text(content: Any) -> str:
    """Return plain content, or the text of a list of content parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if is_object(part))
    return "".join(text for text in texts if isinstance(text, str))


def _arguments(arguments: Any) -> str:
    """Return a piece of argument text; some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return orjson.dumps(arguments).decode() if is_object(arguments) else ""


def usage_of(reported: dict[str, Any]) -> Usage | None:
    """Return reported numbers in normal form; None when there are none."""
    prompt, completion = (
        count_in(reported, "prompt_tokens"),
        count_in(reported, "completion_tokens"),
    )
    total = count_in(reported, "total_tokens")
    if prompt is None and completion is None and total is None:
        return None
    cached = count_in(reported.get("prompt_tokens_details"), "cached_tokens")
    reasoning = count_in(reported.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning and total == (prompt or 0) + (completion or 0) + reasoning:
        # xAI counts reasoning beside the completion, not inside it, and bills both
        completion = (completion or 0) + reasoning
    written = _cache_written(reported)
    return Usage(
        input=None if prompt is None else max(0, prompt - (cached or 0) - (written or 0)),
        output=completion,
        total=total,
        reasoning=reasoning,
        cache_read=cached,
        cache_write=written,
    )


def _cache_written(reported: dict[str, Any]) -> int | None:
    """Return the tokens that were written to a cache: OpenRouter's number, or Vercel's."""
    written = count_in(reported.get("prompt_tokens_details"), "cache_write_tokens")
    return count_in(reported, "cache_creation_input_tokens") if written is None else written
