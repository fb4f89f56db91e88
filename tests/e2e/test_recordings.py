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
    load_recording,
)
from tests.support.client import Client, Follower, text_of, tool_calls_of
from tests.support.recordings import FILES, KINDS, MISSING

RUNS_ON = "embedded"


pytestmark = pytest.mark.recordings


@dataclass(frozen=True)
class Conversation:
    """Consecutive exchanges of one recording that one chat can replay, with their answers."""

    prompt: str
    tools: tuple[dict[str, Any], ...]
    outputs: dict[str, str]
    answers: tuple[ExpectedAnswer, ...]


class HeldReplay(ReplayServer):
    """Replays once somebody follows the chat, so that all of it is seen live."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self.followed = threading.Event()

    async def _answer(self, http: http_server.Request) -> http_server.StreamResponse:
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
        rows = [
            {"base_url": server.base_url, "kind": KINDS[path.parent.name], "model": path.stem}
            for path, server in servers.items()
        ]
        made = product.add_models(*rows)
        yield {
            path: (server, model)
            for (path, server), model in zip(servers.items(), made, strict=True)
        }


def _streams_of(recording: Recording) -> Recording:
    """Keep the exchanges that were streamed; whole answers are for other callers."""
    kept = tuple(each for each in recording.interactions if "event-stream" in each.content_type)
    return Recording(name=recording.name, interactions=kept)


def _conversation(streams: tuple[Interaction, ...]) -> Conversation:
    requests = [json.loads(stream.request_body) for stream in streams]
    first = requests[0]
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
    conversation = _conversation(streams)
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
        assert [
            (call["tool_call_id"], call["tool_name"], json.loads(call["args"])) for call in asked
        ] == [
            (call_id, name, json.loads(arguments or "{}"))
            for call_id, name, arguments in expected.tool_calls
        ]
        client.submit_results(
            follower.chat_id,
            {call["tool_call_id"]: conversation.outputs[call["tool_call_id"]] for call in asked},
        )


def _compare(message: dict[str, Any], expected: ExpectedAnswer) -> None:
    assert text_of(message) == expected.text
    assert text_of(message, "reasoning") == expected.reasoning
    assert tool_calls_of(message) == [
        (call_id, name, json.loads(arguments or "{}"))
        for call_id, name, arguments in expected.tool_calls
    ]
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
