"""What people send: input parts, labels, titles, prompts. Checked here, stored as parts."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

import orjson
from msgspec import Meta, Struct

from chatd.chats.models import ChatFile, PlanMode
from chatd.chats.parts import FilePart, FileReferencePart, TextPart, to_stored
from chatd.core.errors import Validation, bad_request
from chatd.core.ids import NIL_UUID
from chatd.core.shapes import documented

NO_FILES: Mapping[UUID, ChatFile] = MappingProxyType({})

MAX_TITLE_WORDS = 6
MAX_INITIAL_TITLE = 80
MAX_SYSTEM_PROMPT_BYTES = 10_000
MAX_LABELS = 50
MAX_LABEL_KEY_BYTES = 64
MAX_LABEL_VALUE_BYTES = 256
MAX_DYNAMIC_TOOLS = 250
MAX_MESSAGE_BYTES = 3584 * 1024
"""Of the JSON of a message: with what stands around it, it must fit one frame of 4 MiB."""

_LABEL_KEY = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._/-]*$")

Labels = Annotated[
    dict[
        Annotated[str, documented(pattern=_LABEL_KEY.pattern, maxLength=MAX_LABEL_KEY_BYTES)],
        Annotated[str, documented(minLength=1, maxLength=MAX_LABEL_VALUE_BYTES)],
    ]
    | None,
    documented(maxProperties=MAX_LABELS),
    Meta(
        description=f"At most {MAX_LABELS}; keys of up to {MAX_LABEL_KEY_BYTES} bytes, values of 1"
        f" to {MAX_LABEL_VALUE_BYTES} bytes."
    ),
]
PlanModeText = Annotated[
    str | None, documented(enum=["plan", "", None]), Meta(description="Empty is off.")
]


class InputPart(Struct, kw_only=True):
    """One part of a message as clients send it; members of other types are ignored.

    Go clients send nil ids and zero values.
    """

    type: Annotated[
        str | None,
        documented(required=True, enum=["text", "file", "file-reference"]),
        Meta(description="Spaces around it and the case of its letters do not matter."),
    ] = None
    text: Annotated[str | None, Meta(description="Of text: not empty.")] = None
    file_id: Annotated[UUID | None, Meta(description="Of file: an uploaded file.")] = None
    file_name: Annotated[str | None, Meta(description="Of file-reference: not empty.")] = None
    start_line: int | None = None
    end_line: int | None = None
    content: str | None = None


class DynamicTool(Struct, kw_only=True):
    """A tool that the client executes. The schema is stored as given."""

    name: Annotated[str | None, documented(required=True, minLength=1)] = None
    description: str | None = None
    input_schema: Any = None


def parse_content(
    parts: Sequence[InputPart] | None, files: Mapping[UUID, ChatFile] = NO_FILES
) -> list[dict[str, Any]]:
    """Return stored parts, texts trimmed, order kept. Raises ChatdError 400.

    `files` are those of the named files that the sender may read.
    """
    if not parts:
        raise bad_request("Content is required.", detail="Content cannot be empty.")
    return to_stored(_parse_part(index, part, files) for index, part in enumerate(parts))


def _parse_part(
    index: int, part: InputPart, files: Mapping[UUID, ChatFile]
) -> TextPart | FilePart | FileReferencePart:
    kind = (part.type or "").strip().lower()
    match kind:
        case "text":
            text = (part.text or "").strip()
            if not text:
                raise _bad_part(f"content[{index}].text cannot be empty.")
            return TextPart(text=text)
        case "file":
            if part.file_id is None or part.file_id == NIL_UUID:
                raise _bad_part(f"content[{index}].file_id is required for file parts.")
            file = files.get(part.file_id)
            if file is None:
                raise _bad_part(f"content[{index}].file_id references a file that does not exist.")
            return FilePart(media_type=file.mimetype, name=file.name, file_id=str(file.pk))
        case "file-reference":
            if not part.file_name:
                raise _bad_part(f"content[{index}].file_name cannot be empty for file-reference.")
            return FileReferencePart(
                file_name=part.file_name,
                start_line=part.start_line or 0,
                end_line=part.end_line or 0,
                content=part.content or "",
            )
        case _:
            raise _bad_part(f'content[{index}].type "{part.type or ""}" is not supported.')


def _bad_part(detail: str) -> Exception:
    return bad_request("Invalid input part.", detail=detail)


def size_of(content: Sequence[Mapping[str, Any]]) -> int:
    """Return the bytes of the JSON form of stored parts."""
    return len(orjson.dumps(content))


def reference_text(part: Mapping[str, Any]) -> str:
    """Return a file reference as plain text: where it points, then a fenced copy."""
    start, end = part.get("start_line", 0), part.get("end_line", 0)
    lines = f"{start}" if start == end else f"{start}-{end}"
    head = f"[file-reference] {part.get('file_name', '')}:{lines}"
    body = str(part.get("content", ""))
    if not body.strip():
        return head
    return f"{head}\n```{part.get('file_name', '')}\n{body}\n```"


def initial_title(content: Sequence[Mapping[str, Any]]) -> str:
    """Return the first six words of the message, `…` when there are more, at most 80 characters."""
    texts = [_title_text(part) for part in content]
    words = " ".join(text for text in texts if text).replace("\x00", "").split()
    if not words:
        return "New Chat"
    title = " ".join(words[:MAX_TITLE_WORDS]) + ("…" if len(words) > MAX_TITLE_WORDS else "")
    return title[:MAX_INITIAL_TITLE]


def _title_text(part: Mapping[str, Any]) -> str:
    match part.get("type"):
        case "text":
            return str(part["text"])
        case "file-reference":
            return reference_text(part)
        case _:
            return ""


def check_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the labels. Raises ChatdError 400 with one validation per violation."""
    labels = labels or {}
    found = [f"too many labels: {len(labels)} (at most {MAX_LABELS})"] * (len(labels) > MAX_LABELS)
    for key, value in labels.items():
        found += _label_violations(key, value)
    if found:
        raise bad_request(
            "Invalid labels.", validations=[Validation("labels", detail) for detail in found]
        )
    return dict(labels)


