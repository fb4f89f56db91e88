"""Chats of a model on the Responses API, with a vendor that looks closely and keeps answers."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatd.chattest.responses import Asked, Refusal, ResponsesServer
from chatd.chattest.responses_wire import CallTool, Citation, Reply, Say, Search, Think, says
from tests.support.client import Client, Follower, text_of, tool_calls_of

RUNS_ON = "embedded"

TOOL = {"name": "find", "description": "Finds", "input_schema": {"type": "object"}}
STORED: dict[str, Any] = {"provider_options": {"openai": {"web_search_enabled": True}}}
NOT_STORED: dict[str, Any] = {"provider_options": {"openai": {"store": False}}}
CALL = CallTool(name="find", arguments='{"q": 1}')
NOBODYS_CALL = CallTool(name="nothing", arguments="{}")
"""Of a tool that nobody has: its error is a result, and the turn goes on."""


class Vendor(ResponsesServer):
    """Answers by the last text of the user: one script per text, one reply per request."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self._scripts: dict[str, list[Reply | Refusal]] = {}

    def on(self, text: str, *replies: Reply | Refusal) -> None:
        self._scripts[text] = list(replies)

    def _reply(self, asked: Asked) -> Reply | Refusal:
        script = self._scripts.get(asked.last_user_text)
        return script.pop(0) if script else says("You said: ", asked.last_user_text)


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with Vendor() as server:
        yield server


@pytest.fixture
def bodies(vendor: Vendor) -> list[dict[str, Any]]:
    """What was asked in one test."""
    vendor.bodies.clear()
    vendor.refused.clear()
    return vendor.bodies


@pytest.fixture(scope="module")
def models(product: Any, vendor: Vendor) -> dict[str, str]:
    """Model configs by name: what is kept at the vendor, and where it is asked."""
    row = {"base_url": vendor.base_url, "kind": "openai", "model": "gpt-5"}
    made = product.add_models(
        {**row, "options": STORED},
        {**row, "options": NOT_STORED},
        {**row, "kind": "azure", "base_url": f"{vendor.base_url}/openai/v1", "options": STORED},
    )
    return dict(zip(("stored", "not stored", "azure"), made, strict=True))


Talk = Callable[..., Follower]


@pytest.fixture
def talk(client: Client, models: dict[str, str]) -> Iterator[Talk]:
    """Begin chats that the test follows."""
    opened: list[Follower] = []

    def begin(text: str, model: str = "stored", **fields: Any) -> Follower:
        chat = client.create_chat(text, model=models[model], **fields)
        opened.append(client.follow(chat["id"]))
        return opened[-1]

    yield begin
    for follower in opened:
        follower.close()


def answers(client: Client, follower: Follower) -> list[dict[str, Any]]:
    messages = client.messages(follower.chat_id)
    return [message for message in messages if message["role"] == "assistant"]


def roles(body: dict[str, Any]) -> list[str]:
    return [item.get("role") or item["type"] for item in body["input"]]


def conversation(body: dict[str, Any]) -> list[str]:
    """Return what a request has behind its system messages."""
    return [role for role in roles(body) if role != "developer"]


@pytest.mark.parametrize("model", ["stored", "azure"])
def test_a_second_turn_goes_on_from_the_first_answer(talk, client, vendor, bodies, model):
    follower = talk("One", model).wait_for_answers(1)
    client.send(follower.chat_id, "Two")
    follower.wait_for_answers(2)
    first, second = bodies
    assert "previous_response_id" not in first
    assert second["previous_response_id"] in vendor.kept.contexts
    assert roles(second) == [*[role for role in roles(first) if role == "developer"], "user"]
    assert second["input"][-1]["content"] == [{"type": "input_text", "text": "Two"}]
    assert text_of(answers(client, follower)[-1]) == "You said: Two"
    assert follower.retries == vendor.refused == []


def test_without_a_store_every_turn_sends_it_all(talk, client, vendor, bodies):
    follower = talk("One", "not stored").wait_for_answers(1)
    client.send(follower.chat_id, "Two")
    follower.wait_for_answers(2)
    assert conversation(bodies[1]) == ["user", "assistant", "user"]
    assert "previous_response_id" not in bodies[1]
    assert vendor.refused == []


def test_a_forgotten_answer_is_told_and_the_next_try_sends_it_all(talk, client, vendor, bodies):
    thinking = Reply(output=[Think(summary=["hm"]), Say(deltas=["First"])])
    vendor.on("One and forget", thinking)
    follower = talk("One and forget").wait_for_answers(1)
    vendor.forget()
    client.send(follower.chat_id, "Two")
    follower.wait_for_answers(2)
    assert [retry["attempt"] for retry in follower.retries] == [1]
    assert follower.retries[0]["error"].endswith(" returned an unexpected error.")
    assert [error.code for error in vendor.refused] == ["previous_response_not_found"]
    assert "previous_response_id" in bodies[1]
    assert "previous_response_id" not in bodies[2]
    assert conversation(bodies[2]) == ["user", "assistant", "user"]
    client.send(follower.chat_id, "Three")
    follower.wait_for_answers(3)
    assert bodies[3]["previous_response_id"]
    assert len(follower.retries) == 1


def test_only_the_first_step_of_a_turn_goes_on_from_an_answer(talk, client, vendor, bodies):
    vendor.on("Two steps", Reply(output=[Think(), NOBODYS_CALL]), says("Done"))
    follower = talk("One").wait_for_answers(1)
    client.send(follower.chat_id, "Two steps")
    follower.wait_for_answers(3)
    assert conversation(bodies[1]) == ["user"]
    assert "previous_response_id" in bodies[1]
    assert "previous_response_id" not in bodies[2]
    step = ["item_reference", "function_call", "function_call_output"]
    assert conversation(bodies[2]) == ["user", "assistant", "user", *step]
    assert follower.retries == vendor.refused == []


