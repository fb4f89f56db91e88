"""Calls and results in pairs, whatever the history holds."""

from collections import Counter
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.llm.types import (
    AssistantMessage,
    Message,
    Provider,
    ReasoningBlock,
    Request,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)
from chatd.llm.wires.openai_chat.request import encode
from chatd.turns.prompt import MISSING_RESULT
from tests.support.prompts import call, prompt, reasoning, result, row, text

EXECUTED = {"provider_executed": True}


def made(call_id: str, name: str = "find", *, executed: bool = False) -> ToolCallBlock:
    return ToolCallBlock(id=call_id, name=name, arguments="{}", provider_executed=executed)


def got(
    call_id: str, output: str, name: str = "find", *, executed: bool = False
) -> ToolResultBlock:
    return ToolResultBlock(call_id=call_id, name=name, output=output, provider_executed=executed)


def missing(call_id: str, name: str = "find") -> ToolResultBlock:
    return ToolResultBlock(call_id=call_id, name=name, output=MISSING_RESULT, is_error=True)


def answer(*blocks: Any) -> AssistantMessage:
    return AssistantMessage(blocks=blocks)


def results(*blocks: ToolResultBlock) -> ToolMessage:
    return ToolMessage(results=blocks)


HI = row(Role.USER, text("hi"))
SAID_HI = UserMessage(blocks=(TextBlock(text="hi"),))


# calls without results


def test_a_call_without_a_result_gets_one_that_says_so_behind_those_that_came() -> None:
    found = prompt(
        row(Role.ASSISTANT, call("a"), call("b"), call("c")), row(Role.TOOL, result("b", 1)), HI
    )
    assert found == [
        answer(made("a"), made("b"), made("c")),
        results(got("b", "1")),
        results(missing("a"), missing("c")),
        SAID_HI,
    ]


def test_a_result_that_came_after_the_next_message_is_kept_with_a_call_of_its_own() -> None:
    found = prompt(row(Role.ASSISTANT, call("a")), HI, row(Role.TOOL, result("a", 1)))
    assert found == [
        answer(made("a")),
        results(missing("a")),
        SAID_HI,
        answer(made("a")),
        results(got("a", "1")),
    ]


def test_calls_of_a_provider_are_never_answered_here() -> None:
    assert prompt(row(Role.ASSISTANT, call("w", **EXECUTED))) == [answer(made("w", executed=True))]


# results without calls


def test_a_result_without_its_call_gets_a_call_without_arguments() -> None:
    assert prompt(HI, row(Role.TOOL, result("lost", 1))) == [
        SAID_HI,
        answer(made("lost")),
        results(got("lost", "1")),
    ]


def test_lost_results_do_not_stand_between_a_call_and_its_result() -> None:
    found = prompt(
        row(Role.ASSISTANT, call("a"), call("b")),
        row(Role.TOOL, result("a", 1)),
        row(Role.TOOL, result("lost", 2)),
        row(Role.TOOL, result("b", 3)),
        row(Role.TOOL, result("lost too", 4)),
    )
    assert found == [
        answer(made("a"), made("b")),
        results(got("a", "1"), got("b", "3")),
        answer(made("lost"), made("lost_too")),
        results(got("lost", "2"), got("lost_too", "4")),
    ]


def test_a_lost_result_without_a_name_has_that_of_an_earlier_call() -> None:
    unnamed = result("a", 1)
    del unnamed["tool_name"]
    found = prompt(row(Role.ASSISTANT, call("a", "search")), HI, row(Role.TOOL, unnamed))
    assert found[-2:] == [answer(made("a", "search")), results(got("a", "1", "search"))]
    assert prompt(row(Role.TOOL, unnamed)) == [
        answer(made("a", "unknown")),
        results(got("a", "1", "unknown")),
    ]


def test_of_two_lost_results_with_one_id_the_first_counts() -> None:
    found = prompt(row(Role.TOOL, result("lost", 1), result("lost", 2)))
    assert found == [answer(made("lost")), results(got("lost", "1"))]


def test_results_of_a_provider_without_their_call_are_left_out() -> None:
    lost = result("w", 1, **EXECUTED)
    assert prompt(row(Role.ASSISTANT, lost), row(Role.TOOL, lost)) == []
    assert prompt(row(Role.ASSISTANT, text("so"), lost)) == [answer(TextBlock(text="so"))]


def test_results_of_a_provider_stand_behind_their_call_in_the_answer() -> None:
    in_answer = prompt(
        row(Role.ASSISTANT, call("w", **EXECUTED), result("w", 1, **EXECUTED), text("so"))
    )
    pair = made("w", executed=True), got("w", "1", executed=True)
    assert in_answer == [answer(*pair, TextBlock(text="so"))]
    behind = prompt(row(Role.ASSISTANT, call("w", **EXECUTED)), row(Role.TOOL, result("w", 1)))
    assert behind == [answer(*pair)]


def test_a_local_result_inside_of_an_answer_stands_behind_it() -> None:
    found = prompt(row(Role.ASSISTANT, call("a"), result("a", 1), text("so")))
    assert found == [answer(made("a"), TextBlock(text="so")), results(got("a", "1"))]


# the same id twice


def test_a_second_result_of_one_call_is_left_out() -> None:
    rows = [row(Role.TOOL, result("a", number)) for number in (1, 2)]
    found = prompt(row(Role.ASSISTANT, call("a")), *rows)
    assert found == [answer(made("a")), results(got("a", "1"))]


