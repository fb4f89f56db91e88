"""Stored results of tool calls as the model reads them (engine 8.4)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from chatd.llm.call_ids import safe_call_id
from chatd.llm.types import FileBlock, ProviderMetadata, ToolResultBlock
from chatd.turns.attachments import inline_bytes

CORRUPTED_MEDIA = "[media content unavailable: corrupted data]"
NO_OUTPUT = "{}"


def tool_result(part: Mapping[str, Any]) -> ToolResultBlock:
    """Return the block of a `tool-result` part; its output is never empty without media."""
    result, is_error = part.get("result"), bool(part.get("is_error"))
    media = None
    if is_error:
        output = _error_text(result)
    elif part.get("is_media"):
        output, media = _media(result)
    else:
        output = _text(result)
    return ToolResultBlock(
        call_id=call_id_of(part),
        name=part.get("tool_name", ""),
        output=output,
        media=media,
        is_error=is_error,
        provider_executed=bool(part.get("provider_executed")),
        provider_metadata=metadata_of(part),
    )


def call_id_of(part: Mapping[str, Any]) -> str:
    """Return the id of a call or a result as providers take it, never empty."""
    return safe_call_id(part.get("tool_call_id") or "call")


def metadata_of(part: Mapping[str, Any]) -> ProviderMetadata | None:
    """Return what the provider wants back with a part, or None."""
    stored = part.get("provider_metadata")
    if not isinstance(stored, dict):
        return None
    return {kind: section for kind, section in stored.items() if isinstance(section, dict)} or None


def _text(result: Any) -> str:
    """Return a text as it is, other JSON as JSON."""
    if result is None or result == "":
        return NO_OUTPUT
    return result if isinstance(result, str) else msgspec.json.encode(result).decode()


def _error_text(result: Any) -> str:
    error = result.get("error") if isinstance(result, dict) else None
    return error if isinstance(error, str) and error else _text(result)


def _media(result: Any) -> tuple[str, FileBlock | None]:
    """Return the text of a media result and its bytes, if they can be read."""
    stored = result if isinstance(result, dict) else {}
    text = stored.get("text")
    text = text if isinstance(text, str) else ""
    data = inline_bytes(stored.get("data"))
    if not data:
        return text or CORRUPTED_MEDIA, None
    return text, FileBlock(media_type=str(stored.get("mime_type", "")), data=data)
