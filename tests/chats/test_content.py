"""What people send: parts, labels, titles, tools. Refused with the contract's words."""

from uuid import uuid4

import pytest

from chatd.chats.content import (
    NIL_UUID,
    DynamicTool,
    InputPart,
    check_dynamic_tools,
    check_labels,
    initial_title,
    parse_content,
    reference_text,
    size_of,
)
from chatd.core.errors import ChatdError, ErrorCode


def refusal(call: object, *arguments: object) -> tuple[str, str]:
    with pytest.raises(ChatdError) as refused:
        call(*arguments)  # type: ignore[operator]
    assert refused.value.code is ErrorCode.BAD_REQUEST
    return refused.value.message, refused.value.detail


# parts


@pytest.mark.parametrize("parts", [None, []])
def test_a_message_without_parts_is_refused(parts: list[InputPart] | None) -> None:
    assert refusal(parse_content, parts) == ("Content is required.", "Content cannot be empty.")


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (InputPart(type="text", text=" \n"), ".text cannot be empty."),
        (InputPart(type="text"), ".text cannot be empty."),
        (InputPart(type="file"), ".file_id is required for file parts."),
        (InputPart(type="file", file_id=NIL_UUID), ".file_id is required for file parts."),
        (
            InputPart(type="file", file_id=uuid4()),
            ".file_id references a file that does not exist.",
        ),
        (InputPart(type="file-reference"), ".file_name cannot be empty for file-reference."),
        (
            InputPart(type="file-reference", file_name=""),
            ".file_name cannot be empty for file-reference.",
        ),
        (InputPart(type="Video "), '.type "Video " is not supported.'),
        (InputPart(), '.type "" is not supported.'),
        (InputPart(type="tool-call"), '.type "tool-call" is not supported.'),
    ],
)
def test_a_part_is_refused_by_its_place(part: InputPart, problem: str) -> None:
    good = InputPart(type="text", text="fine")
    assert refusal(parse_content, [good, part]) == ("Invalid input part.", f"content[1]{problem}")


def test_a_text_is_trimmed_and_the_kind_is_read_leniently() -> None:
    assert parse_content([InputPart(type=" TEXT", text="  a b\n", file_id=NIL_UUID)]) == [
        {"type": "text", "text": "a b"}
    ]


def test_a_file_reference_keeps_numbers_that_make_no_sense_and_an_empty_copy() -> None:
    part = InputPart(type="file-reference", file_name="a.py", start_line=9, end_line=-1)
    assert parse_content([part]) == [
        {
            "type": "file-reference",
            "file_name": "a.py",
            "start_line": 9,
            "end_line": -1,
            "content": "",
        }
    ]


def test_the_order_of_parts_is_kept() -> None:
    parts = [
        InputPart(type="text", text="1"),
        InputPart(type="file-reference", file_name="a"),
        InputPart(type="text", text="2"),
    ]
    assert [part["type"] for part in parse_content(parts)] == ["text", "file-reference", "text"]


def test_the_size_of_content_is_the_bytes_of_its_json() -> None:
    content = [{"type": "text", "text": "ä"}]
    assert size_of(content) == len('[{"type":"text","text":"ä"}]'.encode())


# titles


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("one two three four five six", "one two three four five six"),
        ("one two three four five six seven", "one two three four five six…"),
        ("  spaced \n\t out  ", "spaced out"),
        ("a\x00b \x00 c", "ab c"),
        ("\x00", "New Chat"),
        ("x" * 100, "x" * 80),
        (" ".join(["y" * 15] * 7), ("y" * 15 + " ") * 5),
    ],
)
def test_a_title_is_the_first_words_of_the_message(words: str, title: str) -> None:
    found = initial_title([{"type": "text", "text": words}])
    assert found == title
    assert len(found) <= 80


def test_a_title_takes_all_texts_and_references_in_order() -> None:
    reference = {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2}
    content = [{"type": "text", "text": "look at"}, reference, {"type": "text", "text": "please"}]
    assert initial_title(content) == "look at [file-reference] a.py:1-2 please"


def test_a_message_of_files_alone_has_the_default_title() -> None:
    assert initial_title([{"type": "file", "file_id": "x"}]) == "New Chat"


@pytest.mark.parametrize(
    ("start", "end", "body", "expected"),
    [
        (3, 3, "", "[file-reference] a.py:3"),
        (3, 5, " \n", "[file-reference] a.py:3-5"),
        (3, 5, "x = 1", "[file-reference] a.py:3-5\n```a.py\nx = 1\n```"),
    ],
)
def test_a_reference_as_text_says_where_and_copies_what(
    start: int, end: int, body: str, expected: str
) -> None:
    part = {"file_name": "a.py", "start_line": start, "end_line": end, "content": body}
    assert reference_text(part) == expected


# labels


def test_labels_at_the_bounds_pass() -> None:
    labels = {f"k{number}": "v" for number in range(48)}
    labels |= {"a" + "b" * 63: "ä" * 128, "9.a_b/c-D": "v"}
    assert check_labels(labels) == labels
    assert check_labels(None) == {}


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        ({"": "v"}, 1),
        ({"a" * 65: "v"}, 1),
        ({"-a": "v"}, 1),
        ({"a b": "v"}, 1),
        ({"a\n": "v"}, 1),
        ({"ä": "v"}, 1),
        ({"a": ""}, 1),
        ({"a": "ä" * 129}, 1),
        ({"": ""}, 2),
        ({" " * 65: ""}, 3),
        ({"a b": "v", "c d": "v"}, 2),
        ({f"k{number}": "v" for number in range(51)}, 1),
    ],
)
def test_each_violation_of_the_label_rules_is_an_entry_of_its_own(
    labels: dict[str, str], count: int
) -> None:
    with pytest.raises(ChatdError) as refused:
        check_labels(labels)
    assert refused.value.message == "Invalid labels."
    assert [entry.field for entry in refused.value.validations] == ["labels"] * count
    assert len({entry.detail for entry in refused.value.validations}) == count


# tools


def test_a_tool_is_stored_with_its_schema_as_given() -> None:
    schema = {"type": "object", "x-anything": [1, None]}
    assert check_dynamic_tools([DynamicTool(name="a", input_schema=schema)]) == [
        {"name": "a", "description": "", "input_schema": schema}
    ]
    assert check_dynamic_tools(None) == []


def test_250_tools_pass_and_one_more_does_not() -> None:
    tools = [DynamicTool(name=f"t{number}") for number in range(251)]
    assert len(check_dynamic_tools(tools[:250])) == 250
    assert refusal(check_dynamic_tools, tools) == (
        "Too many dynamic tools.",
        "Maximum 250 dynamic tools per chat.",
    )


@pytest.mark.parametrize("name", [None, ""])
def test_a_tool_without_a_name_is_refused(name: str | None) -> None:
    assert refusal(check_dynamic_tools, [DynamicTool(name=name)]) == (
        "Dynamic tool name must not be empty.",
        "",
    )


def test_two_tools_of_one_name_are_refused() -> None:
    assert refusal(check_dynamic_tools, [DynamicTool(name="x"), DynamicTool(name="x")]) == (
        "Duplicate dynamic tool name.",
        'Tool "x" appears more than once.',
    )
