"""Parts of stored messages as blocks of a request (engine 8.4)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from chatd.chats.content import reference_text
from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.llm.types import (
    AssistantBlock,
    AssistantMessage,
    FileBlock,
    Message,
    ProviderMetadata,
    ReasoningBlock,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    UserBlock,
    UserMessage,
)
from chatd.turns.attachments import Block, file_block, inline_bytes
from chatd.turns.prompt.context import file_text
from chatd.turns.prompt.results import call_id_of, metadata_of, tool_result

Part = dict[str, Any]

_SIGNATURES = ("signature", "redacted_data", "thought_signature", "thought_signatures")
_WANTED_BACK = {
    "anthropic": _SIGNATURES,
    "google": _SIGNATURES,
    "openai": ("item_id", "encrypted_content"),
    "openrouter": ("reasoning_details",),
    "vercel": ("reasoning_details",),
}
"""What makes a part without text worth sending, by the section of its metadata."""


def messages_of(row: PromptRow, files: Mapping[UUID, Block]) -> list[Message]:
    """Return the messages of a row: one, or none when nothing of it is for the model.

    An answer that holds results of local calls becomes two.
    """
    content = row.content or []
    match row.role:
        case Role.SYSTEM:
            text = str(content[0].get("text", "")) if content else ""
            return [SystemMessage(text=text)] if text else []
        case Role.USER:
            blocks = tuple(_user_blocks(content, files))
            return [UserMessage(blocks=blocks)] if blocks else []
        case Role.ASSISTANT:
            return [*_answer(_said(row)), *_results(content, provider_executed=False)]
        case _:
            return [*_results(content)]


def _user_blocks(content: Sequence[Part], files: Mapping[UUID, Block]) -> Iterator[UserBlock]:
    for part in content:
        match part["type"]:
            case "text" if part["text"].strip():
                yield TextBlock(text=part["text"], provider_metadata=metadata_of(part))
            case "file-reference":
                yield TextBlock(text=reference_text(part))
            case "file":
                if block := file_block(part, files):
                    yield block
            case "context-file":
                if text := file_text(part):
                    yield TextBlock(text=text)


def _said(row: PromptRow) -> Sequence[Part]:
    """Return the parts of an answer, without the ids of items that its provider does not keep.

    It keeps those of answers that came to their end alone, and these have an id.
    """
    parts = row.content or []
    return parts if row.provider_response_id else [_without_item_id(part) for part in parts]


def _without_item_id(part: Part) -> Part:
    section = (metadata_of(part) or {}).get("openai", {})
    if "item_id" not in section:
        return part
    kept = {key: value for key, value in section.items() if key != "item_id"}
    return part | {"provider_metadata": part["provider_metadata"] | {"openai": kept}}


def _answer(content: Sequence[Part]) -> list[Message]:
    blocks = tuple(block for part in content if (block := _assistant_block(part)))
    return [AssistantMessage(blocks=blocks)] if blocks else []


def _assistant_block(part: Part) -> AssistantBlock | None:
    match part["type"]:
        case "text" if part["text"].strip() or _is_wanted_back(metadata_of(part), "google"):
            return TextBlock(text=part["text"], provider_metadata=metadata_of(part))
        case "reasoning":
            return _reasoning(part)
        case "tool-call":
            return _call(part)
        case "tool-result" if part.get("provider_executed"):
            return tool_result(part)
        case "file":
            return _file_with_bytes(part)
        case _:
            return None


def _reasoning(part: Part) -> ReasoningBlock | None:
    """Keep what has text, or what its provider wants back: answers are refused without it."""
    metadata = metadata_of(part)
    text = part.get("text") or ""
    if not text.strip() and not _is_wanted_back(metadata, *_WANTED_BACK):
        return None
    return ReasoningBlock(text=text, provider_metadata=metadata)


def _is_wanted_back(metadata: ProviderMetadata | None, *by: str) -> bool:
    """Tell whether one of these providers wants a part back, with or without text."""
    sections = (metadata or {}).items()
    return any(
        section.get(key)
        for kind, section in sections
        if kind in by
        for key in _WANTED_BACK.get(kind, ())
    )


def _call(part: Part) -> ToolCallBlock:
    return ToolCallBlock(
        id=call_id_of(part),
        name=part.get("tool_name", ""),
        arguments=_arguments(part.get("args")),
        provider_executed=bool(part.get("provider_executed")),
        provider_metadata=metadata_of(part),
    )


def _arguments(args: Any) -> str:
    """Return the text of a JSON object, `{}` for anything else."""
    return msgspec.json.encode(args).decode() if isinstance(args, dict) else "{}"


def _file_with_bytes(part: Part) -> FileBlock | None:
    """Return a file that the model itself made; attachments of tools are not sent again."""
    data = inline_bytes(part.get("data"))
    if not data:
        return None
    return FileBlock(
        media_type=part["media_type"],
        data=data,
        name=part.get("name"),
        provider_metadata=metadata_of(part),
    )


def _results(content: Sequence[Part], *, provider_executed: bool | None = None) -> list[Message]:
    """Return the results of a row as one message; `provider_executed` picks one of the kinds."""
    results = tuple(
        tool_result(part)
        for part in content
        if part["type"] == "tool-result"
        and provider_executed in (None, bool(part.get("provider_executed")))
    )
    return [ToolMessage(results=results)] if results else []
