"""What a call gave back, as the tool-result part that is stored and shown."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from chatd.chats.parts import parsed_arguments, result_of
from chatd.tools.types import ToolOutput


def result_part(call: Mapping[str, Any], output: ToolOutput) -> dict[str, Any]:
    """Return the stored result of a call (a stored tool-call part), finished now.

    JSON text is stored as it is, other text as `{"output": text}`, an error as `{"error": text}`,
    media as `{"data", "mime_type", "text"}`.
    """
    flags: dict[str, Any] = {}
    if output.is_error:
        flags["is_error"] = True
    elif output.media is not None:
        flags["is_media"] = True
    return result_of(call, _value(output), **flags)


def _value(output: ToolOutput) -> Any:
    if output.is_error:
        return {"error": _clean(output.text)}
    if output.media is not None:
        media = output.media
        return {"data": media.data, "mime_type": media.mime_type, "text": _clean(output.text)}
    if not output.text:
        return {}
    value = parsed_arguments(output.text)
    return {"output": _clean(output.text)} if value is UNSET else value


def _clean(text: str) -> str:
    """Replace what is no Unicode text (lone surrogates); it could not be stored."""
    return text.encode(errors="surrogatepass").decode(errors="replace")
