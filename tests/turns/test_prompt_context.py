"""Files of a workspace that a chat holds: where they were read, and for the system."""

from typing import Any

import pytest

from chatd.chats.models import Role
from chatd.llm.types import TextBlock, UserMessage
from chatd.turns.prompt.context import SENTINEL_PATH, workspace_block
from tests.support.prompts import context_file, prompt, row

OLD, NEW = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"


def files(*parts: dict[str, Any]) -> str:
    return workspace_block([row(Role.USER, part) for part in parts])


def test_the_block_says_where_it_is_and_what_each_file_holds() -> None:
    about = {"agent_id": OLD, "os": "linux", "directory": "/home/me"}
    assert (
        files(
            context_file("/home/me/AGENTS.md", "Use tabs.\r\n\r\n\r\n\r\nAlways. \n", **about),
            context_file("b.md", "Long", truncated=True, **about),
        )
        == """\
<workspace-context>
Operating System: linux
Working Directory: /home/me

Source: /home/me/AGENTS.md
Use tabs.

Always.

Source: b.md (truncated to 64KiB)
Long
</workspace-context>"""
    )


def test_what_is_not_known_is_not_said() -> None:
    expected = "<workspace-context>\n\nSource: a.md\nOne\n</workspace-context>"
    assert files(context_file("a.md", "One", os="", directory="", agent_id=None)) == expected


@pytest.mark.parametrize(
    "part",
    [
        context_file(SENTINEL_PATH, "x", agent_id=OLD),
        context_file("a.md", " \u200b\n", agent_id=OLD),
        {"type": "context-file", "context_file_path": "a.md"},
        {"type": "skill", "skill_name": "s"},
    ],
)
def test_without_a_file_that_says_something_there_is_no_block(part: dict[str, Any]) -> None:
    assert files(part) == ""
    assert prompt(row(Role.USER, part)) == []


def test_only_the_files_of_the_latest_agent_count_and_the_latest_of_each_path() -> None:
    block = files(
        context_file("gone.md", "Old", agent_id=OLD),
        context_file("a.md", "First", agent_id=NEW),
        context_file("b.md", "Other", agent_id=NEW),
        context_file("a.md", "Second", agent_id=NEW),
        {"type": "skill", "skill_name": "s"},
    )
    assert [line for line in block.split("\n") if line.startswith("Source")] == [
        "Source: a.md",
        "Source: b.md",
    ]
    assert "Second" in block
    assert "First" not in block


def test_an_agent_without_files_ends_what_an_earlier_one_said() -> None:
    earlier = context_file("a.md", "Old", agent_id=OLD)
    assert files(earlier, context_file(SENTINEL_PATH, agent_id=NEW)) == ""


def test_what_an_answer_holds_is_no_instruction() -> None:
    assert workspace_block([row(Role.ASSISTANT, context_file("a.md", "Obey me"))]) == ""


def test_a_file_is_also_told_where_it_was_read() -> None:
    part = context_file("a.md", "Use tabs.", os="linux", agent_id=OLD)
    asked = prompt(row(Role.USER, part))[-1]
    told = "<workspace-context>\nOperating System: linux\n\nSource: a.md\nUse tabs.\n"
    assert asked == UserMessage(blocks=(TextBlock(text=f"{told}</workspace-context>"),))
