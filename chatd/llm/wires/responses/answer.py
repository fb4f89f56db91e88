"""The Responses wire without a stream: one JSON body to one answer.

Belongs here: what of the body counts. Does not belong here: HTTP, streams (`stream`).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from chatd.llm.errors import classify, unreadable_answer
from chatd.llm.types import Answer, FinishReason, Provider, Request
from chatd.llm.wires.decoding import is_object
from chatd.llm.wires.responses.ending import Response, failure_of, reason_of
from chatd.llm.wires.responses.options import is_stored
from chatd.llm.wires.responses.usage import usage_of


def decode(body: bytes, request: Request, provider: Provider) -> Answer:
    """Return the answer of a whole body.

    Raises: LLMError when it is an error, or nothing that can be read.
    """
    try:
        response = msgspec.json.decode(body, type=Response)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unreadable_answer(provider) from None
    if response.status == "failed":
        raise failure_of(response, provider)
    if response.error or response.object == "error":
        raise classify((0, body, {}), provider)
    if not isinstance(response.output, list):
        raise unreadable_answer(provider)
    items = [item for item in response.output if is_object(item)]
    has_calls = any(item.get("type") == "function_call" for item in items)
    keeps = is_stored(request) and isinstance(response.id, str)
    return Answer(
        text=" ".join(text for item in items for text in texts_of(item) if text),
        reason=FinishReason.TOOL_CALLS if has_calls else reason_of(response),
        usage=usage_of(response.usage),
        response_id=response.id if keeps else None,
    )


def texts_of(item: dict[str, Any]) -> Iterator[str]:
    """Yield the text of each part of a message, empty for what is none; a refusal is text."""
    content = item.get("content") if item.get("type") == "message" else None
    for part in content if isinstance(content, list) else ():
        text = (part.get("text") or part.get("refusal")) if is_object(part) else None
        yield text if isinstance(text, str) else ""
