"""Message parts: the closed union that message content is made of, stored and on the wire.

A stored message is a JSON list of parts. Fields that only the engine needs are marked internal
and are stripped before a part leaves the process.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chatd.core.clock import now, rfc3339
from chatd.core.nesting import is_nested_too_deeply


class Part(Struct, tag_field="type", kw_only=True, omit_defaults=True, frozen=True):
    """Base of all parts; `type` on the wire is the tag of the subclass."""


class TextPart(Part, tag="text", frozen=True):
    text: str
    provider_metadata: Any = UNSET


class ReasoningPart(Part, tag="reasoning", frozen=True):
    """`created_at` and `completed_at`: RFC 3339 start and end of its stream."""

    text: str
    signature: str | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    provider_metadata: Any = UNSET


class ToolCallPart(Part, tag="tool-call", frozen=True):
    """`args` is any JSON value, absent when the model sent none that parses."""

    tool_call_id: str | UnsetType = UNSET
    tool_name: str | UnsetType = UNSET
    args: Any = UNSET
    args_delta: str | UnsetType = UNSET
    parsed_commands: list[list[str]] | UnsetType = UNSET
    mcp_server_config_id: str | UnsetType | None = UNSET
    provider_executed: bool | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    provider_metadata: Any = UNSET


class ToolResultPart(Part, tag="tool-result", frozen=True):
    """`result` is any JSON value; errors are `{"error": text}` or the text itself."""

    tool_call_id: str | UnsetType = UNSET
    tool_name: str | UnsetType = UNSET
    result: Any = UNSET
    result_delta: str | UnsetType = UNSET
    result_reset: bool | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET
    is_media: bool | UnsetType = UNSET
    mcp_server_config_id: str | UnsetType | None = UNSET
    provider_executed: bool | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    provider_metadata: Any = UNSET


class SourcePart(Part, tag="source", frozen=True):
    url: str
    source_id: str | UnsetType = UNSET
    title: str | UnsetType = UNSET


class FilePart(Part, tag="file", frozen=True):
    """`data` is base64 text and is dropped on the wire when `file_id` is set."""

    media_type: str
    name: str | UnsetType = UNSET
    data: str | UnsetType = UNSET
    file_id: str | UnsetType | None = UNSET
    created_at: str | UnsetType = UNSET


class FileReferencePart(Part, tag="file-reference", frozen=True):
    file_name: str
    start_line: int
    end_line: int
    content: str


class ContextFilePart(Part, tag="context-file", frozen=True):
    context_file_path: str
    context_file_truncated: bool | UnsetType = UNSET
    context_file_agent_id: str | UnsetType | None = UNSET
    context_file_content: str | UnsetType = UNSET
    context_file_os: str | UnsetType = UNSET
    context_file_directory: str | UnsetType = UNSET


class SkillPart(Part, tag="skill", frozen=True):
    skill_name: str
    skill_description: str | UnsetType = UNSET
    skill_dir: str | UnsetType = UNSET
    context_file_skill_meta_file: str | UnsetType = UNSET


AnyPart = (
    TextPart
    | ReasoningPart
    | ToolCallPart
    | ToolResultPart
    | SourcePart
    | FilePart
    | FileReferencePart
    | ContextFilePart
    | SkillPart
)

SUMMARY_TOOL = "chat_summarized"
"""What a compaction shows as: a call and a result of a tool that no model has."""

INTERNAL_FIELDS = frozenset(
    {
        "provider_metadata",
        "context_file_content",
        "context_file_os",
        "context_file_directory",
        "skill_dir",
        "context_file_skill_meta_file",
    }
)


def to_stored(parts: Iterable[AnyPart]) -> list[dict[str, Any]]:
    """Return the JSON form that is stored in a message's content."""
    return [msgspec.to_builtins(part) for part in parts]


def from_stored(content: Any) -> list[AnyPart]:
    """Return the typed parts of stored content. Raises msgspec.ValidationError when damaged."""
    return msgspec.convert(content or [], list[AnyPart])


def parsed_arguments(text: str) -> Any:
    """Return the arguments of a tool call; UNSET for what is not JSON, or nested too deeply.

    Strict: what JSON does not know (NaN, lone surrogates) could not be stored or shown again.
    """
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return UNSET
    return UNSET if is_nested_too_deeply(value) else value


def result_of(call: Mapping[str, Any], result: Any, **flags: Any) -> dict[str, Any]:
    """Return the stored result of a stored call, finished now; `flags` are fields of the part."""
    part = ToolResultPart(
        tool_call_id=call.get("tool_call_id", ""),
        tool_name=call.get("tool_name", ""),
        result=result,
        mcp_server_config_id=call.get("mcp_server_config_id") or UNSET,
        created_at=rfc3339(now()),
        **flags,
    )
    return to_stored([part])[0]


def error_result(call: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """Return the stored result of a call that was not carried out; `result` says why."""
    return result_of(call, result, is_error=True)


def is_of_compaction(part: Mapping[str, Any]) -> bool:
    """Tell whether a call or result, stored or streamed, is how a compaction shows itself."""
    call_id = str(part.get("tool_call_id", ""))
    return part.get("tool_name") == SUMMARY_TOOL and call_id.startswith(f"{SUMMARY_TOOL}_")


def public_part(stored: dict[str, Any]) -> dict[str, Any]:
    """Return one stored part without the fields that never leave the server."""
    public = {key: value for key, value in stored.items() if key not in INTERNAL_FIELDS}
    if public.get("file_id"):
        public.pop("data", None)
    return public


def public_parts(content: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return stored content as clients see it."""
    return [public_part(part) for part in content or []]


def text_of(content: Sequence[dict[str, Any]] | None) -> str:
    """Return the text parts of stored content, joined without a separator."""
    return "".join(
        str(part.get("text", "")) for part in content or [] if part.get("type") == "text"
    )


def has_context_file(content: Sequence[dict[str, Any]] | None) -> bool:
    """Tell whether stored content holds a file of a workspace."""
    return any(part.get("type") == "context-file" for part in content or [])


def searchable_text(content: Sequence[dict[str, Any]] | None) -> str:
    """Return what a search finds in stored content: texts, names of files, quoted lines."""
    return "\n".join(
        str(part[name])
        for part in content or []
        for name in _SEARCHABLE.get(str(part.get("type")), ())
        if part.get(name)
    )


_SEARCHABLE: Mapping[str, Sequence[str]] = {
    "text": ("text",),
    "file": ("name",),
    "file-reference": ("file_name", "content"),
}
