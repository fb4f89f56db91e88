"""Stored and streamed parts as blocks that templates show. Pure functions; no queries.

A block is one visible piece of a message. Its `kind` picks the markup; its text is plain and is
escaped by the template, except `html`, which `markdown` has made safe.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import orjson
from django.utils.safestring import SafeString

from chatd.chats.models import ChatMessage, ChatQueuedMessage, Role, Status
from chatd.chats.parts import is_of_compaction, public_parts
from chatd.live.writer import Streamed
from chatd.web.markdown import is_safe_link, render_markdown

MAX_SHOWN_CHARACTERS = 20_000
"""Of one tool call, result or file; the rest is available through the API."""

MOST_LINKS = 3
"""More links in a row than these are folded."""

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Types that every browser shows, and that hold no scripts."""

STATUS_LABELS: Mapping[str, str] = {
    Status.WAITING: "Ready",
    Status.PENDING: "Starting",
    Status.RUNNING: "Answering",
    Status.PAUSED: "Paused",
    Status.COMPLETED: "Done",
    Status.ERROR: "Failed",
    Status.REQUIRES_ACTION: "Waiting for a program",
}

# The watch socket does not announce the start of a run, so a list cannot tell the two apart.
LIST_STATUS_LABELS: Mapping[str, str] = {
    **STATUS_LABELS,
    Status.PENDING: "Working",
    Status.RUNNING: "Working",
}

