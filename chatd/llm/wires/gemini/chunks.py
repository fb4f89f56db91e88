"""Events of the Gemini wire as they are decoded, and what is read of them alone."""

from typing import Any

import msgspec

from chatd.llm.errors import ErrorKind, LLMError, error_of
from chatd.llm.types import Provider
from chatd.llm.wires.decoding import is_object
from chatd.llm.wires.gemini.grounding import WEB_SEARCH


# Fields whose shape might change are `Any`: an odd value is ignored, not fatal.
class Part(msgspec.Struct, rename="camel"):
    text: Any = None
    thought: Any = None
    thought_signature: Any = None
    function_call: Any = None
    inline_data: Any = None
    tool_call: Any = None
    tool_response: Any = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    index: Any = None
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: Any = None
    grounding_metadata: Any = None


class Chunk(msgspec.Struct, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    response_id: Any = None
    error: Any = None


def fault(candidate: Candidate, provider: Provider) -> LLMError:
    """Return the error of an answer in which the model wrote nothing that can be read."""
    told = candidate.finish_message
    detail = told if isinstance(told, str) and told else candidate.finish_reason or ""
    message = "The model made a tool call that cannot be read."
    return error_of(ErrorKind.GENERIC, provider, detail=detail, retryable=True, message=message)


def arguments_of(args: Any) -> str:
    """Return the arguments of a call as the text of a JSON object."""
    if not is_object(args):
        return "{}"
    return msgspec.json.encode(args).decode()


def server_id(call: dict[str, Any]) -> str:
    """Return the id of a call that Google carries out, or of its response."""
    found = call.get("id")
    return found if isinstance(found, str) else ""


def server_tool(call: dict[str, Any]) -> str:
    """Return the name of a tool of Google's own; every kind of web search has one name."""
    kind = call.get("toolType")
    name = kind.lower() if isinstance(kind, str) else ""
    return WEB_SEARCH if not name or name.startswith("google_search") else name
