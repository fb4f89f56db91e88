"""Debug runs on the whole product: what is recorded of turns and titles, and that no key is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIRequest, non_streaming_response
from tests.api.documented import check_answer
from tests.e2e.leaks.evidence import holders, kept_by
from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client
from tests.support.product import Product, embedded, split, wait_until

pytestmark = pytest.mark.slow

CHATS = "/api/experimental/chats"
KEY = "debug-run-canary-5d1f"
PASSWORD = "argument-canary-5d1f"
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
IN_TURN = {"input_tokens": 21, "output_tokens": 7, "total_tokens": 28}
RETRY = {"retry_classification": "rate_limit", "retry_delay_ms": 50}


@pytest.fixture(scope="module")
def product(provider: ScriptedProvider, any_server_url: str) -> Iterator[Product]:
    settings = {
        "CHATD_FORCE_DEBUG_LOGGING": "1",
        "CHATD_RETRY_FIRST_DELAY_SECONDS": "0.05",
        "CHATD_SIDE_CALLS": "off",
    }
    made = split(any_server_url, **settings) if any_server_url else embedded(**settings)
    with made as started:
        if started.redis is None:
            started.up()
        else:
            started.worker()
            started.web()
        started.add_models({"base_url": provider.base_url, "key": KEY, "is_default": True})
        yield started


@pytest.fixture
def client(product: Product) -> Client:
    return product.client(product.processes[-1])  # type: ignore[arg-type]


def asked(client: Client, path: str) -> Any:
    body = client.call("GET", path)
    check_answer("GET", path, 200, "application/json", body)
    return body


def runs_of(client: Client, chat: str, count: int = 1) -> list[Any]:
    """Return the runs of a chat, the oldest first, once so many have ended."""
    path = f"{CHATS}/{chat}/debug/runs"

    def ended() -> bool:
        return sum("finished_at" in run for run in client.call("GET", path)) == count

    wait_until(ended, 120, f"{count} runs have ended")
    runs = [asked(client, f"{path}/{run['id']}") for run in asked(client, path)]
    assert KEY not in json.dumps(runs)
    return runs[::-1]


def ended(client: Client, chat: str, *statuses: str) -> None:
    with client.follow(chat) as follower:
        follower.wait_for_status(*(statuses or ("waiting",)))


def test_a_turn_with_a_retry_a_tool_and_an_answer(
    client: Client, provider: ScriptedProvider, product: Product
) -> None:
    echo = {"error": {"message": f"The key {KEY} is too fast."}}
    look = calls(("c1", "look", json.dumps({"password": PASSWORD})))
    script = in_turn(faults.http_error(429, echo), look, answer("Found it."))
    provider.on("look for it", script)
    chat = client.create_chat("look for it", tools=[TOOL])["id"]
    ended(client, chat, "requires_action")
    client.submit_results(chat, {"c1": "behind the door"})
    ended(client, chat)
    first, second = runs_of(client, chat, 2)
    messages = client.messages(chat)
    user, called, result, said = (message["id"] for message in messages if message["id"])

    assert (first["kind"], first["status"], first["model"]) == (
        "chat_turn",
        "completed",
        "fake-model",
    )
    assert (first["trigger_message_id"], first["history_tip_message_id"]) == (user, user)
    assert (second["trigger_message_id"], second["history_tip_message_id"]) == (user, result)
    assert first["summary"] == {
        "first_message": "look for it",
        "endpoint_label": "POST /chat/completions",
        "step_count": 1,
        "has_error": False,
        "total_input_tokens": 21,
        "total_output_tokens": 7,
        "total_tokens": 28,
    }
    [step] = first["steps"]
    assert (step["step_number"], step["operation"], step["status"]) == (1, "stream", "completed")
    assert (step["history_tip_message_id"], step["assistant_message_id"]) == (user, called)
    assert step["usage"] == IN_TURN
    assert step["normalized_request"]["messages"][-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "look for it"}],
    }
    assert [tool["name"] for tool in step["normalized_request"]["tools"]] == ["look"]
    assert step["normalized_response"]["finish_reason"] == "tool_calls"
    assert step["normalized_response"]["content"][0]["args"] == {"password": "[REDACTED]"}

    refused, answered = step["attempts"]
    assert (refused["number"], refused["status"], refused["response_status"]) == (1, "error", 429)
    assert {name: refused[name] for name in RETRY} == RETRY
    assert refused["error"]["kind"] == "rate_limit"
    assert json.loads(refused["response_body"]) == {
        "error": {"message": "The key [REDACTED] is too fast."}
    }
    assert (answered["number"], answered["status"]) == (2, "completed")
    assert answered["request_headers"]["Authorization"] == "[REDACTED]"
    assert answered["url"] == f"{provider.base_url}/chat/completions"
    assert json.loads(answered["request_body"])["model"] == "fake-model"
    assert "data: [DONE]" in answered["response_body"]

    [step] = second["steps"]
    assert step["assistant_message_id"] == said
    assert step["normalized_request"]["messages"][-1]["content"][0]["output"] == "behind the door"
    debug_rows = {name: rows for name, rows in kept_by(product, "").items() if "debug" in name}
    assert len(debug_rows) == 2
    assert holders(debug_rows, KEY) == []


def test_a_turn_that_fails(client: Client, provider: ScriptedProvider) -> None:
    echo = {"error": {"message": f"Bad key {KEY}", "api_key": KEY}}
    provider.on("refuse me", faults.http_error(401, echo))
    chat = client.create_chat("refuse me")["id"]
    ended(client, chat, "error")
    [run] = runs_of(client, chat)
    [step] = run["steps"]
    assert (run["status"], step["status"]) == ("error", "error")
    assert run["summary"]["has_error"] is True
    assert step["error"]["kind"] == "auth"
    assert step["error"]["status_code"] == 401
    assert "normalized_response" not in step
    [attempt] = step["attempts"]
    assert json.loads(attempt["response_body"])["error"]["api_key"] == "[REDACTED]"


def test_a_turn_that_is_interrupted(client: Client, provider: ScriptedProvider, gate: Any) -> None:
    opened = gate("stop me", "Half of ")
    chat = client.create_chat("stop me")["id"]
    with client.follow(chat) as follower:
        follower.wait_for_text("Half of ")
        client.interrupt(chat)
        follower.wait_for_status("waiting")
    [run] = runs_of(client, chat)
    [step] = run["steps"]
    assert (run["status"], step["status"]) == ("interrupted", "interrupted")
    [attempt] = step["attempts"]
    assert (attempt["status"], attempt["response_status"]) == ("interrupted", 200)
    assert "Half of " in attempt["response_body"]
    assert "error" not in step
    opened.end()


def test_a_title_that_is_asked_for(client: Client, provider: ScriptedProvider) -> None:
    def name(request: OpenAIRequest) -> Any:
        return non_streaming_response("A good name")

    provider.title("name this", in_turn(faults.http_error(503, {}), name))
    chat = client.create_chat("name this")["id"]
    ended(client, chat)
    client.call("POST", f"{CHATS}/{chat}/title/regenerate")
    _, run = runs_of(client, chat, 2)
    [step] = run["steps"]
    assert (run["kind"], run["status"]) == ("title_generation", "completed")
    assert (step["operation"], step["status"]) == ("generate", "completed")
    assert [attempt["status"] for attempt in step["attempts"]] == ["error", "completed"]
    assert step["normalized_response"]["content"] == [{"type": "text", "text": "A good name"}]
    assert "output" in step["normalized_request"]
