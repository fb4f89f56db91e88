"""What OpenAI-compatible servers are told in another way than OpenAI."""

import json
from typing import Any

import pytest

from chatd.llm.types import (
    AssistantMessage,
    Event,
    Provider,
    ReasoningBlock,
    Request,
    TextBlock,
    ToolCall,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)
from chatd.llm.wires.openai_chat.compat import SKIP_SIGNATURE, patch
from chatd.llm.wires.openai_chat.request import encode
from chatd.llm.wires.openai_chat.stream import Decoder

GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"
ADD = {"type": "function", "function": {"name": "add"}}
SUB = {"type": "function", "function": {"name": "sub"}}


def compat(base_url: str = "http://x", kind: str = "openai-compat") -> Provider:
    return Provider(kind=kind, base_url=base_url)


def choice(name: str) -> Any:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("kind", "tools", "chosen", "expected"),
    [
        ("openai-compat", [ADD], choice("add"), "required"),
        ("openai-compat", [ADD, SUB], choice("add"), choice("add")),
        ("openai-compat", [ADD], choice("sub"), choice("sub")),
        ("openai-compat", [ADD], "auto", "auto"),
        ("openai-compat", [], choice("add"), choice("add")),
        ("openrouter", [ADD], choice("add"), choice("add")),
    ],
)
def test_the_choice_of_the_only_tool_is_a_required_call(
    kind: str, tools: Any, chosen: Any, expected: Any
) -> None:
    body = {"messages": [], "tools": tools, "tool_choice": chosen}
    patch(body, compat(kind=kind))
    assert body["tool_choice"] == expected
    without: dict[str, Any] = {"messages": []}
    patch(without, compat(kind=kind))
    assert "tool_choice" not in without


def call(call_id: str, signature: str = "") -> ToolCallBlock:
    metadata = {"google": {"thought_signature": signature}} if signature else None
    return ToolCallBlock(id=call_id, name="f", arguments="{}", provider_metadata=metadata)


def result(call_id: str) -> ToolResultBlock:
    return ToolResultBlock(call_id=call_id, name="f", output="ok")


HISTORY = (
    UserMessage(blocks=(TextBlock(text="Before"),)),
    AssistantMessage(blocks=(call("old"),)),
    ToolMessage(results=(result("old"),)),
    UserMessage(blocks=(TextBlock(text="Now"),)),
    AssistantMessage(blocks=(ReasoningBlock(text="hm"), call("a"), call("b"))),
    ToolMessage(results=(result("a"), result("b"))),
    AssistantMessage(blocks=(TextBlock(text="And"), call("c", "signed"))),
    ToolMessage(results=(result("c"),)),
)


def signatures(provider: Provider) -> list[Any]:
    body = json.loads(encode(Request(model="gemini-3-pro", messages=HISTORY), provider))
    return [
        wire.get("extra_content")
        for message in body["messages"]
        for wire in message.get("tool_calls", ())
    ]


def test_google_gets_a_mark_for_calls_of_the_turn_that_nobody_signed() -> None:
    assert signatures(compat(GOOGLE)) == [
        None,
        {"google": {"thought_signature": SKIP_SIGNATURE}},
        None,
        {"google": {"thought_signature": "signed"}},
    ]


@pytest.mark.parametrize(
    "provider",
    [
        compat("http://x/openai"),
        compat("https://generativelanguage.googleapis.com/v1beta"),
        compat("https://generativelanguage.googleapis.com.evil.example/openai"),
        compat("https://evil.example/generativelanguage.googleapis.com/openai"),
        compat(GOOGLE.replace("generativelanguage.", ""), "openai-compat"),
    ],
)
def test_other_servers_get_no_marks(provider: Provider) -> None:
    assert signatures(provider) == [None] * 4


def test_other_kinds_at_the_address_of_google_get_no_marks_of_ours() -> None:
    assert signatures(compat(GOOGLE, "openrouter"))[1] is None


def test_a_signature_that_came_with_a_call_is_kept() -> None:
    calls = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "b", "function": {"name": "f", "arguments": "{}"}},
    ]
    calls[0]["extra_content"] = {"google": {"thought_signature": "s"}}
    calls[1]["extra_content"] = {"google": [1]}
    document = {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    decoder = Decoder(Request(model="m", messages=()), compat(GOOGLE))
    events: list[Event] = decoder.feed(f"data: {json.dumps(document)}\n\ndata: [DONE]\n\n".encode())
    found = [event.provider_metadata for event in events if isinstance(event, ToolCall)]
    assert found == [{"google": {"thought_signature": "s"}}, None]
