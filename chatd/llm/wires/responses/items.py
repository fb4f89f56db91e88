"""What was said, as input items of the Responses wire.

The provider pairs items: reasoning has to be followed by what it led to, and what came of
reasoning has to come with it. An item that it keeps is known by its id; one that it does not keep
is sent whole and without an id, reasoning in its encrypted form. What cannot be paired any more is
sent without ids, and without its reasoning.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, assert_never

from chatd.llm.call_ids import safe_call_id, safe_tool_name
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
    ProviderMetadata,
    ReasoningBlock,
    Request,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.responses.models import is_reasoning_model
from chatd.llm.wires.responses.options import is_stored

MAX_CALL_ID_CHARS = 64
METADATA = "openai"
"""The section of this wire in what is kept with a block."""

Item = dict[str, Any]


def input_items(request: Request) -> list[Item]:
    """Return the messages of a request as items, in their order."""
    return [item for message in request.messages for item in _items(message, request)]


def _items(message: Message, request: Request) -> Iterable[Item]:
    match message:
        case SystemMessage():
            role = "developer" if is_reasoning_model(request.model) else "system"
            return [{"role": role, "content": message.text}]
        case UserMessage():
            parts = [part for block in message.blocks if (part := _user_part(block))]
            return [{"role": "user", "content": parts}] if parts else []
        case AssistantMessage():
            answer = _Answer(request.tools, refers=is_stored(request))
            return answer.items_of(message)
        case ToolMessage():
            return _results(message.results)
        case _:
            assert_never(message)


def _user_part(block: TextBlock | FileBlock) -> Item | None:
    if isinstance(block, FileBlock):
        return _file_part(block)
    return {"type": "input_text", "text": block.text} if block.text else None


def _file_part(block: FileBlock) -> Item | None:
    media_type = block.media_type.partition(";")[0].strip().lower()
    if not block.data:
        return None
    url = f"data:{media_type};base64,{base64.b64encode(block.data).decode()}"
    if media_type.startswith("image/"):
        return {"type": "input_image", "image_url": url}
    if media_type == "application/pdf":
        name = block.name or "attachment.pdf"
        return {"type": "input_file", "filename": name, "file_data": url}
    return None


def _results(results: Sequence[ToolResultBlock]) -> Iterator[Item]:
    """Yield the outputs, and behind all of them what an output cannot hold, as the user's."""
    shown: list[Item] = []
    for result in results:
        part = _file_part(result.media) if result.media else None
        if part:
            shown.append(part)
        yield {
            "type": "function_call_output",
            "call_id": _call_id(result.call_id),
            "output": _output(result, is_shown=part is not None),
        }
    if shown:
        yield {"role": "user", "content": shown}


def _output(result: ToolResultBlock, *, is_shown: bool) -> str:
    if result.media is None:
        return result.output
    where = "is shown in the next message" if is_shown else "cannot be shown here"
    placeholder = f"[{result.media.media_type} content that {where}]"
    return f"{result.output}\n{placeholder}" if result.output else placeholder


def _call_id(call_id: str) -> str:
    """Return the id of a call as this wire takes it: others make longer ones."""
    safe = safe_call_id(call_id)
    if len(safe) <= MAX_CALL_ID_CHARS:
        return safe
    return f"call_{hashlib.sha256(safe.encode()).hexdigest()[:40]}"


def _section(metadata: ProviderMetadata | None) -> Mapping[str, Any]:
    return (metadata or {}).get(METADATA) or {}


def _text_of(section: Mapping[str, Any], key: str) -> str:
    value = section.get(key)
    return value if isinstance(value, str) else ""


class _Answer:
    """The items of one answer of the model. `refers`: the provider keeps items, so ids count."""

    def __init__(self, tools: Sequence[ToolSpec], *, refers: bool) -> None:
        self._tools = tools
        self._refers = refers
        self._items: list[Item] = []
        self._thoughts: list[str] = []
        self._waiting: list[Item] = []
        self._is_torn = False

    def items_of(self, message: AssistantMessage) -> list[Item]:
        for block in message.blocks:
            match block:
                case ReasoningBlock():
                    self._reasoning(block)
                case TextBlock() if block.text:
                    self._text(block)
                case ToolCallBlock() if block.provider_executed:
                    self._search(block)
                case ToolCallBlock():
                    self._call(block)
                case _:  # results of searches are known to the provider
                    pass
        return self._items

    def _reasoning(self, block: ReasoningBlock) -> None:
        """Keep reasoning until the item behind it is known; its parts end with the whole."""
        section = _section(block.provider_metadata)
        self._thoughts.append(block.text)
        item_id, encrypted = (_text_of(section, key) for key in ("item_id", "encrypted_content"))
        if self._refers and item_id:
            self._waiting.append({"type": "item_reference", "id": item_id})
        elif encrypted:
            summary = [{"type": "summary_text", "text": text} for text in self._thoughts if text]
            self._waiting.append(
                {"type": "reasoning", "summary": summary, "encrypted_content": encrypted}
            )
        else:
            return
        self._thoughts = []

    def _text(self, block: TextBlock) -> None:
        part: Item = {"type": "output_text", "text": block.text}
        item_id = self._item_id(block.provider_metadata)
        last = self._items[-1] if self._items and not self._waiting else {}
        if last.get("role") == "assistant" and last.get("id", "") == item_id:
            last["content"].append(part)
            return
        item = {"type": "message", "role": "assistant", "content": [part]}
        if self._follows(item_id):
            part["annotations"] = []
            item |= {"id": item_id, "status": "completed"}
        self._items.append(item)

    def _call(self, block: ToolCallBlock) -> None:
        item = {
            "type": "function_call",
            "call_id": _call_id(block.id),
            "name": safe_tool_name(block.name, self._tools),
            "arguments": block.arguments or "{}",
        }
        item_id = self._item_id(block.provider_metadata)
        if self._follows(item_id):
            item["id"] = item_id
        self._items.append(item)

    def _search(self, block: ToolCallBlock) -> None:
        """Refer to a search that came of reasoning; others are left out, and theirs with them."""
        item_id = self._item_id(block.provider_metadata)
        last = self._items[-1] if self._items else {}
        is_paired = bool(self._waiting) or last.get("type") == "item_reference"
        if item_id and is_paired and self._follows(item_id):
            self._items.append({"type": "item_reference", "id": item_id})
        elif self._waiting:
            self._waiting, self._is_torn = [], True

    def _item_id(self, metadata: ProviderMetadata | None) -> str:
        return _text_of(_section(metadata), "item_id") if self._refers else ""

    def _follows(self, item_id: str) -> bool:
        """Place the reasoning before an item that is next; True when the item may have its id."""
        refers = any(item["type"] == "item_reference" for item in self._waiting)
        if refers and (self._is_torn or not item_id):
            self._is_torn = True
        else:
            self._items += self._waiting
        self._waiting, self._thoughts = [], []
        return bool(item_id) and not self._is_torn
