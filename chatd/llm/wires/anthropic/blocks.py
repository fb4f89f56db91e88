"""Neutral blocks as content blocks of the Anthropic Messages wire."""

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from chatd.llm.types import (
    FileBlock,
    ReasoningBlock,
    TextBlock,
    ToolCallBlock,
    ToolResultBlock,
)
from chatd.llm.wires.decoding import is_object

Wire = dict[str, Any]

SECTION = "anthropic"
SEARCH_RESULT = "web_search_tool_result"

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_CITATION = "web_search_result_location"
_CITATION_KEYS = ("type", "cited_text", "url", "title", "encrypted_index")
_RESULT_KEYS = ("type", "title", "url", "encrypted_content", "page_age")


def section_of(metadata: Mapping[str, Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """Return what this wire stored with a block; empty when another one made it."""
    return (metadata or {}).get(SECTION) or {}


def text_block(block: TextBlock) -> Wire | None:
    """Return a text with its citations; None for a blank one, which is refused."""
    if not block.text.strip():
        return None
    wire: Wire = {"type": "text", "text": block.text}
    if citations := kept_citations(section_of(block.provider_metadata).get("citations")):
        wire["citations"] = citations
    return wire


def kept_citations(citations: Any) -> list[Wire]:
    """Return those citations that can be sent back, with the fields that are taken back."""
    if not isinstance(citations, list):
        return []
    return [
        {key: each.get(key) for key in _CITATION_KEYS}
        for each in citations
        if is_object(each) and each.get("type") == _CITATION
    ]


def reasoning_block(block: ReasoningBlock) -> Wire | None:
    """Return reasoning that is signed; any other would be refused."""
    section = section_of(block.provider_metadata)
    if redacted := section.get("redacted_data"):
        return {"type": "redacted_thinking", "data": redacted}
    if signature := section.get("signature"):
        return {"type": "thinking", "thinking": block.text, "signature": signature}
    return None


def file_block(block: FileBlock) -> Wire | None:
    """Return an image or a PDF; None for what the wire cannot carry."""
    media_type = block.media_type.partition(";")[0].strip().lower()
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    is_pdf = media_type == "application/pdf"
    if not block.data or not (is_pdf or media_type in _IMAGES):
        return None
    encoded = base64.b64encode(block.data).decode()
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    if not is_pdf:
        return {"type": "image", "source": source}
    name = (block.name or "").strip()
    return {"type": "document", "source": source} | ({"title": name} if name else {})


def call_block(block: ToolCallBlock, call_id: str, name: str) -> Wire:
    """Return an earlier call; its input is always an object."""
    kind = "server_tool_use" if block.provider_executed else "tool_use"
    return {"type": kind, "id": call_id, "name": name, "input": _input(block.arguments)}


def _input(arguments: str) -> Wire:
    try:
        decoded = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {}
    return decoded if is_object(decoded) else {}


def result_block(block: ToolResultBlock, call_id: str) -> Wire:
    """Return the result of a local call; what holds nothing to be shown has no content."""
    media = file_block(block.media) if block.media else None
    text = block.output
    if block.media and not media and not text.strip():
        text = f"[{block.media.media_type} content that cannot be shown here]"
    content = [{"type": "text", "text": text}] if text.strip() else []
    content += [media] if media else []
    wire: Wire = {"type": "tool_result", "tool_use_id": call_id}
    if content:
        wire["content"] = content
    if block.is_error:
        wire["is_error"] = True
    return wire


def server_result_block(block: ToolResultBlock) -> Wire | None:
    """Return the result of a call that the vendor carried out; None if another one did."""
    section = section_of(block.provider_metadata)
    content = section.get("content")
    if content is None:
        return None
    kind = section.get("type") or SEARCH_RESULT
    if kind == SEARCH_RESULT and isinstance(content, list):
        content = [_search_result(each) for each in content if is_object(each)]
    return {"type": kind, "tool_use_id": block.call_id, "content": content}


def _search_result(result: Wire) -> Wire:
    return {key: result[key] for key in _RESULT_KEYS if result.get(key) is not None}