def test_what_was_forgotten_is_not_named_again_in_the_turn(talk, client, vendor, bodies):
    vendor.on("One thought", Reply(output=[Think(), Say(deltas=["First"])]))
    vendor.on("Steps after it", Reply(output=[Think(), NOBODYS_CALL]), says("Done"))
    follower = talk("One thought").wait_for_answers(1)
    vendor.forget()
    client.send(follower.chat_id, "Steps after it")
    follower.wait_for_answers(3)
    assert len(vendor.refused) == len(follower.retries) == 1
    assert text_of(answers(client, follower)[-1]) == "Done"


@pytest.mark.parametrize("model", ["stored", "not stored"])
def test_a_step_after_tools_sends_it_all_with_the_reasoning(talk, client, vendor, bodies, model):
    text = f"Use tools {model}"
    vendor.on(text, Reply(output=[Think(), CALL]), says("Found"))
    follower = talk(text, model, tools=[TOOL])
    follower.wait_for_status("requires_action")
    client.submit_results(follower.chat_id, {CALL.call_id: {"n": 1}})
    follower.wait_for_answers(2)
    thought = "item_reference" if model == "stored" else "reasoning"
    assert conversation(bodies[1]) == ["user", thought, "function_call", "function_call_output"]
    assert "previous_response_id" not in bodies[1]
    called, found = answers(client, follower)
    assert tool_calls_of(called) == [(CALL.call_id, "find", {"q": 1})]
    assert text_of(found) == "Found"
    client.send(follower.chat_id, "And then")
    follower.wait_for_answers(3)
    assert ("previous_response_id" in bodies[2]) == (model == "stored")
    assert follower.retries == vendor.refused == []


def test_a_search_is_shown_with_its_sources_and_replayed(talk, client, vendor, bodies):
    cites = [Citation(url="https://a.example", title="A")]
    searched = [Think(), Search(query="x"), Say(deltas=["So"], cites=cites), CALL]
    vendor.on("Search it", Reply(output=searched), says("Done"))
    follower = talk("Search it", tools=[TOOL])
    follower.wait_for_status("requires_action")
    client.submit_results(follower.chat_id, {CALL.call_id: {"n": 1}})
    follower.wait_for_answers(2)
    assert {"type": "web_search"} in bodies[0]["tools"]
    kinds = [part["type"] for part in answers(client, follower)[0]["content"]]
    assert kinds == ["reasoning", "tool-call", "tool-result", "text", "source", "tool-call"]
    [source] = [p for p in answers(client, follower)[0]["content"] if p["type"] == "source"]
    assert (source["url"], source["title"]) == ("https://a.example", "A")
    replayed = ["item_reference", "item_reference", "assistant", "function_call"]
    assert conversation(bodies[1]) == ["user", *replayed, "function_call_output"]
    assert follower.retries == vendor.refused == []


def test_an_interrupted_answer_is_no_end_of_a_chain(talk, client, vendor, bodies):
    half = Reply(output=[Think(summary=["hm"]), Say(deltas=["Hel"])], hangs=True)
    vendor.on("Wait for it", half)
    follower = talk("Wait for it").wait_for_text("Hel")
    client.interrupt(follower.chat_id)
    follower.wait_for_status("waiting")
    client.send(follower.chat_id, "Go on")
    follower.wait_for_answers(2)
    assert "previous_response_id" not in bodies[1]
    assert conversation(bodies[1])[0] == "user"
    assert "Hel" in json.dumps(bodies[1]["input"])
    assert follower.retries == vendor.refused == []


def test_editing_goes_on_from_the_answer_before(talk, client, vendor, bodies):
    follower = talk("One").wait_for_answers(1)
    client.send(follower.chat_id, "Two")
    follower.wait_for_answers(2)
    asked = [m for m in client.messages(follower.chat_id) if m["role"] == "user"]
    client.edit(follower.chat_id, asked[-1]["id"], "Two and a half")
    follower.wait(lambda f: len(bodies) == 3, "a third call")
    follower.wait_for_status("waiting")
    assert bodies[2]["previous_response_id"] == bodies[1]["previous_response_id"]
    assert vendor.refused == []


def test_a_broken_stream_is_tried_again_and_nothing_of_it_stays(talk, client, vendor, bodies):
    broken = Reply(output=[Think(summary=["hm"]), Say(deltas=["Hel"])], cut=True)
    vendor.on("Break once", broken, says("Whole"))
    follower = talk("One").wait_for_answers(1)
    client.send(follower.chat_id, "Break once")
    follower.wait_for_answers(2)
    assert [retry["kind"] for retry in follower.retries] == ["timeout"]
    answer = answers(client, follower)[-1]
    assert [part["type"] for part in answer["content"]] == ["text"]
    assert text_of(answer) == "Whole"


def test_usage_is_stored_in_normal_form(talk, client, bodies):
    follower = talk("Count").wait_for_answers(1)
    usage = answers(client, follower)[0]["usage"]
    assert {key: usage[key] for key in usage if key.endswith("_tokens")} == {
        "input_tokens": 17,
        "output_tokens": 7,
        "total_tokens": 28,
        "reasoning_tokens": 2,
        "cache_read_tokens": 4,
    }


def test_a_key_goes_to_azure_as_it_wants_it(talk, vendor, bodies):
    talk("Hello Azure", "azure").wait_for_answers(1)
    [received] = [each for each in vendor.received if each.body is bodies[0]]
    assert received.headers["api-key"] == "e2e-fake-provider-key"
    assert received.path == "/openai/v1/responses"