ROLE_LABELS: Mapping[str, str] = {
    Role.SYSTEM: "System",
    Role.USER: "You",
    Role.ASSISTANT: "Assistant",
    Role.TOOL: "Tool",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One visible piece.

    `kind` is text, plain, reasoning, call, result, summary, file, image, link, links or note.
    `links` are those of a block that folds many of them.
    """

    kind: str
    text: str = ""
    html: SafeString | None = None
    label: str = ""
    url: str = ""
    is_error: bool = False
    omitted: int = 0
    links: Sequence["Block"] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    id: int
    role: str
    author: str
    blocks: Sequence[Block]
    created_at: datetime
    can_edit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedView:
    id: int
    text: str


def message_view(
    message: ChatMessage, *, owner_name: str = "", can_edit: bool = False
) -> MessageView:
    """Return a stored message as it is shown; `owner_name` replaces "You" for other readers.

    `can_edit`: the reader may write their messages anew.
    """
    is_user = message.role == Role.USER
    author = owner_name if is_user and owner_name else ROLE_LABELS.get(message.role, message.role)
    parts = public_parts(_whole_texts(message.content))
    blocks = [_block(part, markdown=not is_user) for part in parts]
    return MessageView(
        id=message.pk,
        role=message.role,
        author=author,
        blocks=_folded(block for block in blocks if block is not None),
        created_at=message.created_at,
        can_edit=can_edit and is_user,
    )


def _whole_texts(content: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the parts, with sentences whole that Anthropic cut where it cites a page."""
    whole: list[dict[str, Any]] = []
    for part in content or []:
        last = whole[-1] if whole else None
        if last and last["type"] == part["type"] == "text" and (_cites(last) or _cites(part)):
            whole[-1] = part | {"text": last["text"] + part["text"]}
            # what comes next goes on, whether it cites or not
            whole[-1]["provider_metadata"] = {"anthropic": {"citations": True}}
        else:
            whole.append(part)
    return whole


def _cites(part: Mapping[str, Any]) -> bool:
    sections = part.get("provider_metadata")
    section = sections.get("anthropic") if isinstance(sections, dict) else None
    return isinstance(section, dict) and bool(section.get("citations"))


def queued_view(queued: ChatQueuedMessage) -> QueuedView:
    """Return a queued message as one text."""
    return QueuedView(id=queued.pk, text=shown_text(queued.content))


def shown_text(content: Sequence[Mapping[str, Any]] | None) -> str:
    """Return what a person wrote: texts, and the names of the files referred to."""
    pieces = [
        str(part.get("text") or part.get("file_name") or part.get("name") or "")
        for part in content or []
    ]
    return "\n".join(piece for piece in pieces if piece)


def live_blocks(streamed: Iterable[Streamed]) -> list[Block]:
    """Return the parts of a running step as blocks; text stays plain until it is stored."""
    blocks: list[Block] = []
    calls: dict[str, int] = {}
    for _, part in streamed:
        if part.get("type") == "tool-call":
            call_id = str(part.get("tool_call_id", ""))
            known = calls.setdefault(call_id, len(blocks))
            block = _live_call(part, blocks[known] if known < len(blocks) else None)
            blocks[known : known + 1] = [block]
            continue
        if is_of_compaction(part) and not part.get("is_error"):
            continue  # its message stands above already
        shown = _block(part, markdown=False)
        if shown is not None:
            blocks.append(shown)
    return _folded(blocks)


def _folded(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks, with many links in a row as one block that can be opened."""
    folded: list[Block] = []
    for is_link, run in groupby(blocks, lambda block: block.kind == "link"):
        found = list(run)
        if is_link and len(found) > MOST_LINKS:
            folded.append(Block(kind="links", label=f"{len(found)} sources", links=found))
        else:
            folded += found
    return folded


def _live_call(part: Mapping[str, Any], before: Block | None) -> Block:
    """Return a call as far as it is known: whole arguments, or the pieces so far."""
    if "args" in part:
        return _call(part)
    pieces = (before.text if before else "") + str(part.get("args_delta", ""))
    label = _call_label(part) if part.get("tool_name") or before is None else before.label
    return Block(kind="call", label=label, text=pieces)


def _block(part: Mapping[str, Any], *, markdown: bool) -> Block | None:
    """Return the block of a part; None for parts without anything to see."""
    match part.get("type"):
        case "text":
            return _text(str(part.get("text", "")), markdown=markdown)
        case "reasoning":
            text = str(part.get("text", ""))
            return Block(kind="reasoning", label="Reasoning", text=text) if text.strip() else None
        case "tool-call":
            # of a compaction one line is shown: the result, which is stored with the call
            return None if is_of_compaction(part) else _call(part)
        case "tool-result":
            return _summary(part) if is_of_compaction(part) else _result(part)
        case "source":
            return _source(part)
        case _:
            return _attachment(part)


def _text(text: str, *, markdown: bool) -> Block | None:
    if not text.strip():
        return None
    if markdown:
        return Block(kind="text", html=render_markdown(text))
    return Block(kind="plain", text=text)


def _call(part: Mapping[str, Any]) -> Block:
    return _cut(Block(kind="call", label=_call_label(part), text=_json_text(part.get("args"))))


def _call_label(part: Mapping[str, Any]) -> str:
    if is_of_compaction(part):
        return "Summarising earlier messages"
    return f"Calls {part.get('tool_name') or 'a tool'}"


def _result(part: Mapping[str, Any]) -> Block:
    name = str(part.get("tool_name") or "the tool")
    value = part.get("result", part.get("result_delta"))
    failed = bool(part.get("is_error"))
    if failed and isinstance(value, dict) and isinstance(value.get("error"), str):
        value = value["error"]
    label = f"{name} failed" if failed else f"Result of {name}"
    return _cut(Block(kind="result", label=label, text=_json_text(value), is_error=failed))


def _summary(part: Mapping[str, Any]) -> Block:
    """Return what a compaction came to: the summary, or why there is none."""
    value = part.get("result")
    result = value if isinstance(value, dict) else {}
    if part.get("is_error"):
        label = "Earlier messages could not be summarised"
        return Block(kind="summary", label=label, text=str(result.get("error", "")), is_error=True)
    summary = str(result.get("summary", ""))
    return Block(
        kind="summary",
        label="Earlier messages were summarised to make room",
        html=render_markdown(summary[:MAX_SHOWN_CHARACTERS]),
        omitted=max(len(summary) - MAX_SHOWN_CHARACTERS, 0),
    )


def _source(part: Mapping[str, Any]) -> Block:
    url = str(part.get("url", ""))
    label = str(part.get("title") or url)
    if is_safe_link(url):
        return Block(kind="link", label=label, url=url)
    return Block(kind="note", label=f"Source: {label}")


def _attachment(part: Mapping[str, Any]) -> Block | None:
    match part.get("type"):
        case "file-reference":
            start, end = part.get("start_line", 0), part.get("end_line", 0)
            label = f"{part.get('file_name', '')}, lines {start} to {end}"
            return _cut(Block(kind="file", label=label, text=str(part.get("content", ""))))
        case "file":
            return _file(part)
        case "context-file":
            return Block(kind="note", label=f"Context file: {part.get('context_file_path', '')}")
        case "skill":
            return Block(kind="note", label=f"Skill: {part.get('skill_name', '')}")
        case _:
            return None


def _file(part: Mapping[str, Any]) -> Block:
    """Return a picture to look at, and of any other file what it is called."""
    media_type = str(part.get("media_type", ""))
    name = str(part.get("name") or media_type)
    if media_type not in PICTURES:
        return Block(kind="note", label=f"File: {name}")
    if file_id := part.get("file_id"):
        url = f"/api/experimental/chats/files/{file_id}"
    elif data := part.get("data"):
        url = f"data:{media_type};base64,{data}"
    else:
        return Block(kind="note", label=f"File: {name}")
    return Block(kind="image", label=name, url=url)


def call_block(call: Mapping[str, Any]) -> Block:
    """Return a tool call, by the name of its tool, to be opened for its arguments."""
    name = str(call.get("tool_name") or "A tool")
    return _cut(Block(kind="call", label=name, text=_json_text(call.get("args"))))


def _json_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _cut(block: Block) -> Block:
    """Return a block whose text is short enough to lay out."""
    omitted = len(block.text) - MAX_SHOWN_CHARACTERS
    if omitted <= 0:
        return block
    return Block(
        kind=block.kind,
        label=block.label,
        text=block.text[:MAX_SHOWN_CHARACTERS],
        is_error=block.is_error,
        omitted=omitted,
    )
