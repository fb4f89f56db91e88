"""Stored messages as the model gets them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chatd.chats.models import ChatFile, ChatMessage, Role
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    UserMessage,
)
from chatd.turns import attachments
from chatd.turns.attachments import MAX_INLINE_BYTES, load_files
from chatd.turns.prompt import MISSING_RESULT, prompt_from, user_instructions
from tests.conftest import Cast


def row(role: Role, *parts: dict[str, Any]) -> ChatMessage:
    return ChatMessage(role=role, content=list(parts))


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(call_id: str, name: str = "find", **fields: Any) -> dict[str, Any]:
    return {"type": "tool-call", "tool_call_id": call_id, "tool_name": name, **fields}


def result(call_id: str, value: Any, **fields: Any) -> dict[str, Any]:
    part = {"type": "tool-result", "tool_call_id": call_id, "tool_name": "find", "result": value}
    return part | fields


def prompt(*rows: ChatMessage, files: Any = None) -> list[Any]:
    return list(prompt_from(rows, files or {}))


pytestmark = pytest.mark.django_db


def test_messages_keep_their_order_and_roles() -> None:
    found = prompt(
        row(Role.SYSTEM, text("be kind")),
        row(Role.USER, text("hi")),
        row(Role.ASSISTANT, text("hello")),
    )
    assert found == [
        SystemMessage(text="be kind"),
        UserMessage(blocks=(TextBlock(text="hi"),)),
        AssistantMessage(blocks=(TextBlock(text="hello"),)),
    ]


def test_blank_texts_and_messages_without_content_are_left_out() -> None:
    assert prompt(row(Role.USER, text("  ")), row(Role.ASSISTANT), row(Role.SYSTEM)) == []


OPENING = (row(Role.SYSTEM, text("be kind")), row(Role.SYSTEM, text("no workspace")))
LATER = (row(Role.USER, text("hi")), row(Role.SYSTEM, text("a summary")))


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_inserts_stand_behind_the_texts_that_open_the_chat(before: int, after: int) -> None:
    rows = (*OPENING[:before], *LATER[:after])
    stored = list(prompt_from(rows, {}))
    found = list(prompt_from(rows, {}, [" one\n", "", "  ", "two"]))
    inserted = [SystemMessage(text="one"), SystemMessage(text="two")]
    assert found == [*stored[:before], *inserted, *stored[before:]]


def test_a_persons_instructions_are_marked_as_theirs() -> None:
    assert user_instructions(" be brief\n") == "<user-instructions>\nbe brief\n</user-instructions>"
    assert user_instructions(" \n") == ""


def test_a_call_and_its_result_are_paired() -> None:
    found = prompt(
        row(Role.ASSISTANT, call("a", args={"q": 1})), row(Role.TOOL, result("a", {"n": 2}))
    )
    (block,) = found[0].blocks
    assert block == ToolCallBlock(id="a", name="find", arguments='{"q": 1}')
    assert found[1].results[0].output == '{"n": 2}'


@pytest.mark.parametrize(
    ("value", "is_error", "output"),
    [
        ({"error": "no such file"}, True, "no such file"),
        ("plain", False, "plain"),
        (None, False, "{}"),
        ({"error": "not flagged"}, False, '{"error": "not flagged"}'),
    ],
)
def test_results_read_as_the_model_expects_them(value: Any, is_error: bool, output: str) -> None:
    found = prompt(
        row(Role.ASSISTANT, call("a")), row(Role.TOOL, result("a", value, is_error=is_error))
    )
    assert (found[1].results[0].output, found[1].results[0].is_error) == (output, is_error)


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    found = prompt(row(Role.ASSISTANT, call("a"), call("b")), row(Role.TOOL, result("b", 1)))
    assert [type(message) for message in found] == [AssistantMessage, ToolMessage, ToolMessage]
    (repaired,) = found[2].results
    assert (repaired.call_id, repaired.output, repaired.is_error) == ("a", MISSING_RESULT, True)


def test_a_result_without_its_call_is_not_sent() -> None:
    assert prompt(row(Role.TOOL, result("lost", 1))) == []


@pytest.mark.parametrize("args", [None, [1], "text", 3])
def test_arguments_that_are_no_object_become_an_empty_one(args: Any) -> None:
    found = prompt(row(Role.ASSISTANT, call("a", args=args)))
    assert found[0].blocks[0].arguments == "{}"


def test_a_file_reference_is_read_as_where_it_points_and_a_fenced_copy() -> None:
    part = {
        "type": "file-reference",
        "file_name": "a.py",
        "start_line": 1,
        "end_line": 3,
        "content": "x = 1",
    }
    (block,) = prompt(row(Role.USER, part))[0].blocks
    assert block.text == "[file-reference] a.py:1-3\n```a.py\nx = 1\n```"


@pytest.fixture
def stored(cast: Cast) -> Callable[..., ChatFile]:
    def store(body: bytes, mimetype: str, name: str = "file") -> ChatFile:
        return ChatFile.objects.create(
            owner=cast.alice,
            organization=cast.organization,
            data=body,
            mimetype=mimetype,
            name=name,
        )

    return store


def attached(*files: ChatFile) -> list[Any]:
    parts = [
        {"type": "file", "media_type": file.mimetype, "file_id": str(file.pk)} for file in files
    ]
    asked = row(Role.USER, text("look"), *parts)
    return prompt(asked, files=load_files([asked]))


def test_an_image_goes_to_the_model_as_bytes(stored: Callable[..., ChatFile]) -> None:
    found = attached(stored(b"png", "image/png", "a.png"))
    assert found[0].blocks[1] == FileBlock(media_type="image/png", data=b"png", name="a.png")


def test_a_text_file_is_inlined_and_cut_at_its_bound(stored: Callable[..., ChatFile]) -> None:
    found = attached(stored(b"a" * (MAX_INLINE_BYTES + 1), "text/csv", "t.csv"))
    block = found[0].blocks[1]
    assert block.text.startswith("[attached-file] t.csv\n\naaa")
    assert block.text.endswith("a\n[truncated]")


def test_pasted_text_is_marked_as_such(stored: Callable[..., ChatFile]) -> None:
    found = attached(stored(b"paste", "text/plain", "pasted-text-2026-01-02-03-04-05.txt"))
    assert found[0].blocks[1].text.startswith("[pasted-text]")


def test_an_empty_file_is_dropped_and_one_that_is_gone_is_named(
    stored: Callable[..., ChatFile],
) -> None:
    assert len(attached(stored(b"", "image/png"))[0].blocks) == 1
    part = {"type": "file", "media_type": "image/png", "file_id": str(uuid4())}
    (block,) = prompt(row(Role.USER, part))[0].blocks
    assert block.text.startswith("[missing-attachment]")
    assert "image/png" in block.text


def test_text_in_utf_16_is_read_as_what_it_says(stored: Callable[..., ChatFile]) -> None:
    found = attached(stored("h\u00e9llo".encode("utf-16"), "text/plain", "a.txt"))
    assert found[0].blocks[1].text == "[attached-file] a.txt\n\nh\u00e9llo"


def test_a_file_named_often_is_read_once(
    stored: Callable[..., ChatFile], django_assert_num_queries: Any
) -> None:
    file = stored(b"png", "image/png")
    with django_assert_num_queries(2):
        blocks = attached(*[file] * 50)[0].blocks
    assert len({id(block.data) for block in blocks[1:]}) == 1


def test_files_over_the_bound_of_a_prompt_leave_a_text_and_the_newest_stay(
    stored: Callable[..., ChatFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_PROMPT_FILE_BYTES", 5)
    old, new = stored(b"1234", "image/png"), stored(b"5678", "image/png")
    blocks = attached(old, new)[0].blocks
    assert blocks[1].text.startswith("[left-out-attachment]")
    assert blocks[2].data == b"5678"


def test_a_file_counts_as_often_as_it_is_sent(
    stored: Callable[..., ChatFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_PROMPT_FILE_BYTES", 11)
    once, often = stored(b"1234", "image/png"), stored(b"5678", "image/png")
    blocks = attached(once, often, often, often)[0].blocks[1:]
    assert [isinstance(block, FileBlock) for block in blocks] == [True, False, False, False]
    monkeypatch.setattr(attachments, "MAX_PROMPT_FILE_BYTES", 12)
    blocks = attached(once, often, often, often)[0].blocks[1:]
    assert [isinstance(block, FileBlock) for block in blocks] == [False, True, True, True]
