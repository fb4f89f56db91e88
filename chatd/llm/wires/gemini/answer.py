"""The Gemini wire without a stream: one JSON body to one answer."""

import msgspec

from chatd.llm.errors import classify, unreadable_answer
from chatd.llm.types import Answer, FinishReason, Provider, Request
from chatd.llm.wires.decoding import is_object
from chatd.llm.wires.gemini.chunks import Candidate, Chunk, fault
from chatd.llm.wires.gemini.usage import FAULTS, reason_of, usage_of

_decoder = msgspec.json.Decoder(Chunk)


def decode(body: bytes, request: Request, provider: Provider) -> Answer:
    """Return the answer of a whole body.

    Raises: LLMError when it is an error, or nothing that can be read.
    """
    try:
        whole = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unreadable_answer(provider) from None
    if whole.error:
        raise classify((0, body, {}), provider)
    feedback = whole.prompt_feedback if is_object(whole.prompt_feedback) else {}
    if whole.candidates is None and not feedback and whole.usage_metadata is None:
        raise unreadable_answer(provider)
    first = whole.candidates[0] if whole.candidates else Candidate()
    text = _text(first)
    if first.finish_reason in FAULTS and not text:
        raise fault(first, provider)
    is_blocked = bool(feedback.get("blockReason")) and not first.finish_reason
    return Answer(
        text=text,
        reason=FinishReason.CONTENT_FILTER if is_blocked else reason_of(first.finish_reason or ""),
        usage=usage_of(whole.usage_metadata),
        response_id=whole.response_id if isinstance(whole.response_id, str) else None,
    )


def _text(candidate: Candidate) -> str:
    parts = (candidate.content and candidate.content.parts) or ()
    return "".join(
        part.text for part in parts if isinstance(part.text, str) and part.thought is not True
    )
