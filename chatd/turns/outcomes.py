"""What a tool gave, as the result that is stored and shown (engine 8.3).

Belongs here: the JSON of a result. Does not belong here: running tools, what a model reads of a
stored result (`prompt.results`).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never
from uuid import UUID

from msgspec import UNSET

from chatd.chats.parts import ToolResultPart, error_result, parsed_arguments, to_stored
from chatd.core.clock import now, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOutcome:
    """What a tool wrote; None is nothing at all. What is no UTF-8 is replaced."""

    text: str | bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaOutcome:
    """An image or other media, with the chat file it was also stored as, if it was."""

    data: bytes = field(repr=False)
    mime_type: str
    text: str = ""
    attachment_file_id: UUID | None = None
    attachment_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOutcome:
    """Why a tool gave nothing; the model reads it, the turn goes on."""

    message: str


Outcome = TextOutcome | MediaOutcome | FailedOutcome


def result_part(call: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Return the stored result of a call that has just ended."""
    match outcome:
        case TextOutcome():
            return _part(call, _json_of(outcome.text))
        case MediaOutcome():
            return _part(call, _media(outcome), is_media=True)
        case FailedOutcome():
            return _stamped(call, error_result(call, {"error": _clean(outcome.message)}))
        case _:
            assert_never(outcome)


def _part(call: Mapping[str, Any], result: Any, *, is_media: bool = False) -> dict[str, Any]:
    part = ToolResultPart(
        tool_call_id=call.get("tool_call_id", ""),
        tool_name=call.get("tool_name", ""),
        result=result,
        is_media=is_media or UNSET,
        created_at=rfc3339(now()),
    )
    return _stamped(call, to_stored([part])[0])


def _stamped(call: Mapping[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Name the MCP server that a call went to."""
    server = call.get("mcp_server_config_id")
    return {**part, "mcp_server_config_id": server} if server else part


def _json_of(text: str | bytes | None) -> Any:
    """Return JSON as it is, any other text in an object."""
    if text is None:
        return {}
    text = _clean(text)
    value = parsed_arguments(text)
    return {"output": text} if value is UNSET else value


def _clean(text: str | bytes) -> str:
    """Replace what is no text: stray bytes, lone surrogates."""
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return raw.decode(errors="replace")


def _media(outcome: MediaOutcome) -> dict[str, Any]:
    result: dict[str, Any] = {
        "data": base64.b64encode(outcome.data).decode(),
        "mime_type": outcome.mime_type,
        "text": _clean(outcome.text),
    }
    if outcome.attachment_file_id is not None:
        result["attachment_file_id"] = str(outcome.attachment_file_id)
    if outcome.attachment_name:
        result["attachment_name"] = outcome.attachment_name
    return result
