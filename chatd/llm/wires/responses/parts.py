"""Items of a streamed answer while they grow, and what is kept of them for later requests.

Belongs here: text, reasoning, calls, searches and sources, one by one. Does not belong here: the
order of events (`stream`).
"""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from chatd.llm.types import (
    Event,
    ProviderMetadata,
    ReasoningDelta,
    ReasoningEnd,
    Source,
    TextEnd,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from chatd.llm.wires.decoding import is_object
from chatd.llm.wires.responses.items import METADATA

MAX_ARGUMENTS_CHARS = 16 * 1024 * 1024
WEB_SEARCH = "web_search"


class Spoken:
    """Which parts of a message were said already."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: set[int] = set()

    @property
    def has_any(self) -> bool:
        return bool(self._parts)

    def has(self, index: Any) -> bool:
        return _number(index) in self._parts

    def add(self, index: Any) -> None:
        self._parts.add(_number(index))


class Thought:
    """Which parts of a reasoning were streamed; a part is a block of its own."""

    __slots__ = ("_last", "_parts")

    def __init__(self) -> None:
        self._parts: set[Any] = set()
        self._last: Any = None

    @property
    def has_any(self) -> bool:
        return bool(self._parts)

    def has(self, place: Any) -> bool:
        return place in self._parts

    def add(self, place: Any) -> ReasoningEnd | None:
        """Note a part; return the end of the one before it."""
        is_next = self._last is not None and self._last != place
        self._last = place
        self._parts.add(place)
        return ReasoningEnd() if is_next else None


class Call:
    """A call being put together; `id` is unique within the answer."""

    __slots__ = ("id", "name", "pieces")

    def __init__(self, item: Mapping[str, Any], taken: set[str]) -> None:
        wire_id = _text(item, "call_id") or _text(item, "id")
        is_free = bool(wire_id) and wire_id not in taken
        self.id = wire_id if is_free else f"call_{uuid.uuid4().hex[:24]}"
        self.name = _text(item, "name")
        self.pieces: list[str] = []
        taken.add(self.id)

    def whole(self, item: Mapping[str, Any], *, keeps: bool) -> ToolCall:
        """Return the call with its arguments as the finished item has them."""
        arguments = _text(item, "arguments") or "".join(self.pieces)
        return ToolCall(
            id=self.id,
            name=_text(item, "name") or self.name,
            arguments=arguments.strip() or "{}",
            provider_metadata=_kept(_reference(item, keeps=keeps)),
        )


class Sources:
    """Pages that a message cites, each once; they are told when the message is whole."""

    def __init__(self) -> None:
        self._found: list[Source] = []
        self._urls: set[str] = set()

    def note_all(self, content: Any) -> None:
        for part in content if isinstance(content, list) else ():
            annotations = part.get("annotations") if is_object(part) else None
            for annotation in annotations if isinstance(annotations, list) else ():
                self.note(annotation)

    def note(self, annotation: Any) -> None:
        if not is_object(annotation) or annotation.get("type") != "url_citation":
            return
        url = _text(annotation, "url")
        if url and url not in self._urls:
            self._urls.add(url)
            title = _text(annotation, "title")
            self._found.append(Source(id=f"source_{len(self._urls)}", url=url, title=title))

    def take(self) -> list[Source]:
        found, self._found = self._found, []
        return found


def text_end(item: Mapping[str, Any], *, keeps: bool) -> TextEnd:
    return TextEnd(provider_metadata=_kept(_reference(item, keeps=keeps)))


def reasoning_of(item: Mapping[str, Any], thought: Thought, *, keeps: bool) -> Iterator[Event]:
    """Yield what was not streamed of a reasoning, and its end with what it is kept by."""
    if not thought.has_any:
        for index, text in enumerate(_reasoning_texts(item)):
            if end := thought.add(index):
                yield end
            yield ReasoningDelta(text=text)
    section = _reference(item, keeps=keeps)
    if encrypted := _text(item, "encrypted_content"):
        section["encrypted_content"] = encrypted
    if section or thought.has_any:
        yield ReasoningEnd(provider_metadata=_kept(section))


def search_call(item: Mapping[str, Any]) -> Iterator[Event]:
    """Yield the beginning of a search."""
    if call_id := _text(item, "id"):
        yield ToolCallDelta(id=call_id, name=WEB_SEARCH, arguments_delta="", provider_executed=True)


def search_events(item: Mapping[str, Any], *, keeps: bool) -> Iterator[Event]:
    """Yield a search that is done, and what is told of its result."""
    call_id = _text(item, "id")
    if not call_id:
        return
    action = item.get("action")
    asked = dict(action) if is_object(action) else {}
    sources = asked.pop("sources", None)
    status = _text(item, "status")
    yield ToolCall(
        id=call_id,
        name=WEB_SEARCH,
        arguments=orjson.dumps(asked).decode(),
        provider_executed=True,
        provider_metadata=_kept(_reference(item, keeps=keeps)),
    )
    output = {"status": status, "sources": sources}
    yield ToolResult(
        call_id=call_id,
        name=WEB_SEARCH,
        output={key: value for key, value in output.items() if value},
        is_error=status == "failed",
    )


def is_cut(item: Mapping[str, Any]) -> bool:
    """Tell whether an item ends before it was whole."""
    return item.get("status") == "incomplete"


def _reasoning_texts(item: Mapping[str, Any]) -> list[str]:
    parts = [
        part
        for key in ("summary", "content")
        for part in (item[key] if isinstance(item.get(key), list) else ())
    ]
    return [text for part in parts if is_object(part) and (text := _text(part, "text"))]


def _reference(item: Mapping[str, Any], *, keeps: bool) -> dict[str, str]:
    """Return the id by which the provider knows an item, if it keeps it."""
    item_id = _text(item, "id") if keeps else ""
    return {"item_id": item_id} if item_id else {}


def _kept(section: dict[str, str]) -> ProviderMetadata | None:
    return {METADATA: section} if section else None


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _number(index: Any) -> int:
    return index if isinstance(index, int) else 0
