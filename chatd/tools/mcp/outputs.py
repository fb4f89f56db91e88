"""What a server answered to a call, as the output of a tool.

Works on the SDK's objects by their members, so that it needs no import of the SDK.
"""

import json
from collections.abc import Sequence
from typing import Any

import orjson

from chatd.tools.types import ToolMedia, ToolOutput

MAX_TEXT_BYTES = 1024 * 1024
MAX_MEDIA_CHARS = 2 * 1024 * 1024
"""Of a text as JSON and of base64: a result is a message, which must fit one frame of 4 MiB."""

CUT = "\n\n[The result was cut here: it is longer than a message can be.]"
TOO_LARGE = "The tool gave back a file that is too large to be passed on."
NOTHING_SAID = "The tool failed and gave no reason."
ASKS_BACK = "The tool asks for more input, which cannot be given here."

_BYTES = "application/octet-stream"


def output_of(result: Any) -> ToolOutput:
    """Return the output for a call's result.

    Texts, texts of embedded resources, links and structured content are joined by newlines. Without
    any of them the first image, sound or blob is given back.
    """
    if getattr(result, "result_type", "complete") != "complete":
        return ToolOutput(text=ASKS_BACK, is_error=True)
    texts = [text for block in result.content if (text := _text(block))]
    if result.structured_content is not None:
        texts.append(json.dumps(result.structured_content, ensure_ascii=False))
    text = limited("\n".join(texts))
    if result.is_error:
        return ToolOutput(text=text or NOTHING_SAID, is_error=True)
    return ToolOutput(text=text) if text else _media_output(result.content)


def _text(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource":
            return str(getattr(block.resource, "text", ""))
        case "resource_link":
            described = f": {block.description}" if block.description else ""
            return f"[resource: {block.name} ({block.uri}){described}]"
    return ""


def _media_output(content: Sequence[Any]) -> ToolOutput:
    media = next((found for block in content if (found := _media(block))), None)
    if media is not None and len(media.data) > MAX_MEDIA_CHARS:
        return ToolOutput(text=TOO_LARGE, is_error=True)
    return ToolOutput(media=media)


def _media(block: Any) -> ToolMedia | None:
    match block.type:
        case "image" | "audio":
            return ToolMedia(data=block.data, mime_type=block.mime_type)
        case "resource" if blob := getattr(block.resource, "blob", ""):
            return ToolMedia(data=blob, mime_type=block.resource.mime_type or _BYTES)
    return None


def limited(text: str) -> str:
    """Return a text that fits a message; what is too long is cut, visibly."""
    text = text.encode("utf-8", "replace").decode()
    if len(orjson.dumps(text)) <= MAX_TEXT_BYTES:
        return text
    return text[: MAX_TEXT_BYTES // 6] + CUT  # no character takes more than six bytes
