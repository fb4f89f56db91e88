"""Calls that wait for the client: results, a deadline, an interrupt, a promotion, two at once.

Two web processes and a worker on PostgreSQL and Redis; each test uses both webs.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from chatd.chattest.openai import OpenAIRequest
from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client, ContractError, text_of
from tests.support.product import Product, Web, split

RUNS_ON = "split"
pytestmark = pytest.mark.slow

LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
TIMED_OUT = "Dynamic tool execution timed out"


@pytest.fixture(scope="module")
def fakes() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture(scope="module")
def product(server_url: str, fakes: ScriptedProvider) -> Iterator[Product]:
    with split(server_url, CHATD_SWEEP_SECONDS="0.5") as started:
        webs = [started.web(ready=False) for _ in range(2)]
        worker = started.worker(ready=False)
        for web in webs:
            web.wait_until_ready()
        worker.wait_for_log(" ready.")
        started.add_models({"base_url": fakes.base_url, "is_default": True})
        yield started


@pytest.fixture
def clients(product: Product) -> tuple[Client, Client]:
    first, second = [each for each in product.processes if isinstance(each, Web)]
    return product.client(first), product.client(second)


def ask(client: Client, fakes: ScriptedProvider, *ids: str) -> tuple[str, str]:
    """Create a chat whose model asks the client for these calls; returns its id and prompt."""
    prompt = f"look {uuid4().hex[:8]}"
    wanted = calls(*((call_id, "look", '{"at": 1}') for call_id in ids))
    fakes.on(prompt, in_turn(wanted, answer("I ", "see.")))
    return str(client.create_chat(prompt, tools=[LOOK])["id"]), prompt


def waits(client: Client, chat: str) -> None:
    with client.follow(chat) as follower:
        follower.wait_for_status("requires_action")


def rests(client: Client, chat: str, answers: int) -> list[Any]:
    with client.follow(chat) as follower:
        follower.wait_for_answers(answers)
    return client.messages(chat)


def told_to_model(request: OpenAIRequest) -> dict[str, str]:
    """Return what the model was told of its calls, by id."""
    return {
        message.raw["tool_call_id"]: message.content
        for message in request.messages
        if message.role == "tool"
    }


def test_results_reach_the_model_in_its_own_terms(
    clients: tuple[Client, Client], fakes: ScriptedProvider
) -> None:
    a, b = clients
    chat, prompt = ask(a, fakes, "one", "two")
    waits(b, chat)
    b.submit_results(chat, {"two": {"seen": [1, None]}, "one": "nothing"})
    stored = rests(a, chat, 2)
    assert [m["role"] for m in stored] == ["user", "assistant", "tool", "tool", "assistant"]
    assert text_of(stored[-1]) == "I see."
    told = told_to_model(fakes.requests_for(prompt)[-1])
    assert told == {"one": "nothing", "two": '{"seen":[1,null]}'}


def test_of_many_submissions_at_once_exactly_one_counts(
    clients: tuple[Client, Client], fakes: ScriptedProvider
) -> None:
    chat, prompt = ask(clients[0], fakes, "only")
    waits(clients[1], chat)
    start = threading.Barrier(8)

    def submit(number: int) -> int:
        client = Client(clients[number % 2].url, clients[0].token)
        start.wait(120)
        try:
            client.submit_results(chat, {"only": f"answer {number}"})
        except ContractError as refused:
            return -1 if ": 409, not 204" in str(refused) else -2
        return number

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(submit, range(8)))
    (winner,) = [number for number in outcomes if number >= 0]
    assert outcomes.count(-1) == 7
    rests(clients[0], chat, 2)
    requests = fakes.requests_for(prompt)
    assert len(requests) == 2
    assert told_to_model(requests[-1]) == {"only": f"answer {winner}"}


def test_results_that_do_not_fit_change_nothing(
    clients: tuple[Client, Client], fakes: ScriptedProvider
) -> None:
    a, b = clients
    chat, _ = ask(a, fakes, "one", "two")
    waits(b, chat)
    for wrong in ({"one": 1}, {"one": 1, "two": 2, "three": 3}, {"three": 3}):
        b.submit_results(chat, wrong, expect=400)
    assert a.chat(chat)["status"] == "requires_action"
    b.submit_results(chat, {"one": 1, "two": 2})
    rests(a, chat, 2)


def test_calls_that_nobody_answers_expire(
    clients: tuple[Client, Client], fakes: ScriptedProvider, product: Product
) -> None:
    a, b = clients
    chat, prompt = ask(a, fakes, "one", "two")
    with b.follow(chat) as follower:
        follower.wait_for_status("requires_action")
        with psycopg.connect(product.environment["DATABASE_URL"], autocommit=True) as database:
            moved = database.execute(
                "UPDATE chats_chat SET action_deadline_at = now() - interval '1 second'"
                " WHERE id = %s AND action_deadline_at > now() + interval '4 minutes'",
                [chat],
            )
        assert moved.rowcount == 1, "five minutes are the time a client has"
        follower.wait_for_status("error")
        assert follower.errors[-1]["message"] == TIMED_OUT
    found = a.chat(chat)
    assert (found["last_error"]["message"], found["last_error"]["kind"]) == (TIMED_OUT, "generic")
    a.submit_results(chat, {"one": 1, "two": 2}, expect=409)
    results = [m["content"][0] for m in a.messages(chat) if m["role"] == "tool"]
    assert [(part["tool_call_id"], part["result"]) for part in results] == [
        ("one", TIMED_OUT),
        ("two", TIMED_OUT),
    ]
    assert all(part["is_error"] for part in results)
    a.send(chat, "go on without")
    rests(b, chat, 2)
    assert set(told_to_model(fakes.requests_for("go on without")[-1]).values()) == {TIMED_OUT}
    assert len(fakes.requests_for(prompt)) == 1


def test_an_interrupt_closes_the_calls(
    clients: tuple[Client, Client], fakes: ScriptedProvider
) -> None:
    a, b = clients
    chat, _ = ask(a, fakes, "one")
    waits(b, chat)
    assert b.interrupt(chat)["status"] == "waiting"
    a.submit_results(chat, {"one": 1}, expect=409)
    roles = [m["role"] for m in a.messages(chat)]
    assert roles == ["user", "assistant", "tool"]
    assert a.messages(chat)[-1]["content"][0]["is_error"] is True


def test_a_promotion_closes_the_calls_and_goes_on_with_the_message(
    clients: tuple[Client, Client], fakes: ScriptedProvider
) -> None:
    a, b = clients
    chat, _ = ask(a, fakes, "one")
    waits(b, chat)
    prompt = f"rather this {uuid4().hex[:8]}"
    queued = a.send(chat, prompt)
    assert queued["queued"] is True
    b.promote_queued(chat, queued["queued_message"]["id"])
    stored = rests(a, chat, 2)
    assert [m["role"] for m in stored] == ["user", "assistant", "tool", "user", "assistant"]
    assert stored[2]["content"][0]["is_error"] is True
    assert text_of(stored[-1]) == f"You said: {prompt}"


def test_a_worker_that_dies_meanwhile_changes_nothing(
    clients: tuple[Client, Client], fakes: ScriptedProvider, product: Product
) -> None:
    a, b = clients
    chat, _ = ask(a, fakes, "one")
    waits(b, chat)
    for worker in [each for each in product.processes if "worker" in each.name and each.is_alive]:
        worker.kill()
    b.submit_results(chat, {"one": 1})
    product.worker(ready=False)
    stored = rests(a, chat, 2)
    assert [m["role"] for m in stored] == ["user", "assistant", "tool", "assistant"]
