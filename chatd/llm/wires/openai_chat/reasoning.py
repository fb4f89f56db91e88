"""Reasoning on the OpenAI chat/completions wire, which has no standard for it.

Servers stream it as `reasoning_content` or `reasoning`, gateways as `reasoning_details` beside it:
a list of texts, signatures and encrypted pieces. Either form goes back as it came, and to the kind
of provider that it came from alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatd.llm import providers
from chatd.llm.types import AssistantMessage, ReasoningBlock, ReasoningEnd
from chatd.llm.wires.decoding import is_object

MAX_DETAIL_CHARS = 1024 * 1024
"""Of all details of one answer; more than that is not kept, and not sent back."""

_PLAIN = ("reasoning_content", "reasoning")
_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}
_TAKERS = frozenset({"openai-compat", "openrouter", "vercel"})


class ReasoningReader:
    """Puts together the reasoning of one answer, block by block."""

    def __init__(self, kind: str) -> None:
        self.is_open = False
        self._kind = kind
        self._field = ""
        self._details: list[dict[str, Any]] = []
        self._chars = 0

    def read(self, delta: Any) -> str:
        """Take what a delta has of reasoning; return its text."""
        if not (delta.reasoning_content or delta.reasoning or delta.reasoning_details):
            return ""
        self.is_open = True
        listed = delta.reasoning_details if isinstance(delta.reasoning_details, list) else ()
        details = [detail for detail in listed if is_object(detail)]
        for detail in details:
            self._keep(detail)
        for name in _PLAIN:
            text = getattr(delta, name)
            if isinstance(text, str) and text:
                self._field = self._field or name
                return text
        texts = (detail.get("text") or detail.get("summary") for detail in details)
        return "".join(text for text in texts if isinstance(text, str))

    def end(self) -> Iterator[ReasoningEnd]:
        """Yield the end of the block that is open, with what has to come back; then begin anew."""
        section: dict[str, Any] = {}
        if self._details and self._chars <= MAX_DETAIL_CHARS:
            section = {"reasoning_details": self._details}
        elif self._field:
            section = {"field": self._field}
        key = section_key(self._kind)
        if section and key:
            yield ReasoningEnd(provider_metadata={key: section})
        self.is_open, self._field, self._details = False, "", []

    def _keep(self, detail: dict[str, Any]) -> None:
        """Add a detail; a piece of the last one's text goes on with it."""
        self._chars += sum(len(value) for value in detail.values() if isinstance(value, str))
        if self._chars > MAX_DETAIL_CHARS:
            self._details = []
            return
        last = self._details[-1] if self._details else {}
        name = _GROWING.get(str(detail.get("type")))
        if name is None or any(last.get(each) != detail.get(each) for each in ("type", "index")):
            self._details.append(dict(detail))
            return
        piece = detail.get(name)
        last |= {key: value for key, value in detail.items() if value is not None and key != name}
        if isinstance(piece, str):
            last[name] = (last.get(name) or "") + piece


def section_key(kind: str) -> str:
    """Return where a kind of provider keeps what it wants back; blank for those that take none."""
    found = providers.find_kind(kind)
    return found.options_key if found and found.name in _TAKERS else ""


def reasoning_fields(message: AssistantMessage, kind: str, *, is_latest: bool) -> dict[str, Any]:
    """Return the fields of a message that give its reasoning back.

    Plain reasoning belongs to the turn that is being worked on (`is_latest`): servers that take it
    refuse, or ignore, that of earlier ones.
    """
    key = section_key(kind)
    if not key:
        return {}
    blocks = [block for block in message.blocks if isinstance(block, ReasoningBlock)]
    details = [detail for block in blocks for detail in _details(block, key)]
    if details:
        return {"reasoning_details": details}
    if not is_latest:
        return {}
    texts: dict[str, str] = {}
    for block in blocks:
        if name := _field(block, key):
            texts[name] = texts.get(name, "") + block.text
    return {name: text for name, text in texts.items() if text}


def _section(block: ReasoningBlock, key: str) -> Mapping[str, Any]:
    return (block.provider_metadata or {}).get(key, {})


def _details(block: ReasoningBlock, key: str) -> Sequence[Any]:
    found = _section(block, key).get("reasoning_details")
    return found if isinstance(found, list) else ()


def _field(block: ReasoningBlock, key: str) -> str:
    found = _section(block, key).get("field")
    return found if found in _PLAIN else ""