def _label_violations(key: str, value: str) -> list[str]:
    found = []
    if not key:
        found.append("label key must not be empty")
    if len(key.encode()) > MAX_LABEL_KEY_BYTES:
        found.append(f'label key "{key}" exceeds {MAX_LABEL_KEY_BYTES} bytes')
    if key and not _LABEL_KEY.fullmatch(key):
        found.append(f'label key "{key}" has invalid characters')
    if not value:
        found.append(f'label value of "{key}" must not be empty')
    elif len(value.encode()) > MAX_LABEL_VALUE_BYTES:
        found.append(f'label value of "{key}" exceeds {MAX_LABEL_VALUE_BYTES} bytes')
    return found


def check_plan_mode(value: str) -> str | None:
    """Return the stored plan mode; the empty text is off. Raises ChatdError 400."""
    if value not in ("", PlanMode.PLAN):
        raise bad_request("Invalid plan_mode value.")
    return value or None


def check_dynamic_tools(tools: Sequence[DynamicTool] | None) -> list[dict[str, Any]]:
    """Return the tools as stored. Raises ChatdError 400."""
    tools = tools or []
    if len(tools) > MAX_DYNAMIC_TOOLS:
        raise bad_request(
            "Too many dynamic tools.", detail=f"Maximum {MAX_DYNAMIC_TOOLS} dynamic tools per chat."
        )
    seen: set[str] = set()
    for tool in tools:
        if not tool.name:
            raise bad_request("Dynamic tool name must not be empty.")
        if tool.name in seen:
            raise bad_request(
                "Duplicate dynamic tool name.",
                detail=f'Tool "{tool.name}" appears more than once.',
            )
        seen.add(tool.name)
    return [
        {
            "name": tool.name,
            "description": tool.description or "",
            "input_schema": tool.input_schema,
        }
        for tool in tools
    ]
