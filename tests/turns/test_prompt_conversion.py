"""Parts of stored messages as blocks of a request."""

import base64
from typing import Any

import pytest

from chatd.chats.models import Role
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    ReasoningBlock,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)
from chatd.turns.prompt.results import CORRUPTED_MEDIA
from tests.support.prompts import call, context_file, prompt, reasoning, result, row, text

SIGNED = {"anthropic": {"signature": "c2lnbmVk"}}
PNG = base64.b64encode(b"png").decode()


def user_blocks(*parts: dict[str, Any]) -> tuple[Any, ...]:
    (found,) = prompt(row(Role.USER, *parts))
    assert isinstance(found, UserMessage)
    return found.blocks


def answer_blocks(*parts: dict[str, Any]) -> tuple[Any, ...]:
    found = prompt(row(Role.ASSISTANT, *parts))[0]
    assert isinstance(found, AssistantMessage)
    return found.blocks


def result_of(value: Any, **fields: Any) -> ToolResultBlock:
    rows = row(Role.ASSISTANT, call("a")), row(Role.TOOL, result("a", value, **fields))
    found = prompt(*rows)[1]
    assert isinstance(found, ToolMessage)
    return found.results[0]


# messages


def test_blank_texts_and_messages_without_content_are_left_out() -> None:
    empty = [row(role) for role in Role]
    blank = [row(role, text(" \n")) for role in (Role.USER, Role.ASSISTANT, Role.SYSTEM)]
    assert prompt(*empty, *blank) == []


def test_a_system_message_is_its_first_part() -> None:
    assert prompt(row(Role.SYSTEM, text(" one "), text("two"))) == [SystemMessage(text=" one ")]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "skill", "skill_name": "s", "skill_description": "d"},
        {"type": "source", "url": "https://example.com"},
        context_file("a.md"),
        context_file("a.md", " \n"),
        {"type": "of-a-later-version"},
    ],
    ids=lambda part: str(part["type"]),
)
def test_a_message_of_parts_that_are_not_for_the_model_is_left_out(part: dict[str, Any]) -> None:
    assert prompt(row(Role.USER, part), row(Role.ASSISTANT, part)) == []


@pytest.mark.parametrize(
    ("start", "end", "content", "expected"),
    [
        (1, 3, "x = 1", "[file-reference] a.py:1-3\n```a.py\nx = 1\n```"),
        (2, 2, "x = 1", "[file-reference] a.py:2\n```a.py\nx = 1\n```"),
        (1, 3, " \n", "[file-reference] a.py:1-3"),
    ],
)
def test_a_file_reference_is_read_as_where_it_points_and_a_fenced_copy(
    start: int, end: int, content: str, expected: str
) -> None:
    part = {
        "type": "file-reference",
        "file_name": "a.py",
        "start_line": start,
        "end_line": end,
        "content": content,
    }
    assert user_blocks(part) == (TextBlock(text=expected),)


# answers


def test_what_a_provider_wants_back_stays_with_each_block() -> None:
    blocks = answer_blocks(
        reasoning("hm", provider_metadata=SIGNED),
        text("so", provider_metadata={"google": {"thought_signature": "x"}}),
        call("a", provider_metadata={"openai": {"item_id": "fc_1"}}),
    )
    assert [block.provider_metadata for block in blocks] == [
        SIGNED,
        {"google": {"thought_signature": "x"}},
        {"openai": {"item_id": "fc_1"}},
    ]
    found = result_of(1, provider_metadata={"openai": {"item_id": "fco_1"}})
    assert found.provider_metadata == {"openai": {"item_id": "fco_1"}}


@pytest.mark.parametrize("damaged", [None, [], "text", {}, {"openai": "text"}])
def test_metadata_that_is_no_sections_counts_as_none(damaged: Any) -> None:
    assert answer_blocks(text("so", provider_metadata=damaged))[0].provider_metadata is None


@pytest.mark.parametrize(
    ("words", "metadata", "is_kept"),
    [
        ("hm", None, True),
        ("hm", {"openai": {"item_id": "rs_1", "encrypted_content": "e"}}, True),
        ("", SIGNED, True),
        (" \n", {"anthropic": {"redacted_data": "r"}}, True),
        ("", None, False),
        ("", {"anthropic": {"signature": "", "redacted_data": ""}}, False),
        ("", {"openai": {"item_id": "rs_1"}}, True),
        ("", {"openai": {"encrypted_content": "e"}}, True),
        ("", {"openai": {"item_id": "", "encrypted_content": ""}}, False),
        ("", {"google": {"item_id": "rs_1"}}, False),
    ],
)
def test_reasoning_is_kept_for_its_text_or_for_what_its_provider_wants_back(
    words: str, metadata: Any, is_kept: bool
) -> None:
    part = reasoning(words, provider_metadata=metadata)
    kept = (ReasoningBlock(text=words, provider_metadata=metadata),) if is_kept else ()
    assert answer_blocks(part, text("so")) == (*kept, TextBlock(text="so"))


