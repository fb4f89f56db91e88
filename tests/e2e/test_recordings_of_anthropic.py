"""Recorded traffic of Anthropic and Bedrock, served again to a real chat over HTTP.

What the chat stores must equal what the recording adds up to, and what it sends must mean what the
recorded client sent.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web as http_server

from chatd.chattest.anthropic_replay import expected_anthropic
from chatd.chattest.replay import ExpectedAnswer, Recording, ReplayServer, load_recording
from tests.support.client import Client, Follower, text_of
from tests.support.recordings import ANTHROPIC_FILES, MISSING

RUNS_ON = "embedded"
_FILES = ("image", "document")
USAGE = {
    "input": "input_tokens",
    "output": "output_tokens",
    "total": "total_tokens",
    "reasoning": "reasoning_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_creation_tokens",
}

pytestmark = pytest.mark.recordings


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer; `prompt` is what a person said right before, if so."""

    body: dict[str, Any]
    answer: ExpectedAnswer
    prompt: str

    @property
    def outputs(self) -> dict[str, str]:
        """The results of calls that the request brings, by id."""
        return {
            block["tool_use_id"]: block["content"][0]["text"]
            for message in self.body["messages"]
            for block in message["content"]
            if block["type"] == "tool_result"
        }


class HeldReplay(ReplayServer):
    """Replays once somebody follows the chat. Titles and labels are not in a recording."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self.followed = threading.Event()

    async def _answer(self, http: http_server.Request) -> http_server.StreamResponse:
        is_stream = json.loads(await http.read()).get("stream")
        if not is_stream and not http.path.endswith("-stream"):
            return http_server.json_response({"error": {"message": "not recorded"}}, status=404)
        await asyncio.to_thread(self.followed.wait, 30)
        return await super()._answer(http)


@pytest.fixture(scope="module")
def models(product: Any) -> Iterator[dict[Path, tuple[HeldReplay, str]]]:
    """A replaying server and a model config per recording."""
    with ExitStack() as stack:
        servers = {
            path: stack.enter_context(HeldReplay(load_recording(path)))
            for path in ANTHROPIC_FILES
            if _is_of_turns(path)
        }
        rows = [
            {
                "base_url": server.base_url,
                "kind": path.parent.name,
                "model": _model(path),
                "options": _options(path),
            }
            for path, server in servers.items()
        ]
        made = product.add_models(*rows)
        yield {
            path: (server, model)
            for (path, server), model in zip(servers.items(), made, strict=True)
        }


def _is_of_turns(path: Path) -> bool:
    """Tell whether a chat asks like this: always for a stream, and free to call tools or not."""
    interactions = load_recording(path).interactions
    bodies = [json.loads(each.request_body) for each in interactions]
    are_free = all(body.get("tool_choice", {}).get("type") != "tool" for body in bodies)
    return are_free and all("stream" in each.content_type for each in interactions)


def _model(path: Path) -> str:
    interaction = load_recording(path).interactions[0]
    return str(json.loads(interaction.request_body).get("model", "anthropic.claude-x-v1:0"))


def _options(path: Path) -> dict[str, Any]:
    """Return a call config that asks for what the recorded client asked for."""
    body = json.loads(load_recording(path).interactions[0].request_body)
    section: dict[str, Any] = {}
    if thinking := body.get("thinking"):
        section["thinking"] = {"budget_tokens": thinking.get("budget_tokens")}
    if any(tool.get("type") for tool in body.get("tools", ())):
        section["web_search_enabled"] = True
    choice = body.get("tool_choice", {})
    if "disable_parallel_tool_use" in choice:
        section["disable_parallel_tool_use"] = choice["disable_parallel_tool_use"]
    options = {"anthropic": section} if section else {}
    return {"max_output_tokens": body["max_tokens"], "provider_options": options}


def _exchanges(path: Path) -> list[Exchange]:
    found = []
    for interaction in load_recording(path).interactions:
        body = json.loads(interaction.request_body)
        said = [b["text"] for b in body["messages"][-1]["content"] if b["type"] == "text"]
        answer = expected_anthropic(interaction)
        found.append(Exchange(body=body, answer=answer, prompt="".join(said)))
    return found


@pytest.mark.parametrize(
    "path",
    [path for path in ANTHROPIC_FILES if _is_of_turns(path)] or [pytest.param(None, marks=MISSING)],
    ids=lambda path: f"{path.parent.name}/{path.stem}" if path else "none",
)
def test_a_chat_stores_what_the_recording_adds_up_to(
    path: Path, models: dict[Path, tuple[HeldReplay, str]], client: Client
) -> None:
    server, model = models[path]
    exchanges = _exchanges(path)
    tools = [_declared(t) for t in exchanges[0].body.get("tools", ()) if "input_schema" in t]
    chat = client.create_chat(exchanges[0].prompt, model=model, tools=tools)
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: len(f.events) > 0, "a snapshot")
        server.followed.set()
        _work_to_the_end(client, follower, exchanges)
    stored = [m for m in client.messages(chat["id"]) if m["role"] == "assistant"]
    assert len(stored) == len(exchanges) == len(server.requests)
    for message, exchange in zip(stored, exchanges, strict=True):
        _compare(message, exchange.answer)
    assert follower.errors == follower.retries == []
    for raw, exchange in zip(server.requests, exchanges, strict=True):
        assert _meaning(json.loads(raw)) == _meaning(exchange.body)


def _declared(tool: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": tool["name"],
        "description": tool.get("description") or "",
        "input_schema": tool["input_schema"],
    }


def _work_to_the_end(client: Client, follower: Follower, exchanges: list[Exchange]) -> None:
    """Answer calls with the recorded results, and say what the person said next."""
    asked = 0
    for number, exchange in enumerate(exchanges, start=1):
        if number > 1 and exchange.prompt:
            client.send(follower.chat_id, exchange.prompt)
        if not exchange.answer.tool_calls:
            follower.wait_for_answers(number)
            continue
        asked += 1
        follower.wait(lambda f, n=asked: len(f.actions) == n, "action_required")
        assert [
            (call["tool_call_id"], call["tool_name"], json.loads(call["args"]))
            for call in follower.actions[-1]
        ] == _decoded(exchange.answer.tool_calls)
        outputs = exchanges[number].outputs
        client.submit_results(
            follower.chat_id,
            {call_id: outputs[call_id] for call_id, _, _ in exchange.answer.tool_calls},
        )


def _decoded(calls: Any) -> list[tuple[str, str, Any]]:
    return [(call_id, name, json.loads(arguments or "{}")) for call_id, name, arguments in calls]


def _compare(message: dict[str, Any], expected: ExpectedAnswer) -> None:
    parts = message["content"]
    assert text_of(message) == expected.text
    assert text_of(message, "reasoning") == expected.reasoning
    calls = [part for part in parts if part["type"] == "tool-call"]
    for executed, wanted in ((False, expected.tool_calls), (True, expected.server_calls)):
        assert [
            (part["tool_call_id"], part["tool_name"], part["args"])
            for part in calls
            if part.get("provider_executed", False) is executed
        ] == _decoded(wanted)
    assert [part["tool_call_id"] for part in parts if part["type"] == "tool-result"] == [
        call[0] for call in expected.server_calls
    ]
    sources = [part["url"] for part in parts if part["type"] == "source"]
    assert sources == list(expected.sources)
    usage = message.get("usage", {})
    assert {ours: usage.get(ours, 0) for ours in USAGE.values()} == {
        USAGE[name]: number for name, number in expected.usage.items()
    }


def _meaning(body: dict[str, Any]) -> dict[str, Any]:
    """Return what two requests have to agree in.

    Apart are: system texts (the recorded client had its own), marks for the cache, citations (the
    recorded client lost them), pictures (a test of requests has those), Bedrock's own tool choice.
    """
    return {
        "model": body.get("model"),
        "version": body.get("anthropic_version"),
        "max_tokens": body["max_tokens"],
        "thinking": body.get("thinking"),
        "tool_choice": _choice(body),
        "tools": body.get("tools", []),
        "messages": [
            (message["role"], [_plain(b) for b in message["content"] if b["type"] not in _FILES])
            for message in body["messages"]
        ],
    }


def _choice(body: dict[str, Any]) -> Any:
    choice = body.get("tool_choice")
    is_default = choice == {"type": "auto"} or not body.get("tools")
    return None if is_default else choice


def _plain(block: dict[str, Any]) -> dict[str, Any]:
    return {key: block[key] for key in block if key not in ("cache_control", "citations")}
