"""Stored messages as a model request: order, conversion, repair of calls without results."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any
from uuid import UUID

from chatd.chats.content import reference_text
from chatd.chats.models import ChatMessage, Role
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
    UserMessage,
)
from chatd.turns.attachments import Block, file_block

MISSING_RESULT = "tool call was interrupted and did not receive a result"


def prompt_from(
    rows: Iterable[ChatMessage], files: Mapping[UUID, Block], inserts: Sequence[str] = ()
) -> tuple[Message, ...]:
    """Return the request messages for stored rows, oldest first, with every call answered.

    `inserts` are texts that are not stored: system messages behind those that open the chat.
    """
    messages = _repaired([message for row in rows for message in _converted(row, files)])
    opening = sum(1 for _ in takewhile(lambda each: isinstance(each, SystemMessage), messages))
    inserted = [SystemMessage(text=text.strip()) for text in inserts if text.strip()]
    return (*messages[:opening], *inserted, *messages[opening:])


def user_instructions(prompt: str) -> str:
    """Return a person's own instructions as the model is to see them; nothing for none."""
    text = prompt.strip()
    return f"<user-instructions>\n{text}\n</user-instructions>" if text else ""


def _converted(row: ChatMessage, files: Mapping[UUID, Block]) -> list[Message]:
    content: list[dict[str, Any]] = row.content or []
    match row.role:
        case Role.SYSTEM:
            text = str(content[0].get("text", "")) if content else ""
            return [SystemMessage(text=text)] if text else []
        case Role.USER:
            blocks = tuple(_user_blocks(content, files))
            return [UserMessage(blocks=blocks)] if blocks else []
        case Role.ASSISTANT:
            return _assistant(content)
        case _:
            results = tuple(_result(part) for part in content if part["type"] == "tool-result")
            return [ToolMessage(results=results)] if results else []


def _user_blocks(
    content: Sequence[dict[str, Any]], files: Mapping[UUID, Block]
) -> Iterator[TextBlock | FileBlock]:
    for part in content:
        match part["type"]:
            case "text" if part["text"].strip():
                yield TextBlock(text=part["text"])
            case "file-reference":
                yield TextBlock(text=reference_text(part))
            case "file":
                block = file_block(part, files)
                if block is not None:
                    yield block
            case _:
                pass


def _assistant(content: Sequence[dict[str, Any]]) -> list[Message]:
    blocks: list[TextBlock | ReasoningBlock | ToolCallBlock] = []
    for part in content:
        match part["type"]:
            case "text" if part["text"].strip():
                blocks.append(TextBlock(text=part["text"]))
            case "reasoning" if part["text"].strip():
                blocks.append(ReasoningBlock(text=part["text"]))
            case "tool-call" if not part.get("provider_executed"):
                blocks.append(
                    ToolCallBlock(
                        id=part.get("tool_call_id", ""),
                        name=part.get("tool_name", ""),
                        arguments=_arguments(part.get("args")),
                    )
                )
            case _:
                pass
    return [AssistantMessage(blocks=tuple(blocks))] if blocks else []


def _arguments(args: Any) -> str:
    """Return the text of a JSON object, `{}` for anything else."""
    return json.dumps(args, ensure_ascii=False) if isinstance(args, dict) else "{}"


def _result(part: dict[str, Any]) -> ToolResultBlock:
    result, is_error = part.get("result"), bool(part.get("is_error"))
    if is_error and isinstance(result, dict) and isinstance(result.get("error"), str):
        output = result["error"]
    elif isinstance(result, str):
        output = result
    else:
        output = json.dumps({} if result is None else result, ensure_ascii=False)
    return ToolResultBlock(
        call_id=part.get("tool_call_id", ""),
        name=part.get("tool_name", ""),
        output=output,
        is_error=is_error,
    )


def _repaired(messages: Sequence[Message]) -> list[Message]:
    """Answer calls that have no result in the tool messages behind them; drop lone results."""
    repaired: list[Message] = []
    open_calls: dict[str, ToolCallBlock] = {}
    for message in messages:
        if isinstance(message, ToolMessage):
            kept = tuple(result for result in message.results if result.call_id in open_calls)
            for result in kept:
                del open_calls[result.call_id]
            if kept:
                repaired.append(ToolMessage(results=kept))
            continue
        repaired += _close(open_calls)
        open_calls = _calls(message)
        repaired.append(message)
    return repaired + _close(open_calls)


def _calls(message: Message) -> dict[str, ToolCallBlock]:
    if not isinstance(message, AssistantMessage):
        return {}
    return {block.id: block for block in message.blocks if isinstance(block, ToolCallBlock)}


def _close(open_calls: dict[str, ToolCallBlock]) -> list[Message]:
    if not open_calls:
        return []
    results = tuple(
        ToolResultBlock(call_id=call.id, name=call.name, output=MISSING_RESULT, is_error=True)
        for call in open_calls.values()
    )
    return [ToolMessage(results=results)]
