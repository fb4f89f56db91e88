"""What a model is told for a title, and which answers are titles."""

import pytest

from chatd.chats.models import ChatMessage, Role
from chatd.turns.title_text import MAX_MESSAGE, RULES, read_title, title_prompt


def user(words: str) -> ChatMessage:
    return ChatMessage(role=Role.USER, content=[{"type": "text", "text": words}])


def assistant(words: str) -> ChatMessage:
    return ChatMessage(role=Role.ASSISTANT, content=[{"type": "text", "text": words}])


# what is told


def test_one_question_is_all_that_is_told() -> None:
    prompt = title_prompt([user(" Why is the sky blue? "), assistant("It scatters.")])
    assert prompt is not None
    assert prompt.instructions == f"{RULES}\n\nThe user began with:\nWhy is the sky blue?"
    assert prompt.latest == "Why is the sky blue?"


def test_a_conversation_is_told_by_its_beginning_and_its_end() -> None:
    rows = [user("q1"), assistant("a1"), user("q2"), assistant("a2"), user("q3"), assistant("a3")]
    prompt = title_prompt(rows)
    assert prompt is not None
    assert prompt.instructions.removeprefix(RULES) == (
        "\n\nThe user began with:\nq1"
        "\n\nParts of the conversation:\nuser: q1\n[... 2 earlier turns omitted ...]"
        "\nassistant: a2\nuser: q3\nassistant: a3"
        "\n\nThe user wrote last:\nq3"
    )
    assert prompt.latest == "q3"


def test_a_short_conversation_is_told_whole_and_each_turn_once() -> None:
    prompt = title_prompt([assistant("hi"), user("q1"), user("q2")])
    assert prompt is not None
    assert "user: q1\nuser: q2\n\nThe user" in prompt.instructions
    assert "omitted" not in prompt.instructions


def test_a_question_asked_twice_is_not_told_as_the_latest() -> None:
    prompt = title_prompt([user("q1"), assistant("a1"), user("q1")])
    assert prompt is not None
    assert "wrote last" not in prompt.instructions


def test_what_is_told_has_bounds() -> None:
    prompt = title_prompt([user("a" * 9000), *[assistant("b" * 9000)] * 5, user("c" * 9000)])
    assert prompt is not None
    head, sample = prompt.instructions.split("Parts of the conversation:\n")
    sample, last = sample.split("\n\nThe user wrote last:\n")
    assert len(head) < len(RULES) + MAX_MESSAGE + 40
    assert 5000 < len(sample) < 6000
    assert len(last) == len(prompt.latest) == MAX_MESSAGE


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [assistant("hello")],
        [user("  ")],
        [ChatMessage(role=Role.USER, content=None)],
        [ChatMessage(role=Role.USER, content=[{"type": "file", "file_id": "x"}])],
        [ChatMessage(role=Role.TOOL, content=[{"type": "tool-result", "result": "x"}])],
    ],
)
def test_without_words_of_the_user_there_is_nothing_to_ask(rows: list[ChatMessage]) -> None:
    assert title_prompt(rows) is None


# what is answered


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Fix the parser", "Fix the parser"),
        ("  Fix\n the\tparser \n", "Fix the parser"),
        ('"Fix the parser"', "Fix the parser"),
        ("`Fix the parser`", "Fix the parser"),
        ("“Fix \u2018the\u2019 parser”", "Fix \u2018the\u2019 parser"),
        ('" Fix the parser "', "Fix the parser"),
        ("```Fix the parser```", "Fix the parser"),
        ("```\nFix the parser\n```", "Fix the parser"),
        ("Fix\x00 the\x1bparser", "Fix the parser"),
        ("one two three four five six seven eight", "one two three four five six seven eight"),
        ("w" * 100, "w" * 80),
        ("w" * 79 + " more", "w" * 79),
        ('{"title": "Fix the parser"}', "Fix the parser"),
        (' {"title":"\\"Fix  the parser\\"","why":1}\n', "Fix the parser"),
        ('```json\n{"title": "Fix the parser"}\n```', "Fix the parser"),
        ('```\r\n{"title": "Fix the parser"}\r\n```', "Fix the parser"),
    ],
)
def test_a_title_is_found_and_tidied(answer: str, title: str) -> None:
    assert read_title(answer) == title


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n ",
        '""',
        "one two three four five six seven eight nine",
        '{"title": "one two three four five six seven eight nine"}',
        '{"title": "cut of',
        '{"title": ""}',
        '{"title": 5}',
        '{"name": "Fix the parser"}',
        '{"title": "\\ud800"}',
        '{"a":' * 5000,
    ],
)
def test_what_is_no_title_is_none(answer: str) -> None:
    assert read_title(answer) == ""
