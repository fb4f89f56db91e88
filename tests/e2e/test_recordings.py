"""Recorded traffic of real providers, served again to a real chat over HTTP.

What the chat stores must equal what the recording adds up to, read in the plainest way.
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

from chatd.chattest.replay import (
    ExpectedAnswer,
    Interaction,
    Recording,
    ReplayServer,
    expected_chat,
    expected_gemini,
    expected_responses,
    load_recording,
)
from tests.support.client import Client, Follower, text_of, tool_calls_of
from tests.support.recordings import CHAT_FILES, GOOGLE_FILES, KINDS, MISSING, RESPONSES_FILES

RUNS_ON = "embedded"

FILES = [
    *CHAT_FILES,
    *GOOGLE_FILES,
    *(path for path in RESPONSES_FILES if "event-stream" in path.read_text(encoding="utf-8")),
]

pytestmark = pytest.mark.recordings


@dataclass(frozen=True)
class Conversation:
    """Consecutive exchanges of one recording that one chat can replay, with their answers.

    `outputs` are by the id of the call; where a provider gave none, by its name and arguments.
    """

    prompt: str
    tools: tuple[dict[str, Any], ...]
    outputs: dict[str, str]
    answers: tuple[ExpectedAnswer, ...]

    def output_of(self, call: dict[str, Any]) -> str:
        found = self.outputs.get(call["tool_call_id"])
        return (
            self.outputs[_key(call["tool_name"], json.loads(call["args"]))]
            if found is None
            else found
        )


class HeldReplay(ReplayServer):
    """Replays once somebody follows the chat, so that all of it is seen live.

    Titles and labels, which come after a turn, are not in a recording.
    """

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self.followed = threading.Event()

    async def _answer(self, http: http_server.Request) -> http_server.StreamResponse:
        if not (json.loads(await http.read()).get("stream") or "alt" in http.query):
            return http_server.json_response({"error": {"message": "not recorded"}}, status=404)
        await asyncio.to_thread(self.followed.wait, 30)
        return await super()._answer(http)


@pytest.fixture(scope="module")
def models(product) -> Iterator[dict[Path, tuple[HeldReplay, str]]]:
    """A replaying server and a model config per recording."""
    with ExitStack() as stack:
        servers = {
            path: stack.enter_context(HeldReplay(_streams_of(load_recording(path))))
            for path in FILES
        }
        rows = [{"base_url": server.base_url, **_model(path)} for path, server in servers.items()]
        made = product.add_models(*rows)
        yield {
            path: (server, model)
            for (path, server), model in zip(servers.items(), made, strict=True)
        }


def _model(path: Path) -> dict[str, Any]:
    """Return kind, model and options of a recording; on the Responses API the model counts."""
    if path not in RESPONSES_FILES:
        return {"kind": KINDS[path.parent.name], "model": path.stem}
    asked = json.loads(load_recording(path).interactions[0].request_body)
    section = {"store": asked.get("store", True), "web_search_enabled": _searches(asked)}
    return {
        "kind": KINDS[path.parent.name],
        "model": asked["model"],
        "options": {"provider_options": {"openai": section}},
    }


def _searches(asked: dict[str, Any]) -> bool:
    return any(tool["type"].startswith("web_search") for tool in asked.get("tools") or ())


def _streams_of(recording: Recording) -> Recording:
    """Keep the exchanges that were streamed; whole answers are for other callers."""
    kept = tuple(each for each in recording.interactions if "event-stream" in each.content_type)
    return Recording(name=recording.name, interactions=kept)


def _key(name: str, arguments: Any) -> str:
    return f"{name} {json.dumps(arguments, sort_keys=True)}"


def _google_conversation(streams: tuple[Interaction, ...]) -> Conversation:
    requests = [json.loads(stream.request_body) for stream in streams]
    parts = [part for request in requests for each in request["contents"] for part in each["parts"]]
    calls = {
        part["functionCall"]["id"]: part["functionCall"] for part in parts if "functionCall" in part
    }
    responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
    first = requests[0]
    return Conversation(
        prompt="".join(part["text"] for part in first["contents"][-1]["parts"]),
        tools=tuple(
            _declared(function)
            for tool in first.get("tools") or ()
            for function in tool["functionDeclarations"]
        ),
        outputs={
            _key(each["name"], calls[each["id"]]["args"]): each["response"]["result"]
            for each in responses
        },
        answers=tuple(map(expected_gemini, streams)),
    )


def _conversation(streams: tuple[Interaction, ...]) -> Conversation:
    requests = [json.loads(stream.request_body) for stream in streams]
    first = requests[0]
    if "input" in first:
        return _responses_conversation(requests, streams)
    outputs = {
        message["tool_call_id"]: _plain(message["content"])
        for request in requests
        for message in request["messages"]
        if message["role"] == "tool"
    }
    users = [m["content"] for m in first["messages"] if m["role"] == "user"]
    return Conversation(
        prompt=_plain(users[-1]),
        tools=tuple(_declared(tool["function"]) for tool in first.get("tools") or ()),
        outputs=outputs,
        answers=tuple(map(expected_chat, streams)),
    )


def _responses_conversation(
    requests: list[dict[str, Any]], streams: tuple[Interaction, ...]
) -> Conversation:
    items = [item for request in requests for item in request["input"]]
    results = [item for item in items if item.get("type") == "function_call_output"]
    users = [item["content"] for item in requests[0]["input"] if item.get("role") == "user"]
    tools = [tool for tool in requests[0].get("tools") or () if tool["type"] == "function"]
    return Conversation(
        prompt=_plain(users[-1]),
        tools=tuple(map(_declared, tools)),
        outputs={item["call_id"]: item["output"] for item in results},
        answers=tuple(map(expected_responses, streams)),
    )


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


def _declared(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": function["name"],
        "description": function.get("description") or "",
        "input_schema": function.get("parameters") or {},
    }


@pytest.mark.parametrize(
    "path",
    FILES or [pytest.param(None, marks=MISSING)],
    ids=lambda path: f"{path.parent.name}/{path.stem}" if path else "none",
)
def test_a_chat_stores_what_the_recording_adds_up_to(path, models, client):
    server, model = models[path]
    streams = _streams_of(load_recording(path)).interactions
    is_google = KINDS.get(path.parent.name) == "google"
    conversation = (_google_conversation if is_google else _conversation)(streams)
    chat = client.create_chat(conversation.prompt, model=model, tools=conversation.tools)
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: len(f.events) > 0, "a snapshot")
        server.followed.set()
        _work_to_the_end(client, follower, conversation)
    stored = [m for m in client.messages(chat["id"]) if m["role"] == "assistant"]
    assert len(stored) == len(conversation.answers) == len(server.requests)
    for message, expected in zip(stored, conversation.answers, strict=True):
        _compare(message, expected)
    assert follower.errors == follower.retries == []
    assert [text for text in follower.at_reset if text] == [
        answer.text for answer in conversation.answers if answer.text
    ]


def _work_to_the_end(client: Client, follower: Follower, conversation: Conversation) -> None:
    """Answer tool calls with the recorded results until the chat rests."""
    for number, expected in enumerate(conversation.answers, start=1):
        if not expected.tool_calls:
            follower.wait_for_answers(number)
            return
        follower.wait(lambda f, n=number: len(f.actions) == n, "action_required")
        asked = follower.actions[-1]
        found = [(c["tool_call_id"], c["tool_name"], json.loads(c["args"])) for c in asked]
        _compare_calls(found, expected)
        client.submit_results(
            follower.chat_id,
            {call["tool_call_id"]: conversation.output_of(call) for call in asked},
        )


def _compare_calls(found: list[tuple[str, str, Any]], expected: ExpectedAnswer) -> None:
    """Compare calls; an id that the provider did not give may be any that is unique."""
    assert len({call_id for call_id, _, _ in found}) == len(found)
    given = zip(found, expected.tool_calls, strict=True)
    assert [(one[0] if call[0] else "", one[1], one[2]) for one, call in given] == [
        (call_id, name, json.loads(arguments or "{}"))
        for call_id, name, arguments in expected.tool_calls
    ]


def _compare(message: dict[str, Any], expected: ExpectedAnswer) -> None:
    assert text_of(message) == expected.text
    assert text_of(message, "reasoning") == expected.reasoning
    local = [part for part in message["content"] if not part.get("provider_executed")]
    _compare_calls(tool_calls_of({**message, "content": local}), expected)
    assert [part["url"] for part in message["content"] if part["type"] == "source"] == list(
        expected.sources
    )
    names = {
        "input": "input_tokens",
        "output": "output_tokens",
        "total": "total_tokens",
        "reasoning": "reasoning_tokens",
        "cache_read": "cache_read_tokens",
    }
    usage = message.get("usage", {})
    assert {ours: usage.get(ours, 0) for ours in names.values()} == {
        names[name]: number for name, number in expected.usage.items()
    }
