"""The fake Anthropic server refuses what the vendor refuses."""

import copy
from typing import Any

import pytest

from chatd.chattest.anthropic_rules import Issued, Refused, check
from chatd.chattest.anthropic_wire import citation, redacted, remember, search, thinking

THOUGHT, HIDDEN = thinking("hm"), redacted()
SEARCH = search("towns", "https://a.example")
CITED = {"type": "text", "text": "A.", "citations": [citation("https://a.example")]}
CALL = {"type": "tool_use", "id": "t1", "name": "find", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "x"}]}
HI = {"type": "text", "text": "Hi"}
GOOD: dict[str, Any] = {
    "model": "m",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be kind."}],
    "tools": [{"name": "find", "input_schema": {"type": "object"}}],
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "messages": [
        {"role": "user", "content": [HI]},
        {"role": "assistant", "content": [THOUGHT, HIDDEN, *SEARCH, CITED, CALL]},
        {"role": "user", "content": [RESULT, HI]},
    ],
}


@pytest.fixture
def issued() -> Issued:
    given = Issued()
    remember([THOUGHT, HIDDEN, *SEARCH, CITED], given)
    return given


@pytest.fixture
def body() -> dict[str, Any]:
    return copy.deepcopy(GOOD)


def test_a_good_request_is_taken(body: dict[str, Any], issued: Issued) -> None:
    check(body, issued)


def test_bedrock_knows_no_searches(body: dict[str, Any], issued: Issued) -> None:
    with pytest.raises(Refused, match="server_tool_use"):
        check(body, issued, has_server_tools=False)


SPOILED: dict[str, Any] = {
    "Extra inputs": lambda body: body.update(presence_penalty=1),
    "Field required": lambda body: body.pop("max_tokens"),
    "at least one message": lambda body: body.update(messages=[]),
    "first message": lambda body: body["messages"].pop(0),
    "roles must alternate": lambda body: body["messages"].insert(0, body["messages"][0]),
    "prefill": lambda body: body["messages"].append({"role": "assistant", "content": [HI]}),
    "non-empty content": lambda body: body["messages"][0].update(content=[]),
    "non-whitespace": lambda body: body["messages"][0].update(
        content=[{"type": "text", "text": " "}]
    ),
    "must be non-empty": lambda body: body["system"][0].update(text=""),
    "expected tags": lambda body: body["messages"][0]["content"].append(CALL),
    "cache_control: Extra": lambda body: body["messages"][1]["content"][0].update(cache_control={}),
    "`signature`": lambda body: body["messages"][1]["content"][0].update(thinking="hm!"),
    "`data`": lambda body: body["messages"][1]["content"][1].update(data="x"),
    "`encrypted_content`": lambda body: body["messages"][1]["content"][3]["content"][0].update(
        encrypted_content="x"
    ),
    "`encrypted_index`": lambda body: body["messages"][1]["content"][4]["citations"][0].update(
        encrypted_index="x"
    ),
    "`web_search` tool use": lambda body: body["messages"][1]["content"].pop(3),
    "`web_search_tool_result` blocks": lambda body: body["messages"][1]["content"].pop(2),
    "ids were found": lambda body: body["messages"][2]["content"].pop(0),
    "immediately after": lambda body: body["messages"][2]["content"].reverse(),
    "unexpected `tool_use_id`": lambda body: body["messages"][1]["content"].pop(5),
    "single result": lambda body: body["messages"][2]["content"].insert(0, RESULT),
    "must be unique": lambda body: body["messages"][1]["content"].append(CALL),
    "cannot be `thinking`": lambda body: body["messages"][1].update(content=[HI, THOUGHT]),
    "valid dictionary": lambda body: body["messages"][1]["content"][5].update(input=[]),
    "must define tools": lambda body: body.pop("tools"),
    "Tool names": lambda body: body["tools"].append(body["tools"][0]),
    "should be 'object'": lambda body: body["tools"][0].update(input_schema={}),
    "does not support oneOf": lambda body: body["tools"][0]["input_schema"].update(anyOf=[]),
    "forces tool use": lambda body: body.update(tool_choice={"type": "tool", "name": "find"}),
    "not found in provided": lambda body: body.update(tool_choice={"type": "tool", "name": "x"}),
    "`temperature`": lambda body: body.update(temperature=0.5),
    "equal to 1024": lambda body: body["thinking"].update(budget_tokens=1000),
    "`max_tokens`": lambda body: body.update(max_tokens=2000),
    "must start": lambda body: body["messages"][1]["content"].insert(0, HI),
    "maximum of 4": lambda body: [block.update(cache_control={}) for block in _markable(body)],
}


def _markable(body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = body["messages"][1]["content"]
    return [*body["system"], *body["messages"][0]["content"], *answer[3:]]


@pytest.mark.parametrize("words", SPOILED)
def test_what_the_vendor_refuses_is_refused(
    words: str, body: dict[str, Any], issued: Issued
) -> None:
    SPOILED[words](body)
    if words == "cannot be `thinking`":
        body["messages"][2]["content"].pop(0)
    with pytest.raises(Refused) as caught:
        check(body, issued)
    assert words in str(caught.value)
