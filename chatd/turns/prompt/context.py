"""Files of a workspace that messages hold, as texts for the model (engine 7.5).

They were read by an agent when a turn began and are stored as parts of a message. Each stays where
it was read, and all of the latest agent together make a system message, which outlives a
compaction. Skills are stored beside them; their index needs the tools that read skills.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.core.prompts import sanitize_prompt

SENTINEL_PATH = ".coder/agent-chat-context-sentinel"
"""Of parts that only say that an agent was asked and had no files."""

Part = Mapping[str, Any]


def workspace_block(rows: Iterable[PromptRow]) -> str:
    """Return the files of the latest agent as one text; nothing when there are none.

    Of several parts about one path the latest counts.
    """
    parts = [
        part
        for row in rows
        if row.role == Role.USER
        for part in row.content or []
        if part["type"] == "context-file"
    ]
    latest = next((agent for part in reversed(parts) if (agent := _agent(part))), None)
    by_path = {part["context_file_path"]: part for part in parts if _agent(part) == latest}
    return _block([part for part in by_path.values() if _content(part)])


def _agent(part: Part) -> str | None:
    return part.get("context_file_agent_id") or None


def file_text(part: Part) -> str:
    """Return one context file as a text of its own; nothing for one without content."""
    return _block([part]) if _content(part) else ""


def _content(part: Part) -> str:
    if part.get("context_file_path") == SENTINEL_PATH:
        return ""
    return sanitize_prompt(part.get("context_file_content") or "")


def _block(files: list[Part]) -> str:
    if not files:
        return ""
    lines = ["<workspace-context>"]
    if system := files[-1].get("context_file_os"):
        lines.append(f"Operating System: {system}")
    if directory := files[-1].get("context_file_directory"):
        lines.append(f"Working Directory: {directory}")
    for part in files:
        cut = " (truncated to 64KiB)" if part.get("context_file_truncated") else ""
        lines += ["", f"Source: {part['context_file_path']}{cut}", _content(part)]
    return "\n".join([*lines, "</workspace-context>"])
