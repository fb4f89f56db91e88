"""A hundred interrupts at random moments of turns with tools; the provider is left each time."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from chatd.chattest.openai import OpenAIHandler, OpenAIRequest, finish_chunk, streaming_response
from tests.e2e.provider import USAGE, ScriptedProvider, calls, said
from tests.support.client import Client
from tests.support.mcp_server import ToolServer
from tests.support.product import Product, Web, embedded, wait_until

RUNS_ON = "embedded"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INTERRUPTS = 100
AT_ONCE = 5
HANGS_EVERY = 10
LONGEST = 0.5


class Counting(ScriptedProvider):
    """Knows how many answers it is writing."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = 0
        self.guard = threading.Lock()

    def slowly(self, request: OpenAIRequest, *words: str) -> Any:
        async def chunks() -> Any:
            with self.guard:
                self.writing += 1
            try:
                for word in words:
                    yield said(word)
                    await asyncio.sleep(0.02)
                yield finish_chunk()
                yield USAGE
            finally:
                with self.guard:
                    self.writing -= 1

        return streaming_response(chunks())


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Iterator[Counting]:
    with Counting() as server:
        yield server


@pytest.fixture(scope="module")
def product(provider: Counting) -> Iterator[Product]:
    with embedded(CHATD_API_RATE_LIMIT="100000") as started:
        started.up()
        started.add_models({"base_url": provider.base_url, "is_default": True})
        yield started


@pytest.fixture(scope="module")
def client(product: Product) -> Client:
    web = product.processes[0]
    assert isinstance(web, Web)
    return product.client(web)


def script(provider: Counting, *, hangs: bool) -> OpenAIHandler:
    """Words and calls in turn, without an end; one of the first calls may never be answered."""

    def handler(request: OpenAIRequest) -> Any:
        done = sum(1 for message in request.body["messages"] if message.get("tool_calls"))
        if request.body["messages"][-1]["role"] == "user":
            other = ("tools__hang", "{}") if hangs else ("tools__greet", '{"name": "b"}')
            greet = (uuid4().hex, "tools__greet", '{"name": "a"}')
            return calls(greet, (uuid4().hex, *other))(request)
        if done % 2:
            return calls((uuid4().hex, "tools__add", '{"a": 1, "b": 2}'))(request)
        return provider.slowly(request, *(f"word{number} " for number in range(40)))

    return handler


def test_no_interrupt_leaves_a_call_without_a_result(
    client: Client, provider: Counting, tools: ToolServer
) -> None:
    body = {
        "display_name": "Tools",
        "slug": "tools",
        "url": tools.url,
        "transport": "streamable_http",
        "auth_type": "none",
        "availability": "default_on",
        "enabled": True,
    }
    server = client.call("POST", "/api/experimental/mcp/servers", body, expect=201)["id"]
    assert client.organization_id

    def interrupted(number: int) -> tuple[int, int]:
        mine = Client(client.url, client.token)
        name = f"stop {number} {uuid4().hex[:6]}"
        hangs = number % HANGS_EVERY == 0
        provider.on(name, script(provider, hangs=hangs))
        created = {
            "organization_id": client.organization_id,
            "content": [{"type": "text", "text": name}],
            "mcp_server_ids": [server],
        }
        chat = mine.call("POST", "/api/experimental/chats", created, expect=201)["id"]
        wait_until(lambda: mine.chat(chat)["status"] != "pending", 120, "the start", pause=0.005)
        # without them only chance would have an interrupt meet a call
        assert not hangs or tools.record.waiting.acquire(timeout=120)
        time.sleep(random.Random(number).uniform(0, LONGEST))
        assert mine.interrupt(chat)["status"] == "waiting"
        messages = mine.messages(chat)
        parts = [part for message in messages for part in message["content"]]
        asked = [p["tool_call_id"] for p in parts if p["type"] == "tool-call"]
        answered = [p["tool_call_id"] for p in parts if p["type"] == "tool-result"]
        assert sorted(asked) == sorted(answered)
        return len(asked), sum(1 for part in parts if part.get("is_error"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(interrupted, range(INTERRUPTS)))
    assert any(failed for _, failed in outcomes), "some calls were cut off"
    wait_until(lambda: provider.writing == 0, 120, "no call of the provider is open")
