"""Stored messages and their parts, as prompts are made of them."""

from typing import Any
from uuid import UUID

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.llm.types import Message
from chatd.turns.attachments import Block
from chatd.turns.prompt import prompt_from

Part = dict[str, Any]


def row(role: Role, *parts: Part, is_summary: bool = False, **fields: Any) -> PromptRow:
    """Return a row; an answer is one that came to its end, with an id at its provider."""
    fields = {"provider_response_id": "resp_1" if role == Role.ASSISTANT else None, **fields}
    return PromptRow(0, role, list(parts), is_summary, **fields)


def text(words: str, **fields: Any) -> Part:
    return {"type": "text", "text": words, **fields}


def reasoning(words: str, **fields: Any) -> Part:
    return {"type": "reasoning", "text": words, **fields}


def call(call_id: str, name: str = "find", **fields: Any) -> Part:
    return {"type": "tool-call", "tool_call_id": call_id, "tool_name": name, **fields}


def result(call_id: str, value: Any, **fields: Any) -> Part:
    part = {"type": "tool-result", "tool_call_id": call_id, "tool_name": "find", "result": value}
    return part | fields


def context_file(path: str, content: str = "", **fields: Any) -> Part:
    part = {"type": "context-file", "context_file_path": path, "context_file_content": content}
    return part | {f"context_file_{name}": value for name, value in fields.items()}


def prompt(*rows: PromptRow, files: dict[UUID, Block] | None = None) -> list[Message]:
    return list(prompt_from(rows, files or {}))
