"""The Anthropic Messages wire without a stream: one JSON body to one answer."""

from typing import Any

import msgspec
import orjson

from chatd.llm.errors import classify, unreadable_answer
from chatd.llm.types import Answer, Provider, Request
from chatd.llm.wires.anthropic.usage import reason_of, usage_of
from chatd.llm.wires.decoding import is_object


class _Message(msgspec.Struct):
    type: Any = None
    id: Any = None
    content: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


def decode(body: bytes, request: Request, provider: Provider) -> Answer:
    """Return the answer of a whole body; of a wanted form it is the call of the tool for it.

    Raises: LLMError when it is an error, or nothing that can be read.
    """
    try:
        message = msgspec.json.decode(body, type=_Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unreadable_answer(provider) from None
    if message.error or message.type == "error":
        raise classify((0, body, {}), provider)
    if not isinstance(message.content, list):
        raise unreadable_answer(provider)
    blocks = [block for block in message.content if is_object(block)]
    try:
        form = _form(blocks, request)
    except orjson.JSONEncodeError:
        raise unreadable_answer(provider) from None
    return Answer(
        text=form or _text(blocks),
        reason=reason_of(message.stop_reason),
        usage=usage_of(message.usage) if is_object(message.usage) else None,
        response_id=message.id if isinstance(message.id, str) else None,
    )


def _form(blocks: list[dict[str, Any]], request: Request) -> str:
    if request.output is None:
        return ""
    for block in blocks:
        if block.get("type") == "tool_use" and block.get("name") == request.output.name:
            return orjson.dumps(block.get("input")).decode()
    return ""


def _text(blocks: list[dict[str, Any]]) -> str:
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    return " ".join(text for text in texts if isinstance(text, str) and text)
