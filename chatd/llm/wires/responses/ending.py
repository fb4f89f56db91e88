"""How an answer of the Responses wire ended, streamed or whole."""

from typing import Any

import msgspec
import orjson

from chatd.llm.errors import LLMError, classify
from chatd.llm.types import FinishReason, Provider
from chatd.llm.wires.decoding import is_object

_REASONS = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_UNNAMED = {"code": "server_error", "message": "The provider could not finish the response."}


class Response(msgspec.Struct):
    """The response object, as far as it counts."""

    id: Any = None
    object: Any = None
    status: Any = None
    error: Any = None
    incomplete_details: Any = None
    output: Any = None
    usage: Any = None


def reason_of(response: Response) -> FinishReason:
    """Return why an answer without calls ended."""
    if response.status != "incomplete":
        return FinishReason.STOP
    details = response.incomplete_details
    reason = details.get("reason") if is_object(details) else None
    known = _REASONS.get(reason) if isinstance(reason, str) else None
    return known or FinishReason.UNKNOWN


def failure_of(response: Response, provider: Provider) -> LLMError:
    """Return the error of a response that failed; without words one that may pass."""
    return classify((0, orjson.dumps({"error": response.error or _UNNAMED}), {}), provider)
