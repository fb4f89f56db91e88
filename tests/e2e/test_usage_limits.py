"""Turns of somebody who comes near a usage limit, on the whole product."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.provider import Gate, ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client, Follower
from tests.support.product import Product, Web, embedded, wait_until

RUNS_ON = "embedded"

LIMITS = "/api/experimental/chats/usage-limits"
CONFIGS = "/api/experimental/chats/model-configs"
INPUT, OUTPUT = "input_price_per_million_tokens", "output_price_per_million_tokens"
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}

OF_ANSWER = 21 * 1 + 7 * 10
"""Micros that one answer of the fake provider costs."""

OF_CHAT = """
import json
from django.db.models import Count, Sum
from chatd.spending.ledger_models import LedgerEntry
settled = LedgerEntry.objects.filter(chat_id={chat_id!r}, kind="settle")
of_calls = settled.values_list("call_kind").annotate(Count("pk"), Sum("settled_micros"))
print(json.dumps(list(map(list, of_calls.order_by("call_kind")))))
"""


@pytest.fixture(scope="module")
def paying(provider: ScriptedProvider) -> Iterator[Product]:
    """A product whose model costs a dollar a million tokens of input, and ten of output.

    Titles and labels of earlier chats would be paid for while a test counts.
    """
    with embedded(CHATD_RETRY_FIRST_DELAY_SECONDS="0.05", CHATD_SIDE_CALLS="off") as started:
        started.up()
        row = {"base_url": provider.base_url, "is_default": True}
        [model] = started.add_models(row)
        web = started.processes[0]
        assert isinstance(web, Web)
        body = {"model_config": {"cost": {INPUT: "1", OUTPUT: "10"}}}
        started.client(web).call("PATCH", f"{CONFIGS}/{model}", body)
        yield started


@pytest.fixture
def client(paying: Product) -> Iterator[Client]:
    web = paying.processes[0]
    assert isinstance(web, Web)
    acting = paying.client(web)
    yield acting
    acting.call("PUT", LIMITS, {"spend_limit_micros": None, "period": "month"})


def leave(client: Client, micros: int) -> None:
    """Set the limit so that so much may still be spent; what was held has come free."""
    client.call("PUT", LIMITS, {"spend_limit_micros": 10**12, "period": "month"})
    spent = client.call("GET", f"{LIMITS}/status")["current_spend"]
    client.call("PUT", LIMITS, {"spend_limit_micros": spent + micros, "period": "month"})


def spent(client: Client) -> int:
    return int(client.call("GET", f"{LIMITS}/status")["current_spend"])


def unique(words: str) -> str:
    return f"{words} {uuid4().hex[:8]}"


def ended(client: Client, follower: Follower) -> Any:
    follower.wait_for_status("error")
    return client.chat(follower.chat_id)["last_error"]


def test_an_answer_is_shortened_to_what_can_be_paid(client, provider):
    prompt = unique("go on as long as you can")
    provider.on(prompt, answer("Not ", "long."))
    leave(client, 30_000)
    chat = client.create_chat(prompt)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    [asked] = provider.requests_for(prompt)
    assert 1024 <= asked.body["max_tokens"] < 3000
    for_input = 30_000 - asked.body["max_tokens"] * 10
    assert len(prompt) < for_input


def test_a_turn_ends_between_two_steps_and_goes_on_after_a_raise(client, provider):
    prompt = unique("look at it")
    provider.on(prompt, in_turn(calls(("look-1", "look", "{}")), answer("Never.")))
    leave(client, 30_000)
    chat = client.create_chat(prompt, tools=[LOOK])
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: f.status == "requires_action" and f.answers, "the call")
        wait_until(lambda: spent(client) > 0, 120, "the call is charged")
        leave(client, 5_000)
        client.submit_results(chat["id"], {"look-1": "a cat"})
        error = ended(client, follower)
    assert error["kind"] == "usage_limit"
    assert error["message"].startswith("usage limit exceeded: spent $")
    assert "resets at" in error["message"]
    assert not error.get("retryable")
    stored = client.chat(chat["id"])
    assert stored["last_error"]["message"] == error["message"]
    assert stored["last_turn_summary"] == "Usage limit reached"
    assert len(provider.requests_for(prompt)) == 1
    assert [m["role"] for m in client.messages(chat["id"])] == ["user", "assistant", "tool"]
    leave(client, 10**6)
    again = unique("and now")
    provider.on(again, answer("A cat."))
    with client.follow(chat["id"]) as follower:
        client.send(chat["id"], again)
        follower.wait(lambda f: "A cat." in f.answers and f.status == "waiting", "the answer")


def test_a_call_waits_for_what_another_one_holds(client, provider, paying):
    """The money would do for both, one after the other: neither is refused."""
    first, second = unique("first"), unique("second")
    gate: Gate = provider.gate(first, "Slowly")
    provider.on(second, answer("Quickly."))
    leave(client, 14_000)
    one = client.create_chat(first)
    with client.follow(one["id"]) as slow:
        slow.wait_for_text("Slowly")
        other = client.create_chat(second)
        with client.follow(other["id"]) as quick:
            quick.wait_for_status("running")
            paying.processes[0].wait_for_log("call waits for what other calls hold")
            assert provider.requests_for(second) == []
            gate.end(" but surely.")
            slow.wait_for_answers(1)
            quick.wait_for_answers(1)
            assert quick.errors == []


def test_who_has_nothing_left_is_told_so_before_anything_begins(client, provider):
    prompt = unique("too late")
    leave(client, 1)
    provider.on(prompt, answer("Never."))
    chat = client.create_chat(prompt)
    with client.follow(chat["id"]) as follower:
        assert ended(client, follower)["kind"] == "usage_limit"
    refused = client.call(
        "POST", f"/api/experimental/chats/{chat['id']}/title/propose", {}, expect=409
    )
    assert refused["message"] == "Chat usage limit exceeded."
    assert refused["limit_micros"] - refused["spent_micros"] == 1
    assert refused["resets_at"] > "2026"
    assert provider.requests_for(prompt) == []


def test_an_interrupted_answer_is_charged_for_what_was_streamed(client, provider):
    prompt = unique("stop me")
    provider.gate(prompt, "x" * 400)
    leave(client, 10**6)
    before = spent(client)
    chat = client.create_chat(prompt)
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: len(f.text) == 400, "the text")
        client.interrupt(chat["id"])
        follower.wait_for_answers(1)
    charged = spent(client) - before
    assert 1000 < charged < 2500  # 100 tokens of output, and a prompt of a few hundred
    [message] = [m for m in client.messages(chat["id"]) if m["role"] == "assistant"]
    assert "usage" not in message


def test_calls_beside_turns_are_charged(product, web, provider):
    client, prompt = product.client(web), unique("name this chat")
    provider.on(prompt, answer("Of ", "course."))
    row = {"base_url": provider.base_url, "prices": {"input": "1", "output": "10"}}
    [model] = product.add_models(row)
    chat = client.create_chat(prompt, model=model)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    wait_until(lambda: client.chat(chat["id"])["last_turn_summary"] is not None, 120, "the label")
    wait_until(lambda: client.chat(chat["id"])["title"] != prompt, 120, "the title")
    of_calls = json.loads(product.shell(OF_CHAT.format(chat_id=chat["id"])))
    assert [kind for kind, _, _ in of_calls] == ["label", "title", "turn"]
    assert [count for _, count, _ in of_calls] == [1, 1, 1]
    assert of_calls[2][2] == OF_ANSWER
    assert all(micros > 0 for _, _, micros in of_calls)


def test_an_answer_that_is_cut_because_it_is_too_long_is_paid_for(client, provider, paying):
    prompt = unique("write a library")
    provider.on(prompt, answer(*["x" * 30_000] * 100))
    leave(client, 10**6)
    before = spent(client)
    chat = client.create_chat(prompt)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        assert "The answer was cut here" in follower.answers[-1]
    # 32,000 tokens are what the answer may have at most
    assert 320_000 < spent(client) - before < 330_000