@pytest.mark.parametrize("response_id", [None, ""])
def test_items_of_an_answer_that_came_to_no_end_are_not_known_by_their_ids(
    response_id: str | None,
) -> None:
    section = {"item_id": "rs_1", "encrypted_content": "e"}
    parts = (
        reasoning("", provider_metadata={"openai": section, "google": {"item_id": "x"}}),
        reasoning("", provider_metadata={"openai": {"item_id": "rs_2"}}),
        call("a", provider_metadata={"openai": {"item_id": "fc_1"}}),
    )
    [message, _] = prompt(row(Role.ASSISTANT, *parts, provider_response_id=response_id))
    assert isinstance(message, AssistantMessage)
    assert [getattr(block, "provider_metadata", None) for block in message.blocks] == [
        {"openai": {"encrypted_content": "e"}, "google": {"item_id": "x"}},
        {"openai": {}},
    ]
    assert parts[2]["provider_metadata"] == {"openai": {"item_id": "fc_1"}}


def test_a_call_and_its_result_are_paired() -> None:
    found = prompt(
        row(Role.ASSISTANT, call("a", args={"q": 1, "ä": [None]})),
        row(Role.TOOL, result("a", {"n": 2})),
    )
    assert found == [
        AssistantMessage(
            blocks=(ToolCallBlock(id="a", name="find", arguments='{"q":1,"ä":[null]}'),)
        ),
        ToolMessage(results=(ToolResultBlock(call_id="a", name="find", output='{"n":2}'),)),
    ]


@pytest.mark.parametrize("args", [None, [1], "text", 3])
def test_arguments_that_are_no_object_become_an_empty_one(args: Any) -> None:
    assert answer_blocks(call("a", args=args))[0].arguments == "{}"
    assert answer_blocks(call("a"))[0].arguments == "{}"


def test_ids_are_made_of_what_providers_take_in_calls_and_results_alike() -> None:
    given = "chatcmpl.tool:7/ä b"
    found = prompt(row(Role.ASSISTANT, call(given)), row(Role.TOOL, result(given, 1)))
    assert found == [
        AssistantMessage(
            blocks=(ToolCallBlock(id="chatcmpl_tool_7___b", name="find", arguments="{}"),)
        ),
        ToolMessage(
            results=(ToolResultBlock(call_id="chatcmpl_tool_7___b", name="find", output="1"),)
        ),
    ]


def test_attachments_of_tools_are_not_sent_again_but_files_with_bytes_are() -> None:
    blocks = answer_blocks(
        {"type": "file", "media_type": "image/png", "file_id": "f" * 32},
        {"type": "file", "media_type": "image/png", "data": "not base64!"},
        {"type": "file", "media_type": "image/png", "data": PNG, "name": "a.png"},
    )
    assert blocks == (FileBlock(media_type="image/png", data=b"png", name="a.png"),)


# results


@pytest.mark.parametrize(
    ("value", "is_error", "output"),
    [
        ("plain", False, "plain"),
        ({"output": "x"}, False, '{"output":"x"}'),
        ([1, None, "ä"], False, '[1,null,"ä"]'),
        (0, False, "0"),
        (False, False, "false"),
        (None, False, "{}"),
        ("", False, "{}"),
        ({}, False, "{}"),
        ({"error": "not flagged"}, False, '{"error":"not flagged"}'),
        ({"error": "no such file"}, True, "no such file"),
        ({"error": "no such file", "code": 2}, True, "no such file"),
        ({"error": {"code": 2}}, True, '{"error":{"code":2}}'),
        ({"error": ""}, True, '{"error":""}'),
        ("it broke", True, "it broke"),
        (None, True, "{}"),
    ],
)
def test_results_read_as_the_model_expects_them(value: Any, is_error: bool, output: str) -> None:
    found = result_of(value, is_error=is_error)
    assert (found.output, found.is_error, found.media) == (output, is_error, None)


def test_a_result_that_was_never_stored_is_an_empty_object() -> None:
    part = result("a", None)
    del part["result"]
    found = prompt(row(Role.ASSISTANT, call("a")), row(Role.TOOL, part))[1]
    assert isinstance(found, ToolMessage)
    assert found.results[0].output == "{}"


@pytest.mark.parametrize(
    ("value", "output", "data"),
    [
        ({"data": PNG, "mime_type": "image/png", "text": "a screen"}, "a screen", b"png"),
        ({"data": PNG, "mime_type": "image/png"}, "", b"png"),
        ({"data": PNG[:-1], "mime_type": "image/png", "text": "a screen"}, "a screen", None),
        ({"data": "!", "mime_type": "image/png", "text": ""}, CORRUPTED_MEDIA, None),
        ({"data": "", "mime_type": "image/png"}, CORRUPTED_MEDIA, None),
        ({"data": 7, "text": 8}, CORRUPTED_MEDIA, None),
        (None, CORRUPTED_MEDIA, None),
        ("text", CORRUPTED_MEDIA, None),
    ],
)
def test_media_is_bytes_else_its_text_else_a_text_that_says_so(
    value: Any, output: str, data: bytes | None
) -> None:
    found = result_of(value, is_media=True)
    media = None if data is None else FileBlock(media_type="image/png", data=data)
    assert (found.output, found.media) == (output, media)


def test_an_error_of_a_tool_for_media_is_an_error() -> None:
    found = result_of({"error": "no screen"}, is_media=True, is_error=True)
    assert (found.output, found.media, found.is_error) == ("no screen", None, True)
