"""Content blocks of a streamed answer while they grow, and the events they come to."""

from typing import Any

import orjson

from chatd.llm.types import ProviderMetadata, ToolCall, ToolCallDelta
from chatd.llm.wires.anthropic.blocks import SEARCH_RESULT, SECTION
from chatd.llm.wires.decoding import is_object

CALLS = {"tool_use": False, "server_tool_use": True}
"""Kinds of block that call a tool, and whether the vendor carries the call out itself."""


class Block:
    """A content block that is still growing; `pieces` are its arguments or its signature."""

    __slots__ = ("citations", "has_text", "id", "input", "kind", "name", "pieces")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.id = ""
        self.name = ""
        self.input: Any = None
        self.pieces: list[str] = []
        self.citations: list[dict[str, Any]] = []
        self.has_text = False


def call_delta(block: Block, piece: str) -> ToolCallDelta:
    return ToolCallDelta(
        id=block.id,
        name=block.name,
        arguments_delta=piece,
        provider_executed=CALLS[block.kind],
    )


def whole_call(block: Block) -> ToolCall:
    """Return the call; gateways may send the input whole, with its beginning."""
    arguments = "".join(block.pieces).strip()
    if not arguments and is_object(block.input) and block.input:
        arguments = orjson.dumps(block.input).decode()
    return ToolCall(
        id=block.id,
        name=block.name,
        arguments=arguments or "{}",
        provider_executed=CALLS[block.kind],
    )


def metadata_of(**kept: Any) -> ProviderMetadata | None:
    section = {name: value for name, value in kept.items() if value}
    return {SECTION: section} if section else None


def shown(kind: str, results: list[dict[str, Any]]) -> Any:
    """Return results without what only the vendor can read."""
    if kind != SEARCH_RESULT:
        return {"results": len(results)}
    keys = ("title", "url", "page_age")
    return {"results": [{k: r[k] for k in keys if r.get(k) is not None} for r in results]}
