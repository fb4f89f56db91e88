"""A chat whose model is Anthropic's: searches, thoughts and calls over several turns."""

from collections.abc import Iterator
from typing import Any

import pytest

from chatd.chattest.anthropic import AnthropicRequest, AnthropicServer
from chatd.chattest.anthropic_wire import (
    FakeAnswer,
    citation,
    redacted,
    search,
    text,
    thinking,
    tool_use,
)
from chatd.chattest.bedrock import BedrockServer
from tests.support.client import Client, Follower, text_of, tool_calls_of

RUNS_ON = "embedded"
KEY = "key-of-these-tests-0123456789"
TOOL = {"name": "find", "description": "Finds.", "input_schema": {"type": "object"}}
OPTIONS = {
    "provider_options": {
        "anthropic": {"thinking": {"budget_tokens": 2000}, "web_search_enabled": True}
    }
}


class Script:
    """Answers in turn, whatever is asked."""

    def __init__(self) -> None:
        self.answers: list[FakeAnswer] = []

    def __call__(self, request: AnthropicRequest) -> FakeAnswer:
        return self.answers.pop(0)


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def servers(product: Any, script: Script) -> Iterator[dict[str, tuple[AnthropicServer, str]]]:
    with AnthropicServer(script, key=KEY) as direct, BedrockServer(script, key=KEY) as aws:
        rows = [
            {
                "base_url": server.base_url,
                "kind": kind,
                "key": KEY,
                "model": "anthropic.claude-x",
                "options": OPTIONS,
            }
            for kind, server in (("anthropic", direct), ("bedrock", aws))
        ]
        [first, second] = product.add_models(*rows)
        yield {"anthropic": (direct, first), "bedrock": (aws, second)}


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
def test_turns_with_calls_and_thoughts_go_on(
    kind: str, servers: Any, script: Script, client: Client
) -> None:
    server, model = servers[kind]
    calls = [thinking("Both."), redacted(), text("I look. "), tool_use("find"), tool_use("find")]
    script.answers += [FakeAnswer(content=calls), FakeAnswer(content=[text("Found.")])]
    script.answers += [FakeAnswer(content=[text("Welcome.")])]
    chat = client.create_chat("Find both.", model=model, tools=[TOOL])
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: f.status == "requires_action" and _calls(f), "the calls")
        client.submit_results(chat["id"], dict.fromkeys(_calls(follower), "here"))
        follower.wait_for_answers(2)
        client.send(chat["id"], "Thanks.")
        follower.wait_for_answers(3)
        assert follower.errors == follower.retries == []
    assert server.refusals == []
    sent = server.requests[-1].body
    assert [block["type"] for block in sent["messages"][1]["content"]] == [
        each["type"] for each in calls
    ]
    marked = _marked(sent)
    assert marked == ([] if kind == "bedrock" else [1, 1, 1])


def _calls(follower: Follower) -> list[str]:
    """Return the ids of stored calls; whoever follows late is not told `action_required`."""
    calls = [tool_calls_of(message) for message in follower.messages.values()]
    return [call_id for found in calls for call_id, _, _ in found]


def _marked(body: Any) -> list[int]:
    """Return how many marks for the cache the last system text and the final messages have."""
    groups = [body["system"][-1:], *(message["content"] for message in body["messages"])]
    counts = [sum("cache_control" in block for block in group) for group in groups]
    return [count for count in counts if count]


def test_a_search_is_stored_whole_and_one_that_was_paused_without_its_open_call(
    servers: Any, script: Script, client: Client
) -> None:
    server, model = servers["anthropic"]
    found = search("towns", "https://a.example")
    cited = text("A town.", citation("https://a.example"))
    paused = [*found, cited, text(" More: "), search("more", "https://b.example")[0]]
    script.answers += [
        FakeAnswer(content=paused, stop_reason="pause_turn"),
        FakeAnswer(content=[text("That was all.")]),
    ]
    chat = client.create_chat("Search.", model=model)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        client.send(chat["id"], "And?")
        follower.wait_for_answers(2)
        _has_no_errors(follower)
    assert server.refusals == []
    [first, second] = [m for m in client.messages(chat["id"]) if m["role"] == "assistant"]
    assert [part["type"] for part in first["content"]] == [
        "tool-call",
        "tool-result",
        "source",
        "text",
        "text",
    ]
    assert text_of(second) == "That was all."
    assert "provider_metadata" not in str(first)
    came_back = server.requests[-1].body["messages"][1]["content"]
    assert came_back[2] == cited
    assert [block["type"] for block in came_back] == [block["type"] for block in paused[:-1]]


def _has_no_errors(follower: Follower) -> None:
    assert follower.errors == follower.retries == []


def test_a_title_is_the_call_of_a_tool(servers: Any, script: Script, client: Client) -> None:
    server, model = servers["anthropic"]
    script.answers.append(FakeAnswer(content=[text("Hello.")]))
    chat = client.create_chat("Hello there", model=model)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    answer = client.call("POST", f"/api/experimental/chats/{chat['id']}/title/propose", {})
    assert answer["title"] == "A title of the fake"
    assert server.side_requests[-1].body["tool_choice"]["type"] == "tool"
