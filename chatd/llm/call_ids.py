"""Ids and names of tool calls, as every provider takes them."""

import hashlib
import re
from collections.abc import Iterable

from chatd.llm.types import ToolSpec

MAX_NAME_CHARS = 64
UNNAMED = "unknown"

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def safe_call_id(call_id: str) -> str:
    """Return the id with every character outside `[A-Za-z0-9_-]` replaced by an underscore."""
    return _UNSAFE.sub("_", call_id)


def short_call_id(call_id: str, most: int) -> str:
    """Return a safe id of at most `most` characters: the same one for the same id."""
    safe = safe_call_id(call_id)
    if len(safe) <= most:
        return safe
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()}"[:most]


def safe_tool_name(name: str, tools: Iterable[ToolSpec]) -> str:
    """Return the name of an earlier call; one that a model made up as providers take it.

    They would refuse every request after such a call. The name of a tool that is sent along stays.
    """
    safe = _UNSAFE.sub("_", name)[:MAX_NAME_CHARS] or UNNAMED
    if safe == name or any(tool.name == name for tool in tools):
        return name
    return safe
