"""What Anthropic refuses in a history, taken out before it is sent or stored (engine 8.7).

A call that the provider carried out itself needs its result behind it, in the same answer. Where
one of the two is missing, as after an answer that was cut, the other one goes as well. Everything
else stays as it is, signed reasoning above all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from chatd.llm.types import AssistantMessage, Message, ToolCallBlock, ToolResultBlock

Part = dict[str, Any]

_CALL, _RESULT = "call", "result"


def sanitised(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return the messages without what has no counterpart; answers of nothing else are dropped."""
    return tuple(found for message in messages if (found := _sanitised(message)))


def sanitised_content(content: Sequence[Part]) -> list[Part]:
    """Return the parts of an answer that is about to be stored, without such ones."""
    kinds = [_kind_of_part(part) for part in content]
    ids = [part.get("tool_call_id", "") for part in content]
    paired = _paired(kinds, ids)
    return [part for at, part in enumerate(content) if not kinds[at] or at in paired]


def _sanitised(message: Message) -> Message | None:
    if not isinstance(message, AssistantMessage):
        return message
    kinds = [_kind_of_block(block) for block in message.blocks]
    if not any(kinds):
        return message
    paired = _paired(kinds, [_id_of(block) for block in message.blocks])
    kept = tuple(b for at, b in enumerate(message.blocks) if not kinds[at] or at in paired)
    return replace(message, blocks=kept) if kept else None


def _id_of(block: object) -> str:
    match block:
        case ToolCallBlock(id=call_id) | ToolResultBlock(call_id=call_id):
            return call_id
    return ""


def _kind_of_block(block: object) -> str:
    match block:
        case ToolCallBlock(provider_executed=True):
            return _CALL
        case ToolResultBlock():
            return _RESULT
    return ""


def _kind_of_part(part: Part) -> str:
    if not part.get("provider_executed"):
        return ""
    return {"tool-call": _CALL, "tool-result": _RESULT}.get(part["type"], "")


def _paired(kinds: Sequence[str], ids: Sequence[str]) -> set[int]:
    """Return the positions of calls and of their results, which stand behind them."""
    waiting: dict[str, int] = {}
    paired: set[int] = set()
    for at, (kind, call_id) in enumerate(zip(kinds, ids, strict=True)):
        if kind == _CALL:
            waiting[call_id] = at
        elif kind == _RESULT and call_id in waiting:
            paired |= {waiting.pop(call_id), at}
    return paired
