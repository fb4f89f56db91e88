"""The last look at a prompt before it goes to Anthropic (engine 8.7).

What the vendor would refuse for its structure is refused here, with a sentence that says what to
do: nobody can mend such a chat.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chatd.llm.errors import ErrorKind, error_of
from chatd.llm.types import Provider

REFUSED = (
    "The chat continuation failed due to an internal state mismatch."
    " This is not a configuration or billing issue. Start a new chat to continue."
)

Wire = Mapping[str, Any]


def check(messages: Sequence[Wire], provider: Provider) -> None:
    """Raise LLMError for messages that the vendor would refuse."""
    if complaint := _complaint(messages):
        raise error_of(ErrorKind.GENERIC, provider, detail=complaint, message=REFUSED)


def _complaint(messages: Sequence[Wire]) -> str:
    waiting: list[str] = []
    for position, message in enumerate(messages):
        is_answer = message["role"] == "assistant"
        if is_answer != bool(position % 2):
            return f"message {position} has the role of the one before it"
        calls, results = _ids(message, "tool_use"), _ids(message, "tool_result")
        if sorted(results) != sorted(waiting):
            return f"message {position} does not answer the calls before it"
        if is_answer and (said := _unpaired_server_call(message)):
            return f"message {position} holds {said}"
        waiting = calls
    return "the last calls have no results" if waiting else ""


def _ids(message: Wire, kind: str) -> list[str]:
    key = "id" if kind == "tool_use" else "tool_use_id"
    return [block[key] for block in message["content"] if block["type"] == kind]


def _unpaired_server_call(message: Wire) -> str:
    """Tell what is wrong with the calls that the vendor carried out; each has a result behind."""
    waiting: set[str] = set()
    for block in message["content"]:
        if block["type"] == "server_tool_use":
            waiting.add(block["id"])
        elif block["type"].endswith("_tool_result"):
            if block["tool_use_id"] not in waiting:
                return "a result of the provider's without its call"
            waiting.discard(block["tool_use_id"])
    return "a call of the provider's without its result" if waiting else ""
