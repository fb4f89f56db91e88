"""Tokens and reasons as Google tells them, in normal form."""

from typing import Any

from chatd.llm.types import FinishReason, Usage
from chatd.llm.wires.decoding import count_in

REASONS = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "ESCALATION": FinishReason.CONTENT_FILTER,
}

FAULTS = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"})
"""Reasons that say that the model wrote what cannot be read; another try often goes well."""


def reason_of(reported: str) -> FinishReason:
    """Return why an answer ended."""
    return REASONS.get(reported, FinishReason.UNKNOWN)


def usage_of(reported: Any) -> Usage | None:
    """Return reported numbers in normal form; None when there are none.

    What a search of Google's own put before the model is in the total alone: it is not billed as
    input.
    """
    prompt = count_in(reported, "promptTokenCount")
    said = count_in(reported, "candidatesTokenCount")
    thought = count_in(reported, "thoughtsTokenCount")
    total = count_in(reported, "totalTokenCount")
    if prompt is None and said is None and thought is None and total is None:
        return None
    cached = count_in(reported, "cachedContentTokenCount")
    return Usage(
        input=None if prompt is None else max(0, prompt - (cached or 0)),
        output=None if said is None and thought is None else (said or 0) + (thought or 0),
        total=total,
        reasoning=thought,
        cache_read=cached,
    )
