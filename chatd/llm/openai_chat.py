"""The OpenAI chat/completions wire: bytes of a stream to events, in any cut.

Belongs here: how this wire and its many dialects tell text, reasoning, calls, usage and the end.
Does not belong here: HTTP, retries, other wires; requests are in `openai_chat_request`, answers
without a stream in `openai_chat_answer`.
"""

import uuid
from typing import Any, TypeGuard

import msgspec
import orjson

from chatd.llm.error_answers import read_error_body
from chatd.llm.errors import LLMError, broken_stream, classify
from chatd.llm.openai_chat_request import encode
from chatd.llm.sse import EventDecoder, EventTooLargeError, ServerEvent
from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    Provider,
    ReasoningDelta,
    Source,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

__all__ = ["Decoder", "encode"]

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


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[_CallDelta] | None = None
    annotations: Any = None


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

    __slots__ = ("arguments", "id", "name", "wire_id")

    def __init__(self, *, call_id: str, wire_id: str) -> None:
        self.id = call_id
        self.wire_id = wire_id
        self.name = ""
        self.arguments: list[str] = []


class Decoder:
    """Turn the bytes of one streamed answer into events; never raises.

    After each `feed` and after `close`, `failure` tells whether the stream went wrong. Once
    `finished` or failed, further bytes are ignored.
    """

    def __init__(self, provider: Provider) -> None:
        self.failure: LLMError | None = None
        self.finished = False
        self.events_seen = 0  # data events, so that keep-alive comments do not count as progress
        self._provider = provider
        self._sse = EventDecoder()
        self._chunks = msgspec.json.Decoder(_Chunk)
        self._calls: list[_Call] = []
        self._call_ids: set[str] = set()
        self._slots: dict[tuple[int, int], _Call] = {}
        self._arguments_chars = 0
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._response_id: str | None = None
        self._source_urls: set[str] = set()

    @property
    def answered(self) -> bool:
        """Whether a finish reason came, so that a lost end marker does not matter."""
        return self._reason is not None

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes, in arrival order."""
        out: list[Event] = []
        if self.finished or self.failure:
            return out
        try:
            server_events = self._sse.feed(chunk)
        except EventTooLargeError as exc:
            self.failure = broken_stream(self._provider, str(exc))
            return out
        for event in server_events:
            self._event(event, out)
        return out

    def close(self) -> list[Event]:
        """Judge the end of the body: finish if the answer is complete, else set `failure`."""
        out: list[Event] = []
        if self.finished or self.failure:
            return out
        self._tail(out)
        if self.finished or self.failure:
            return out
        if self.answered:
            self._finish(out)
        else:
            self.failure = self._closed_early()
        return out

    def _tail(self, out: list[Event]) -> None:
        """Read an event that lacks its blank line; a torn one says nothing about the answer."""
        try:
            rest = self._sse.close()
        except EventTooLargeError:
            return
        for event in rest:
            if event.data.strip() == b"[DONE]" or _is_json(event.data):
                self._event(event, out)

    def _closed_early(self) -> LLMError:
        stray = bytes(self._sse.stray).strip()
        if (
            stray
            and not self.events_seen
            and _is_json(stray)
            and read_error_body(stray).words.strip()
        ):
            return self._error_in(stray)
        hint = "The provider did not answer with an event stream." if stray else ""
        return broken_stream(self._provider, hint)

    def _event(self, event: ServerEvent, out: list[Event]) -> None:
        if self.finished or self.failure:
            return
        self.events_seen += 1
        if event.data.strip() == b"[DONE]":
            self._finish(out)
            return
        try:
            chunk = self._chunks.decode(event.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.failure = broken_stream(self._provider, "A streamed event could not be read.")
            return
        if chunk.error or chunk.object == "error":
            self.failure = self._error_in(event.data)
            return
        self._chunk(chunk, out)

    def _error_in(self, document: bytes) -> LLMError:
        return classify((0, document, {}), self._provider)

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
        if reasoning := _reasoning(delta):
            out.append(ReasoningDelta(text=reasoning))
        if text := plain_text(delta.content) or plain_text(delta.refusal):
            out.append(TextDelta(text=text))
        for call_delta in delta.tool_calls or ():
            self._call_delta(choice, call_delta, out)
        if isinstance(delta.annotations, list):
            self._annotations(delta.annotations, out)

    def _call_delta(self, choice: int, delta: _CallDelta, out: list[Event]) -> None:
        function = delta.function or _Function()
        piece = _arguments(function.arguments)
        self._arguments_chars += len(piece)
        if self._arguments_chars > MAX_ARGUMENTS_CHARS:
            self.failure = broken_stream(self._provider, "The tool calls are too large.")
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

    def _finish(self, out: list[Event]) -> None:
        self.finished = True
        out.extend(
            ToolCall(id=call.id, name=call.name, arguments="".join(call.arguments).strip() or "{}")
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
    return delta.index is None and named and _is_json("".join(call.arguments).encode())


def plain_text(content: Any) -> str:
    """Return plain content, or the text of a list of content parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if is_object(part))
    return "".join(text for text in texts if isinstance(text, str))


def _reasoning(delta: _Delta) -> str:
    for plain in (delta.reasoning_content, delta.reasoning):
        if isinstance(plain, str) and plain:
            return plain
    if not isinstance(delta.reasoning_details, list):
        return ""
    details = (detail for detail in delta.reasoning_details if is_object(detail))
    texts = (detail.get("text") or detail.get("summary") for detail in details)
    return "".join(text for text in texts if isinstance(text, str))


def _arguments(arguments: Any) -> str:
    """Return a piece of argument text; some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return orjson.dumps(arguments).decode() if is_object(arguments) else ""


def usage_of(reported: dict[str, Any]) -> Usage | None:
    """Return reported numbers in normal form; None when there are none."""
    prompt, completion = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens")
    total = _count(reported, "total_tokens")
    if prompt is None and completion is None and total is None:
        return None
    cached = _count(reported.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _count(reported.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning and total == (prompt or 0) + (completion or 0) + reasoning:
        # xAI counts reasoning beside the completion, not inside it, and bills both
        completion = (completion or 0) + reasoning
    return Usage(
        input=None if prompt is None else max(0, prompt - (cached or 0)),
        output=completion,
        total=total,
        reasoning=reasoning,
        cache_read=cached,
    )


def _count(numbers: Any, name: str) -> int | None:
    value = numbers.get(name) if is_object(numbers) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return int(value)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether decoded JSON is an object."""
    return isinstance(value, dict)


def _is_json(document: bytes) -> bool:
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        return False
    return True
