"""The order of a prompt, and what is inserted into it."""

import pytest

from chatd.chats.models import Role
from chatd.llm.types import AssistantMessage, SystemMessage, TextBlock, UserMessage
from chatd.turns.prompt import prompt_from, user_instructions
from chatd.turns.prompt.assembly import PLAN_PATH_PLACEHOLDER
from tests.support.prompts import context_file, prompt, row, text

OPENING = (row(Role.SYSTEM, text("be kind")), row(Role.SYSTEM, text("no workspace")))
LATER = (row(Role.USER, text("hi")), row(Role.SYSTEM, text("a remark")))


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


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_inserts_stand_behind_the_texts_that_open_the_chat(before: int, after: int) -> None:
    rows = (*OPENING[:before], *LATER[:after])
    stored = list(prompt_from(rows, {}))
    found = list(prompt_from(rows, {}, [" one\n", "", "  ", "two"]))
    inserted = [SystemMessage(text="one"), SystemMessage(text="two")]
    assert found == [*stored[:before], *inserted, *stored[before:]]


def test_files_of_a_workspace_stand_before_what_a_person_wants() -> None:
    rows = (*OPENING, row(Role.USER, context_file("a.md", "Use tabs.")))
    first, second, block, wanted, asked = prompt_from(rows, {}, ["mine"])
    assert [first, second] == prompt(*OPENING)
    assert isinstance(block, SystemMessage)
    assert "Use tabs." in block.text
    assert wanted == SystemMessage(text="mine")
    assert isinstance(asked, UserMessage)


def test_a_persons_instructions_are_marked_as_theirs() -> None:
    assert user_instructions(" be brief\n") == "<user-instructions>\nbe brief\n</user-instructions>"
    assert user_instructions(" \n") == ""


def test_the_mark_of_a_plan_path_reaches_no_model() -> None:
    rows = [
        row(Role.SYSTEM, text(f"a {PLAN_PATH_PLACEHOLDER}b")),
        row(Role.SYSTEM, text(PLAN_PATH_PLACEHOLDER)),
        row(Role.USER, text(PLAN_PATH_PLACEHOLDER)),
    ]
    found = list(prompt_from(rows, {}, [f"{PLAN_PATH_PLACEHOLDER} c"]))
    assert [each.text for each in found[:-1] if isinstance(each, SystemMessage)] == ["a b", " c"]
    assert found[-1] == UserMessage(blocks=(TextBlock(text=PLAN_PATH_PLACEHOLDER),))


def test_a_summary_stands_behind_the_system_messages_and_before_what_followed_it() -> None:
    found = prompt(
        row(Role.SYSTEM, text("be kind")),
        row(Role.USER, context_file("a.md", "Use tabs.")),
        row(Role.USER, text("so far"), is_summary=True),
        row(Role.ASSISTANT, text("and on")),
    )
    assert isinstance(found[1], SystemMessage)
    assert "Use tabs." in found[1].text
    assert [found[0], *found[2:]] == [
        SystemMessage(text="be kind"),
        UserMessage(blocks=(TextBlock(text="so far"),)),
        AssistantMessage(blocks=(TextBlock(text="and on"),)),
    ]
