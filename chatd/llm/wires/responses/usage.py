"""Numbers of tokens as the Responses wire reports them."""

from typing import Any

from chatd.llm.types import Usage
from chatd.llm.wires.decoding import count_in, is_object
from chatd.llm.wires.openai_chat import stream as openai_chat


def usage_of(reported: Any) -> Usage | None:
    """Return reported numbers in normal form; None when there are none."""
    if not is_object(reported):
        return None
    given, made = count_in(reported, "input_tokens"), count_in(reported, "output_tokens")
    total = count_in(reported, "total_tokens")
    if given is None and made is None:
        return openai_chat.usage_of(reported)  # some servers keep the older names
    cached = count_in(reported.get("input_tokens_details"), "cached_tokens")
    return Usage(
        input=None if given is None else max(0, given - (cached or 0)),
        output=made,
        total=total,
        reasoning=count_in(reported.get("output_tokens_details"), "reasoning_tokens"),
        cache_read=cached,
    )