def test_calls_of_one_message_with_one_id_get_ids_of_their_own_and_results_in_order() -> None:
    found = prompt(
        row(Role.ASSISTANT, call("a.b"), call("a_b"), call("a_b_2"), call("a:b")),
        row(Role.TOOL, result("a.b", 1)),
        row(Role.TOOL, result("a_b_2", 2)),
        row(Role.TOOL, result("a_b", 3)),
    )
    first = found[0]
    assert isinstance(first, AssistantMessage)
    ids = [block.id for block in first.blocks if isinstance(block, ToolCallBlock)]
    assert len(set(ids)) == 4
    assert ids[0] == "a_b"
    checked(found)


def test_an_id_that_comes_again_in_a_later_answer_is_another_call() -> None:
    rows = [
        each
        for number in (1, 2)
        for each in (row(Role.ASSISTANT, call("call_0")), row(Role.TOOL, result("call_0", number)))
    ]
    assert prompt(*rows) == [
        answer(made("call_0")),
        results(got("call_0", "1")),
        answer(made("call_0")),
        results(got("call_0", "2")),
    ]


def test_calls_and_results_without_an_id_are_paired_too() -> None:
    rows = row(Role.ASSISTANT, call(""), call("")), row(Role.TOOL, result("", 1), result("", 2))
    found = prompt(*rows)
    checked(found)
    assert found[1] == results(got("call", "1"), got("call_2", "2"))


# whatever the history

_ids = st.sampled_from(["a", "b", "c", "a.b", "a:b", "a_b", "a_2", ""])
_names = st.sampled_from(["find", "search", ""])
_flags = st.sampled_from([{}, EXECUTED])
_calls = st.builds(lambda i, n, flags: call(i, n, **flags), _ids, _names, _flags)
_values = st.sampled_from([None, "", "text", {"error": "e"}, [1]])
_results = st.builds(
    lambda i, value, flags, name: result(i, value, **flags, tool_name=name),
    _ids,
    _values,
    st.sampled_from([{}, EXECUTED, {"is_error": True}, {"is_media": True}]),
    _names,
)
_words = st.sampled_from([text("so"), text(" "), reasoning("hm"), reasoning("")])
_rows: st.SearchStrategy[PromptRow] = st.one_of(
    st.builds(lambda parts: row(Role.USER, *parts), st.lists(_words, max_size=2)),
    st.builds(
        lambda parts: row(Role.ASSISTANT, *parts),
        st.lists(st.one_of(_calls, _results, _words), max_size=5),
    ),
    st.builds(lambda parts: row(Role.TOOL, *parts), st.lists(_results, max_size=3)),
    st.builds(lambda parts: row(Role.TOOL, *parts), st.lists(_words, max_size=1)),
)


def checked(messages: list[Message]) -> None:
    """Hold a prompt against the law: what is called is answered once, at once, and nothing else."""
    waiting: Counter[str] = Counter()
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.results
            waiting -= _seen(waiting, [each.call_id for each in message.results])
            continue
        assert not waiting, "a call was not answered before the next message"
        if isinstance(message, AssistantMessage):
            assert message.blocks
            waiting = _called(message)
    assert not waiting, "a call was not answered"


def _seen(waiting: Counter[str], ids: list[str]) -> Counter[str]:
    seen = Counter(ids)
    assert seen <= waiting, "a result answers no call"
    return seen


def _called(message: AssistantMessage) -> Counter[str]:
    """Return the local calls; those of a provider have results in the message alone."""
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    ids = Counter(each.id for each in calls)
    assert all(ids), "a call has no id"
    assert not ids or max(ids.values()) == 1, "two calls have one id"
    inline = [block for block in message.blocks if isinstance(block, ToolResultBlock)]
    executed = Counter(each.id for each in calls if each.provider_executed)
    assert Counter(each.call_id for each in inline) <= executed
    return Counter(each.id for each in calls if not each.provider_executed)


def checked_on_the_wire(messages: list[Message]) -> None:
    provider = Provider(kind="openai-compat", base_url="http://127.0.0.1:9")
    body = orjson.loads(encode(Request(model="m", messages=tuple(messages)), provider))
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        waiting = [each["id"] for each in message.get("tool_calls", [])]
    assert waiting == []


@given(st.lists(_rows, max_size=8))
def test_every_history_becomes_one_that_providers_take(rows: list[PromptRow]) -> None:
    found = prompt(*rows)
    checked(found)
    checked_on_the_wire(found)


@given(st.lists(_rows, max_size=8))
def test_no_call_and_no_text_is_lost(rows: list[PromptRow]) -> None:
    stored = Counter(
        (part["type"], part.get("text") or part.get("tool_name"))
        for each in rows
        if each.role == Role.ASSISTANT
        for part in each.content or []
        if part["type"] == "tool-call" or part.get("text", "").strip()
    )
    sent = Counter(
        _named(block)
        for message in prompt(*rows)
        if isinstance(message, AssistantMessage)
        for block in message.blocks
    )
    assert stored <= sent


def _named(block: object) -> tuple[str, str]:
    match block:
        case ToolCallBlock():
            return "tool-call", block.name
        case TextBlock():
            return "text", block.text
        case ReasoningBlock():
            return "reasoning", block.text
        case _:
            return "", ""
