"""Ids of tool calls, as every provider takes them."""

import re

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def safe_call_id(call_id: str) -> str:
    """Return the id with every character outside `[A-Za-z0-9_-]` replaced by an underscore."""
    return _UNSAFE.sub("_", call_id)
