"""The Responses wire: bytes of a stream to events, in any cut.

Belongs here: which event says what, and how the answer ended. Does not belong here: HTTP, retries,
requests (`request`), what is kept of single items (`parts`).
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    Provider,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
)
from chatd.llm.wires.decoding import StreamDecoder, is_object
from chatd.llm.wires.responses.answer import texts_of
from chatd.llm.wires.responses.ending import Response, failure_of, reason_of
from chatd.llm.wires.responses.options import is_stored
from chatd.llm.wires.responses.parts import (
    MAX_ARGUMENTS_CHARS,
    Call,
    Sources,
    Spoken,
    Thought,
    is_cut,
    reasoning_of,
    search_call,
    search_events,
    text_end,
)
from chatd.llm.wires.responses.usage import usage_of

MAX_OPEN_ITEMS = 10_000
TOO_MUCH = "The answer has too many parts."
TOO_LARGE = "The tool calls are too large."


# Fields whose shape differs between servers are `Any`: an odd value is ignored, not fatal.
class _Event(msgspec.Struct):
    type: Any = None
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    item_id: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    annotation: Any = None
    item: Any = None
    response: Raw = Raw()
    error: Any = None


class Decoder(StreamDecoder):
    """Reads one streamed answer of this wire."""

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self._events = msgspec.json.Decoder(_Event)
        self._keeps = is_stored(request)
        self._spoken: dict[Any, Spoken] = {}
        self._thoughts: dict[Any, Thought] = {}
        self._calls: dict[Any, Call] = {}
        self._call_ids: set[str] = set()
        self._sources = Sources()
        self._arguments_chars = 0
        self._has_items = False
        self._has_text = False
        self._has_cut_call = False
        self._last = Response()

    def _take(self, data: bytes, out: list[Event]) -> None:
        try:
            event = self._events.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._break()
            return
        kind = event.type
        read = self._READERS.get(kind) if isinstance(kind, str) else None
        if read:
            read(self, event, out)
        elif kind == "error" or (event.error and kind is None):
            self.failure = self._error_in(data)

    # text

    def _text_delta(self, event: _Event, out: list[Event]) -> None:
        self._say(event, event.delta, out)

    def _text_done(self, event: _Event, out: list[Event]) -> None:
        """Say the text of a part that came without deltas."""
        if not self._spoken_by(event).has(event.content_index):
            self._say(event, event.text or event.refusal, out)

    def _say(self, event: _Event, text: Any, out: list[Event]) -> None:
        if not isinstance(text, str) or not text:
            return
        self._spoken_by(event).add(event.content_index)
        self._has_text = True
        out.append(TextDelta(text=text))

    def _annotation(self, event: _Event, out: list[Event]) -> None:
        self._sources.note(event.annotation)

    def _spoken_by(self, event: _Event) -> Spoken:
        spoken: Spoken = self._opened(self._spoken, event, Spoken)
        return spoken

    # reasoning

    def _thought_delta(self, event: _Event, out: list[Event]) -> None:
        self._think(event, event.delta, out)

    def _thought_done(self, event: _Event, out: list[Event]) -> None:
        thought = self._opened(self._thoughts, event, Thought)
        if not thought.has(_place(event)):
            self._think(event, event.text, out)

    def _think(self, event: _Event, text: Any, out: list[Event]) -> None:
        if not isinstance(text, str) or not text:
            return
        if end := self._opened(self._thoughts, event, Thought).add(_place(event)):
            out.append(end)
        out.append(ReasoningDelta(text=text))

    # calls

    def _arguments_delta(self, event: _Event, out: list[Event]) -> None:
        call = self._calls.get(_key(event))
        if call and isinstance(event.delta, str) and event.delta:
            self._add_arguments(call, event.delta, out)

    def _arguments_done(self, event: _Event, out: list[Event]) -> None:
        call = self._calls.get(_key(event))
        if call and isinstance(event.arguments, str) and event.arguments and not call.pieces:
            self._add_arguments(call, event.arguments, out)

    def _add_arguments(self, call: Call, piece: str, out: list[Event]) -> None:
        self._arguments_chars += len(piece)
        if self._arguments_chars > MAX_ARGUMENTS_CHARS:
            self._break(TOO_LARGE)
            return
        call.pieces.append(piece)
        out.append(ToolCallDelta(id=call.id, name=call.name, arguments_delta=piece))

    # items

    def _item_added(self, event: _Event, out: list[Event]) -> None:
        item, self._has_items = event.item, True
        if not is_object(item):
            return
        if item.get("type") == "function_call":
            self._open_call(_key(event), item, out)
        elif item.get("type") == "web_search_call":
            out.extend(search_call(item))

    def _open_call(self, key: Any, item: Mapping[str, Any], out: list[Event]) -> Call:
        call = self._calls[key] = Call(item, self._call_ids)
        if len(self._call_ids) > MAX_OPEN_ITEMS:
            self._break(TOO_MUCH)
        out.append(ToolCallDelta(id=call.id, name=call.name, arguments_delta=""))
        return call

    def _item_done(self, event: _Event, out: list[Event]) -> None:
        item, self._has_items = event.item, True
        if not is_object(item):
            return
        match item.get("type"):
            case "message":
                self._end_message(event, item, out)
            case "reasoning":
                self._end_reasoning(event, item, out)
            case "function_call":
                self._end_call(event, item, out)
            case "web_search_call":
                out.extend(search_events(item, keeps=self._keeps))

    def _end_message(self, event: _Event, item: dict[str, Any], out: list[Event]) -> None:
        spoken = self._spoken.pop(_key(event), None) or Spoken()
        for index, text in enumerate(texts_of(item)):
            if text and not spoken.has(index):
                spoken.add(index)
                self._has_text = True
                out.append(TextDelta(text=text))
        self._sources.note_all(item.get("content"))
        if spoken.has_any:
            out.append(text_end(item, keeps=self._keeps))
        out.extend(self._sources.take())

    def _end_reasoning(self, event: _Event, item: dict[str, Any], out: list[Event]) -> None:
        thought = self._thoughts.pop(_key(event), None) or Thought()
        out.extend(reasoning_of(item, thought, keeps=self._keeps))

    def _end_call(self, event: _Event, item: dict[str, Any], out: list[Event]) -> None:
        key = _key(event)
        call = self._calls.get(key) or self._open_call(key, item, out)
        arguments = item.get("arguments")
        if not call.pieces and isinstance(arguments, str) and arguments:
            self._add_arguments(call, arguments, out)
        if self.failure:
            return
        del self._calls[key]
        self._has_cut_call = self._has_cut_call or is_cut(item)
        out.append(call.whole(item, keeps=self._keeps))

    def _opened(self, items: dict[Any, Any], event: _Event, make: Callable[[], Any]) -> Any:
        key = _key(event)
        item = items.get(key)
        if item is None:
            item = items[key] = make()
            if len(items) > MAX_OPEN_ITEMS:
                self._break(TOO_MUCH)
        return item

    # the end

    def _response(self, event: _Event, out: list[Event]) -> None:
        """Read what a response begins with; it counts for its id alone."""
        if self._keeps and not self._last.id:
            self._last = self._read(event) or self._last

    def _ended_well(self, event: _Event, out: list[Event]) -> None:
        response = self._read(event)
        if response is None:
            self._break()
            return
        if not response.id:
            response.id = self._last.id
        self._last = response
        if response.error:
            self.failure = failure_of(response, self._provider)
            return
        self._unstreamed(response.output, out)
        if not self.failure:
            self._finish(out)

    def _ended_badly(self, event: _Event, out: list[Event]) -> None:
        self.failure = failure_of(self._read(event) or Response(), self._provider)

    def _read(self, event: _Event) -> Response | None:
        try:
            return msgspec.json.decode(event.response, type=Response)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def _unstreamed(self, output: Any, out: list[Event]) -> None:
        """Take the items from the end of a stream that told of none before."""
        if self._has_items or self._has_text or not isinstance(output, list):
            return
        for index, item in enumerate(output):
            self._item_done(_Event(output_index=index, item=item), out)

    def _ended(self, out: list[Event]) -> None:
        """Take `[DONE]`, which is no end of this wire, for one when there is only text."""
        if self._has_text and not self._call_ids:
            self._finish(out)
        else:
            self._break("")

    def _complete(self, out: list[Event]) -> None:
        is_incomplete = self._last.status == "incomplete"
        for call in self._calls.values():
            self._has_cut_call = self._has_cut_call or is_incomplete
            out.append(call.whole({}, keeps=False))
        out.extend(self._sources.take())
        reason = reason_of(self._last)
        if self._call_ids and not (is_incomplete and self._has_cut_call):
            reason = FinishReason.TOOL_CALLS
        response_id = self._last.id
        keeps = self._keeps and isinstance(response_id, str)
        out.append(
            Finish(
                reason=reason,
                usage=usage_of(self._last.usage),
                response_id=response_id if keeps else None,
            )
        )

    _READERS: ClassVar[Mapping[str, Callable[["Decoder", _Event, list[Event]], None]]] = {
        "response.created": _response,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.output_text.delta": _text_delta,
        "response.output_text.done": _text_done,
        "response.output_text.annotation.added": _annotation,
        "response.refusal.delta": _text_delta,
        "response.refusal.done": _text_done,
        "response.reasoning_summary_text.delta": _thought_delta,
        "response.reasoning_summary_text.done": _thought_done,
        "response.reasoning_text.delta": _thought_delta,
        "response.reasoning_text.done": _thought_done,
        "response.function_call_arguments.delta": _arguments_delta,
        "response.function_call_arguments.done": _arguments_done,
        "response.completed": _ended_well,
        "response.incomplete": _ended_well,
        "response.failed": _ended_badly,
    }


def _key(event: _Event) -> Any:
    """Return what tells items of one answer apart: some servers change ids within a stream."""
    if isinstance(event.output_index, int):
        return event.output_index
    return event.item_id if isinstance(event.item_id, str) else None


def _place(event: _Event) -> Any:
    """Return the part of an item that reasoning belongs to."""
    index = event.content_index if event.summary_index is None else event.summary_index
    return (event.summary_index is None, index if isinstance(index, int) else 0)
