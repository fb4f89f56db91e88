"""The `google` section of provider metadata: what a part has to bring back unchanged.

A signature belongs to one part, and must not be joined with another one. A streamed text is many
parts, and people see it as one: so the text is stored as one block, and its metadata says which
characters of it were signed parts. A part that was signed and has no text is an empty range.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatd.llm.types import ProviderMetadata

SECTION = "google"

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""What Google takes in place of a signature for a call that none of its models made."""

_WHOLE = "thought_signature"
_RANGES = "thought_signatures"
_CALL_ID = "call_id"
TOOL_CALL = "tool_call"
TOOL_RESPONSE = "tool_response"


@dataclass(frozen=True, slots=True)
class Range:
    """Characters `start` to `end` of a text are one part with this signature."""

    start: int
    end: int
    signature: str


def of_text(ranges: Sequence[Range], length: int) -> ProviderMetadata | None:
    """Return the metadata of a text of `length` characters."""
    if not ranges:
        return None
    if len(ranges) == 1 and (ranges[0].start, ranges[0].end) == (0, length):
        return {SECTION: {_WHOLE: ranges[0].signature}}
    return {SECTION: {_RANGES: [[each.start, each.end, each.signature] for each in ranges]}}


def of_part(
    signature: str | None,
    *,
    call_id: str | None = None,
    tool_call: Mapping[str, Any] | None = None,
    tool_response: Mapping[str, Any] | None = None,
) -> ProviderMetadata | None:
    """Return the metadata of a part that is no text.

    `call_id` is Google's where ours differs. What Google carried out itself is kept as it came.
    """
    wanted = {
        _WHOLE: signature,
        _CALL_ID: call_id,
        TOOL_CALL: tool_call,
        TOOL_RESPONSE: tool_response,
    }
    section = {key: value for key, value in wanted.items() if value}
    return {SECTION: section} if section else None


def section_of(metadata: ProviderMetadata | None) -> Mapping[str, Any]:
    """Return what this wire wrote, nothing where another one did."""
    return (metadata or {}).get(SECTION) or {}


def signature_of(metadata: ProviderMetadata | None) -> str | None:
    """Return the signature of a whole part."""
    found = section_of(metadata).get(_WHOLE)
    return found if isinstance(found, str) and found else None


def call_id_of(metadata: ProviderMetadata | None) -> str | None:
    """Return the id that Google gave a call, where it is not the one that is stored."""
    found = section_of(metadata).get(_CALL_ID)
    return found if isinstance(found, str) and found else None


def parts_of(text: str, metadata: ProviderMetadata | None) -> Iterator[tuple[str, str | None]]:
    """Yield the parts that a text was made of, each with its signature or None."""
    at = 0
    for each in _ranges(text, metadata):
        if each.start > at:
            yield text[at : each.start], None
        yield text[each.start : each.end], each.signature
        at = each.end
    if at < len(text):
        yield text[at:], None


def _ranges(text: str, metadata: ProviderMetadata | None) -> Iterator[Range]:
    """Yield the signed ranges in order; those that do not fit the text are left out."""
    if whole := signature_of(metadata):
        yield Range(0, len(text), whole)
        return
    at = 0
    stored = section_of(metadata).get(_RANGES)
    for each in stored if isinstance(stored, list) else ():
        match each:
            case [int(start), int(end), str(signature)] if at <= start <= end <= len(text):
                yield Range(start, end, signature)
                at = end
