"""Workers killed at random moments of turns with tools: nothing lost, doubled or called twice.

Each round starts several chats, kills the one worker at a random moment, starts another one, and
decides what is in doubt. `CHATD_TEST_KILLS` is the number of rounds, each with as many points as
there are chats; `CHATD_TEST_SEED` makes other moments.
"""

import os
import random
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from chatd.chattest.openai import OpenAIHandler, OpenAIRequest
from tests.e2e.provider import ScriptedProvider, calls, paced
from tests.support.client import Client, text_of
from tests.support.product import Product, split, wait_until
from tests.support.tool_ledger import Ledger

RUNS_ON = "split"
ROUNDS = int(os.environ.get("CHATD_TEST_KILLS", "2"))
SEED = int(os.environ.get("CHATD_TEST_SEED", "1"))
CHATS = 5
LONGEST = 2.0
ANSWER = [f"word{number} " for number in range(12)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + ROUNDS * 120)]


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger() as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture(scope="module")
def product(server_url: str, provider: ScriptedProvider) -> Iterator[Product]:
    with split(
        server_url,
        CHATD_LEASE_SECONDS="2",
        CHATD_LEASE_RENEW_SECONDS="0.5",
        CHATD_SWEEP_SECONDS="0.5",
        CHATD_RETRY_FIRST_DELAY_SECONDS="0.1",
        CHATD_API_RATE_LIMIT="100000",
    ) as started:
        started.add_models({"base_url": provider.base_url, "is_default": True})
        yield started


@pytest.fixture(scope="module")
def client(product: Product) -> Client:
    return product.client(product.web())


@pytest.fixture(scope="module")
def server_id(client: Client, ledger: Ledger) -> str:
    body = {
        "display_name": "Ledger",
        "slug": "ledger",
        "url": ledger.url,
        "transport": "streamable_http",
        "auth_type": "none",
        "availability": "default_on",
        "enabled": True,
    }
    made = client.call("POST", "/api/experimental/mcp/servers", body, expect=201)
    return str(made["id"])


def script(name: str) -> OpenAIHandler:
    """Two steps with tools, then an answer; what comes next depends on the history alone."""

    def handler(request: OpenAIRequest) -> Any:
        done = sum(1 for message in request.body["messages"] if message.get("tool_calls"))
        if done == 0:
            return calls(
                (f"{name}-1", "ledger__book", f'{{"reference": "{name}-1"}}'),
                (f"{name}-2", "ledger__look", f'{{"reference": "{name}-2"}}'),
                (f"{name}-3", "ledger__book", f'{{"reference": "{name}-3"}}'),
            )(request)
        if done == 1:
            return calls((f"{name}-4", "ledger__book", f'{{"reference": "{name}-4"}}'))(request)
        return paced(ANSWER, 0.03)(request)

    return handler


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_worker_loses_nothing_and_does_nothing_twice(
    number: int,
    product: Product,
    client: Client,
    server_id: str,
    provider: ScriptedProvider,
    ledger: Ledger,
) -> None:
    chance = random.Random(SEED * 1000 + number)
    worker = product.worker()
    chats: dict[str, str] = {}
    for _ in range(CHATS):
        name = f"turn-{uuid4().hex[:8]}"
        provider.on(name, script(name))
        body = {
            "organization_id": client.organization_id,
            "content": [{"type": "text", "text": name}],
            "mcp_server_ids": [server_id],
        }
        chats[name] = client.call("POST", "/api/experimental/chats", body, expect=201)["id"]
        time.sleep(chance.uniform(0, 0.1))
    time.sleep(chance.uniform(0, LONGEST))
    worker.kill()
    following = product.worker(ready=False)
    decided = {name: settle(client, chat_id, chance) for name, chat_id in sorted(chats.items())}
    for name, chat_id in chats.items():
        check(client, chat_id, name, ledger, decided[name])
    following.terminate()


def settle(client: Client, chat_id: str, chance: random.Random) -> set[str]:
    """Wait until the turn has ended, deciding what is in doubt; returns what was decided."""
    decided: set[str] = set()

    def has_ended() -> bool:
        chat = client.chat(chat_id)
        if chat["status"] == "waiting":
            return True
        if chat["status"] == "error":
            path = f"/api/experimental/chats/{chat_id}/calls-in-doubt"
            in_doubt = client.call("GET", path)
            assert in_doubt, chat["last_error"]
            for call in in_doubt:
                choice = {"decision": chance.choice(["done", "skip"])}
                client.call("POST", f"{path}/{call['id']}", choice, expect=204)
                decided.add(call["tool_call_id"])
        return False

    wait_until(has_ended, 240, f"the end of {chat_id}", pause=0.1)
    return decided


def check(client: Client, chat_id: str, name: str, ledger: Ledger, decided: set[str]) -> None:
    messages = client.messages(chat_id)
    answers = [message for message in messages if message["role"] == "assistant"]
    asked = [
        part["tool_call_id"]
        for message in answers
        for part in message["content"]
        if part["type"] == "tool-call"
    ]
    assert asked == [f"{name}-{number}" for number in (1, 2, 3, 4)]
    assert [text_of(message) for message in messages if message["role"] == "user"] == [name]
    assert text_of(answers[-1]) == "".join(ANSWER)
    assert len(answers) == 3
    results = [
        part for message in messages if message["role"] == "tool" for part in message["content"]
    ]
    assert sorted(part["tool_call_id"] for part in results) == asked
    for part in results:
        call_id = part["tool_call_id"]
        times = ledger.booked[call_id]
        assert times <= 1, f"{call_id} was carried out {times} times"
        if call_id not in decided and not call_id.endswith("-2"):
            assert (times, part.get("is_error")) == (1, None), part
            assert part["result"] == {"output": f"booked {call_id}"}
