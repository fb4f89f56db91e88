"""Tokens and stop reasons of the Anthropic Messages wire in normal form."""

from collections.abc import Mapping
from typing import Any

from chatd.llm.types import FinishReason, Usage
from chatd.llm.wires.decoding import count_in

_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


def reason_of(stop_reason: Any) -> FinishReason:
    """Return why an answer ended."""
    is_text = isinstance(stop_reason, str)
    return _REASONS.get(stop_reason, FinishReason.UNKNOWN) if is_text else FinishReason.UNKNOWN


def usage_of(reported: Mapping[str, Any]) -> Usage | None:
    """Return reported numbers in normal form; None when there are none.

    What was read from a cache or written to one is not in the input.
    """
    reported = dict(reported)
    read, written = count_in(reported, "input_tokens"), count_in(reported, "output_tokens")
    if read is None and written is None:
        return None
    return Usage(
        input=read,
        output=written,
        total=(read or 0) + (written or 0),
        reasoning=count_in(reported.get("output_tokens_details"), "thinking_tokens"),
        cache_read=count_in(reported, "cache_read_input_tokens"),
        cache_write=count_in(reported, "cache_creation_input_tokens"),
    )
