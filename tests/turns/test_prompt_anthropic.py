"""What Anthropic refuses in a history is taken out, and nothing else."""

from typing import Any

import pytest

from chatd.llm.types import (
    AssistantMessage,
    Message,
    ReasoningBlock,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)
from chatd.turns.prompt import sanitised, sanitised_content
from tests.support import prompts

SIGNED = ReasoningBlock(text="hm", provider_metadata={"anthropic": {"signature": "s"}})
TEXT = TextBlock(text="So.")
USER = UserMessage(blocks=(TextBlock(text="Hi"),))
LOCAL = ToolCallBlock(id="c1", name="find", arguments="{}")


def call(call_id: str) -> ToolCallBlock:
    return ToolCallBlock(id=call_id, name="web_search", arguments="{}", provider_executed=True)


def result(call_id: str) -> ToolResultBlock:
    return ToolResultBlock(call_id=call_id, name="web_search", output="", provider_executed=True)


@pytest.mark.parametrize(
    ("blocks", "kept"),
    [
        ((SIGNED, call("a"), result("a"), TEXT), (SIGNED, call("a"), result("a"), TEXT)),
        ((SIGNED, call("a"), TEXT, LOCAL), (SIGNED, TEXT, LOCAL)),
        ((result("a"), TEXT), (TEXT,)),
        ((result("a"), call("a"), TEXT), (TEXT,)),
        ((call("a"), call("b"), result("b"), result("c")), (call("b"), result("b"))),
        ((call("a"), result("a"), result("a")), (call("a"), result("a"))),
        ((call("a"),), None),
        ((TEXT, LOCAL), (TEXT, LOCAL)),
    ],
)
def test_calls_of_the_provider_stay_with_their_results_alone(blocks: Any, kept: Any) -> None:
    expected: list[Message] = [USER]
    expected += [AssistantMessage(blocks=kept)] if kept else []
    tool = ToolMessage(results=(ToolResultBlock(call_id="c1", name="find", output="x"),))
    assert sanitised([USER, AssistantMessage(blocks=blocks), tool]) == (*expected, tool)


def test_the_same_holds_for_what_is_about_to_be_stored() -> None:
    signed = prompts.reasoning("hm", provider_metadata={"anthropic": {"signature": "s"}})
    answered = [
        prompts.call("a", "web_search", provider_executed=True),
        prompts.result("a", {}, provider_executed=True),
    ]
    local = prompts.call("c1")
    kept = [signed, *answered, prompts.text("So."), local]
    lost = prompts.call("b", "web_search", provider_executed=True)
    orphan = prompts.result("d", {}, provider_executed=True)
    assert sanitised_content([*kept[:3], lost, *kept[3:], orphan]) == kept
