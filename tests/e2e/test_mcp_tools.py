"""Tools of MCP servers on the whole product: a model calls one, and a dead server holds nobody."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client, text_of, text_part
from tests.support.mcp_server import ToolProcess, ToolServer
from tests.support.product import Web
from tests.support.services import free_port

RUNS_ON = "embedded"


@pytest.fixture
def tool_server() -> Iterator[ToolServer]:
    with ToolServer() as server:
        yield server


def connected(client: Client, url: str, **fields: Any) -> str:
    """Make an MCP server by the API and return its id."""
    body = {
        "display_name": "Tools",
        "slug": f"s{uuid4().hex[:8]}",
        "transport": "streamable_http",
        "url": url,
        "auth_type": "none",
        "availability": "default_off",
        "enabled": True,
    }
    made = client.call("POST", "/api/experimental/mcp/servers", body | fields, expect=201)
    return str(made["id"])


def chat_with(client: Client, words: str, *servers: str) -> str:
    body = {
        "organization_id": client.organization_id,
        "content": [text_part(words)],
        "mcp_server_ids": list(servers),
    }
    return str(client.call("POST", "/api/experimental/chats", body, expect=201)["id"])


def parts_of(messages: list[Any], kind: str) -> list[dict[str, Any]]:
    return [
        part
        for message in messages
        for part in message.get("content") or []
        if part["type"] == kind
    ]


def test_a_model_calls_a_tool_of_a_server_and_everybody_sees_what_it_gave_back(
    client: Client, provider: ScriptedProvider, tool_server: ToolServer
):
    key = {"auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": "let me in"}
    tool_server.knobs.is_let_in = lambda headers: headers.get("x-key") == "let me in"
    server = connected(client, tool_server.url, slug="real", **key)
    words = "greet Ada by a tool"
    wanted = calls(("call-1", "real__greet", json.dumps({"name": "Ada"})))
    provider.on(words, in_turn(wanted, answer("It said hello.")))
    chat_id = chat_with(client, words, server)
    with client.follow(chat_id) as follower:
        follower.wait(lambda f: "It said hello." in f.answers and f.status == "waiting", "the end")
        streamed = list(follower.messages.values())
        shown = [event["message_part"] for event in follower.events if "message_part" in event]
    for messages in (streamed, client.messages(chat_id)):
        (call,), (result,) = parts_of(messages, "tool-call"), parts_of(messages, "tool-result")
        assert (call["tool_name"], call["args"]) == ("real__greet", {"name": "Ada"})
        assert result["result"] == {"output": "Hello Ada"}
        assert call["mcp_server_config_id"] == result["mcp_server_config_id"] == server
        assert not result.get("is_error")
    of_tools = [each["part"] for each in shown if each["part"]["type"].startswith("tool-")]
    assert {part["type"] for part in of_tools} == {"tool-call", "tool-result"}
    assert {part["mcp_server_config_id"] for part in of_tools} == {server}
    first, second = provider.requests_for(words)
    assert "real__greet" in [tool["function"]["name"] for tool in first.body["tools"]]
    assert [m.role for m in second.messages[-2:]] == ["assistant", "tool"]
    assert "Hello Ada" in str(second.messages[-1].content)
    assert tool_server.record.called == [("greet", "Ada")]


def test_a_turn_goes_on_without_a_server_that_is_dead(
    client: Client, web: Web, provider: ScriptedProvider, tool_server: ToolServer
):
    dead = connected(client, f"http://127.0.0.1:{free_port()}/mcp?token=never-to-be-logged")
    alive = connected(client, tool_server.sse_url, slug="alive", transport="sse")
    words = "go on without the dead one"
    provider.on(words, answer("I went on."))
    chat_id = chat_with(client, words, dead, alive)
    with client.follow(chat_id) as follower:
        follower.wait_for_answers(1)
    assert [text_of(m) for m in client.messages(chat_id) if m["role"] == "assistant"] == [
        "I went on."
    ]
    (request,) = provider.requests_for(words)
    names = {tool["function"]["name"] for tool in request.body["tools"]}
    assert {name.partition("__")[0] for name in names} == {"alive"}
    web.wait_for_log("an MCP server was left out")
    assert "never-to-be-logged" not in web.log
    assert "Traceback" not in web.log


def test_a_server_that_dies_in_a_call_is_an_error_that_the_model_reads(
    client: Client, web: Web, provider: ScriptedProvider
):
    with ToolProcess() as process:
        server = connected(client, process.url, slug="dying")
        words = "call the one that dies"
        provider.on(words, in_turn(calls(("c", "dying__hang", "{}")), answer("A pity.")))
        chat_id = chat_with(client, words, server)
        with client.follow(chat_id) as follower:
            process.wait_until_hanging()
            process.kill()
            follower.wait(lambda f: "A pity." in f.answers and f.status == "waiting", "the end")
    (result,) = parts_of(client.messages(chat_id), "tool-result")
    assert result["is_error"] is True
    assert result["result"]["error"].startswith("Tools: ")
    assert "Traceback" not in web.log


def test_stop_ends_a_call_at_the_server(
    client: Client, provider: ScriptedProvider, tool_server: ToolServer
):
    server = connected(client, tool_server.url, slug="slow")
    words = "call the one that hangs"
    provider.on(words, calls(("c", "slow__hang", "{}")))
    chat_id = chat_with(client, words, server)
    assert tool_server.record.waiting.acquire(timeout=120)
    client.interrupt(chat_id)
    assert tool_server.record.cancelled.acquire(timeout=120)
    assert client.chat(chat_id)["status"] == "waiting"
