"""Parts: typed, stored, and shown without what only the engine needs."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.parts import (
    AnyPart,
    ContextFilePart,
    FilePart,
    FileReferencePart,
    ReasoningPart,
    SkillPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    from_stored,
    parsed_arguments,
    public_part,
    public_parts,
    text_of,
    to_stored,
)

PARTS: list[tuple[AnyPart, dict[str, Any]]] = [
    (TextPart(text="a"), {"type": "text", "text": "a"}),
    (ReasoningPart(text=""), {"type": "reasoning", "text": ""}),
    (
        ToolCallPart(tool_call_id="c", tool_name="t", args=None),
        {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": None},
    ),
    (ToolCallPart(tool_call_id="c"), {"type": "tool-call", "tool_call_id": "c"}),
    (
        ToolResultPart(tool_call_id="c", result={"a": [1]}, is_error=True),
        {"type": "tool-result", "tool_call_id": "c", "result": {"a": [1]}, "is_error": True},
    ),
    (SourcePart(url="https://a"), {"type": "source", "url": "https://a"}),
    (FilePart(media_type="image/png"), {"type": "file", "media_type": "image/png"}),
    (
        FileReferencePart(file_name="a", start_line=0, end_line=0, content=""),
        {"type": "file-reference", "file_name": "a", "start_line": 0, "end_line": 0, "content": ""},
    ),
    (ContextFilePart(context_file_path="/a"), {"type": "context-file", "context_file_path": "/a"}),
    (SkillPart(skill_name="s"), {"type": "skill", "skill_name": "s"}),
]


@pytest.mark.parametrize(("part", "stored"), PARTS, ids=lambda value: type(value).__name__)
def test_a_part_is_stored_with_its_type_and_without_what_is_unset(
    part: AnyPart, stored: dict[str, Any]
) -> None:
    assert to_stored([part]) == [stored]
    assert from_stored([stored]) == [part]


def test_every_kind_of_part_is_in_the_table() -> None:
    assert {type(part) for part, _ in PARTS} == set(AnyPart.__args__)


@pytest.mark.parametrize("damaged", [[{"type": "unknown"}], [{"text": "a"}], [{"type": "text"}]])
def test_damaged_content_is_told_from_good(damaged: list[dict[str, Any]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        from_stored(damaged)


def test_no_content_has_no_parts() -> None:
    assert from_stored(None) == []
    assert public_parts(None) == []
    assert text_of(None) == ""


@pytest.mark.parametrize(
    "internal",
    [
        "provider_metadata",
        "context_file_content",
        "context_file_os",
        "context_file_directory",
        "skill_dir",
        "context_file_skill_meta_file",
    ],
)
def test_what_only_the_engine_needs_never_leaves(internal: str) -> None:
    stored = {"type": "text", "text": "a", internal: "secret"}
    assert public_part(stored) == {"type": "text", "text": "a"}
    assert internal in stored, "the stored part keeps it"


def test_the_bytes_of_a_file_leave_only_when_it_has_no_id() -> None:
    part = {"type": "file", "media_type": "image/png", "data": "AAAA"}
    assert public_part(part) == part
    assert public_part(part | {"file_id": None}) == part | {"file_id": None}
    assert public_part(part | {"file_id": "x"}) == {
        "type": "file",
        "media_type": "image/png",
        "file_id": "x",
    }


def test_the_text_of_content_is_its_text_parts_and_nothing_between() -> None:
    content = [
        {"type": "text", "text": "a "},
        {"type": "reasoning", "text": "hidden"},
        {"type": "text", "text": "b"},
    ]
    assert text_of(content) == "a b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        ("null", None),
        ("[1, 18446744073709551616]", [1, 18446744073709551616]),
        ('{"a": "\\u0000"}', {"a": "\x00"}),
        ("[" * 101 + "]" * 101, UNSET),
        ("", UNSET),
        ("{", UNSET),
        ("NaN", UNSET),
        ("-Infinity", UNSET),
        ("1e999", UNSET),
        ('"\\ud800"', UNSET),
        ("[" * 100_000, UNSET),
    ],
    ids=lambda value: str(value)[:12],
)
def test_arguments_are_json_that_can_be_stored_and_shown_or_nothing(text: str, value: Any) -> None:
    assert parsed_arguments(text) == value


def test_arguments_may_be_nested_a_hundred_levels() -> None:
    text = "[" * 100 + "]" * 100
    assert msgspec.json.encode(parsed_arguments(text)) == text.encode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    ["\x00", "a\x00b", "\ue000", "\ue000\ue001", "\ue000\x00\ue000", "\ue001\x00", "\U0010ffff"],
    ids=ascii,
)
def test_any_character_survives_the_database(words: str, new_chat: Callable[..., Chat]) -> None:
    chat = new_chat(labels={"a": words})
    content = [
        {"type": "text", "text": words},
        {"type": "tool-call", "args": {words: [words, {"deep": words}]}},
    ]
    row = ChatMessage.objects.create(chat=chat, revision=1, role=Role.USER, content=content)
    row.refresh_from_db()
    assert row.content == content
    assert ChatMessage.objects.filter(pk=row.pk).values("content").get()["content"] == content
    assert Chat.objects.get(pk=chat.pk).labels == {"a": words}
