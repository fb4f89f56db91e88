"""The OpenAI chat/completions wire without a stream: one JSON body to one answer.

Belongs here: what of the body counts. Does not belong here: HTTP, streams (`stream`).
"""

from typing import Any

import msgspec

from chatd.llm.errors import classify, unreadable_answer
from chatd.llm.types import Answer, FinishReason, Provider, Request
from chatd.llm.wires.decoding import is_object
from chatd.llm.wires.openai_chat.stream import REASONS, plain_text, usage_of


class _Message(msgspec.Struct):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    id: Any = None
    object: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


def decode(body: bytes, request: Request, provider: Provider) -> Answer:
    """Return the answer of a whole body.

    Raises: LLMError when it is an error, or nothing that can be read.
    """
    try:
        completion = msgspec.json.decode(body, type=_Completion)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unreadable_answer(provider) from None
    if completion.error or completion.object == "error":
        raise classify((0, body, {}), provider)
    if completion.choices is None:
        raise unreadable_answer(provider)
    first = completion.choices[0] if completion.choices else _Choice()
    message = first.message or _Message()
    return Answer(
        text=plain_text(message.content) or plain_text(message.refusal),
        reason=REASONS.get(first.finish_reason or "", FinishReason.UNKNOWN),
        usage=usage_of(completion.usage) if is_object(completion.usage) else None,
        response_id=completion.id if isinstance(completion.id, str) else None,
    )
