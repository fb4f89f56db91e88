"""The messages of a request on the Anthropic Messages wire.

Belongs here: roles that alternate, results first, ids that occur once, what is left out because
the vendor would refuse it. Does not belong here: the shapes of blocks (`blocks`).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, assert_never

from chatd.llm.call_ids import safe_call_id, safe_tool_name
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
    ReasoningBlock,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.anthropic import blocks
from chatd.llm.wires.anthropic.blocks import Wire

THINKING = frozenset({"thinking", "redacted_thinking"})
CALLS = frozenset({"tool_use", "server_tool_use"})

_OPENING = "Go on."
"""Stands in for the question where a history begins with an answer, or is empty."""


class Conversation:
    """Turns messages of one request into those of the wire.

    `reasoning`: earlier reasoning is sent. `server_tools`: calls that the vendor carried out are.
    """

    def __init__(self, tools: Sequence[ToolSpec], *, reasoning: bool, server_tools: bool) -> None:
        self._tools = tools
        self._reasoning = reasoning
        self._server_tools = server_tools
        self._taken: set[str] = set()
        self._renamed: dict[str, str] = {}
        self._messages: list[Wire] = []

    def messages(self, messages: Iterable[Message]) -> list[Wire]:
        """Return user and assistant messages in turn, the first one a user's."""
        for message in messages:
            match message:
                case SystemMessage():
                    continue
                case UserMessage():
                    self._add("user", _user(message))
                case ToolMessage():
                    self._add("user", map(self._result, message.results))
                case AssistantMessage():
                    self._add("assistant", self._assistant(message))
                case _:
                    assert_never(message)
        if not self._messages or self._messages[0]["role"] != "user":
            opening = {"type": "text", "text": _OPENING}
            self._messages.insert(0, {"role": "user", "content": [opening]})
        return self._messages

    def _add(self, role: str, content: Iterable[Wire]) -> None:
        """Add content to the last message of the role, or begin another one."""
        new = list(content)
        if not new:
            return
        if self._messages and self._messages[-1]["role"] == role:
            new = [*self._messages.pop()["content"], *new]
        if role == "user":
            # the vendor wants results before anything else
            new.sort(key=lambda block: block["type"] != "tool_result")
        self._messages.append({"role": role, "content": new})

    def _assistant(self, message: AssistantMessage) -> list[Wire]:
        foreign = {
            block.call_id
            for block in message.blocks
            if isinstance(block, ToolResultBlock) and blocks.server_result_block(block) is None
        }
        content = [
            wire for block in message.blocks if (wire := self._assistant_block(block, foreign))
        ]
        while content and content[-1]["type"] in THINKING:
            content.pop()  # an answer must not end with reasoning
        return content

    def _assistant_block(self, block: object, foreign: Collection[str]) -> Wire | None:
        match block:
            case TextBlock():
                wire = blocks.text_block(block)
                if wire and not self._server_tools:
                    wire.pop("citations", None)
                return wire
            case ReasoningBlock():
                return blocks.reasoning_block(block) if self._reasoning else None
            case ToolCallBlock(provider_executed=True):
                if not self._server_tools or block.id in foreign:
                    return None
                return blocks.call_block(block, block.id, block.name)
            case ToolCallBlock():
                name = safe_tool_name(block.name, self._tools)
                return blocks.call_block(block, self._unique_id(block.id), name)
            case ToolResultBlock():
                return blocks.server_result_block(block) if self._server_tools else None
        return None  # files of the model: this wire takes none in an answer

    def _unique_id(self, call_id: str) -> str:
        """Return the id of a call; ids of other providers may come again in a later answer."""
        safe = safe_call_id(call_id)
        unique, number = safe, 2
        while unique in self._taken:
            unique, number = f"{safe}_{number}", number + 1
        self._taken.add(unique)
        self._renamed[safe] = unique
        return unique

    def _result(self, result: ToolResultBlock) -> Wire:
        safe = safe_call_id(result.call_id)
        return blocks.result_block(result, self._renamed.get(safe, safe))


def _user(message: UserMessage) -> Iterator[Wire]:
    for block in message.blocks:
        wire = (
            blocks.file_block(block) if isinstance(block, FileBlock) else blocks.text_block(block)
        )
        if wire:
            yield wire


def system_blocks(messages: Iterable[Message]) -> list[Wire]:
    """Return the system texts, wherever they stand, as blocks of their own."""
    texts = (message.text for message in messages if isinstance(message, SystemMessage))
    return [{"type": "text", "text": text} for text in texts if text.strip()]


def called_tools(messages: Iterable[Wire]) -> list[str]:
    """Return the names of local tools that were called, each once."""
    names = (
        block["name"]
        for message in messages
        for block in message["content"]
        if block["type"] == "tool_use"
    )
    return list(dict.fromkeys(names))


def begins_with_thinking(messages: Sequence[Wire]) -> bool:
    """Tell whether the last answer that calls tools begins with reasoning; also without one."""
    for message in reversed(messages):
        kinds = [block["type"] for block in message["content"]]
        if message["role"] == "assistant" and "tool_use" in kinds:
            return kinds[0] in THINKING
    return True


def mark_for_cache(system: Sequence[Wire], messages: Sequence[Wire]) -> None:
    """Have the vendor remember the prompt up to here for the next request (engine 8.7).

    The marks go on the last system message and on the final two messages.
    """
    marked = [system[-1]] if system else []
    marked += [last for message in messages[-2:] if (last := _last_markable(message))]
    for block in marked:
        block["cache_control"] = {"type": "ephemeral"}


def _last_markable(message: Any) -> Wire | None:
    found = (block for block in reversed(message["content"]) if block["type"] not in THINKING)
    return next(found, None)
