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
            return [*_answer(content), *_results(content, provider_executed=False)]
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


def _answer(content: Sequence[Part]) -> list[Message]:
    blocks = tuple(block for part in content if (block := _assistant_block(part)))
    return [AssistantMessage(blocks=blocks)] if blocks else []


def _assistant_block(part: Part) -> AssistantBlock | None:
    match part["type"]:
        case "text" if part["text"].strip():
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
    """Keep what has text, or is signed by Anthropic: an answer without it would be refused.

    An empty item of OpenAI is not sent again, even with encrypted text.
    """
    metadata = metadata_of(part)
    text = part.get("text") or ""
    if not text.strip() and not _is_signed(metadata):
        return None
    return ReasoningBlock(text=text, provider_metadata=metadata)


def _is_signed(metadata: ProviderMetadata | None) -> bool:
    section = (metadata or {}).get("anthropic", {})
    return bool(section.get("signature") or section.get("redacted_data"))


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
    return FileBlock(media_type=part["media_type"], data=data, name=part.get("name"))


def _results(content: Sequence[Part], *, provider_executed: bool | None = None) -> list[Message]:
    """Return the results of a row as one message; `provider_executed` picks one of the kinds."""
    results = tuple(
        tool_result(part)
        for part in content
        if part["type"] == "tool-result"
        and provider_executed in (None, bool(part.get("provider_executed")))
    )
    return [ToolMessage(results=results)] if results else []
