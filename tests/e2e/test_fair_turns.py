"""A person with hundreds of waiting turns, others with one each, and few slots."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatd.chattest.openai import OpenAIRequest
from tests.e2e.provider import ScriptedProvider, answer, held_until
from tests.support.client import Client
from tests.support.product import Product, Web, embedded, wait_until

RUNS_ON = "embedded"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SLOTS = 4
BACKLOG = 500
OTHERS = [f"guest-{number}" for number in range(10)]

PEOPLE = f"""
from chatd.accounts.actions import create_token, create_user
for name in {OTHERS!r}:
    user = create_user(username=name, email=name + "@x.example", password=None)
    print(create_token(user=user, name="fair")[1])
"""


class Held(ScriptedProvider):
    """Answers nothing until it is let; what was asked is kept in the order in which it began."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def _choose(self, request: OpenAIRequest) -> object:
        return held_until(self.released, answer("done"))(request)


@pytest.fixture(scope="module")
def provider() -> Iterator[Held]:
    with Held() as server:
        yield server
        server.released.set()


@pytest.fixture(scope="module")
def product(provider: Held) -> Iterator[Product]:
    with embedded(CHATD_TURN_SLOTS=str(SLOTS), CHATD_API_RATE_LIMIT="100000") as started:
        started.up()
        started.add_models({"base_url": provider.base_url, "is_default": True})
        yield started


def test_ten_people_start_before_the_backlog_of_one_goes_on(
    product: Product, provider: Held
) -> None:
    web = product.processes[0]
    assert isinstance(web, Web)
    greedy = product.client(web)
    guests = [Client(web.url, token) for token in product.shell(PEOPLE).split()]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: greedy.create_chat(f"greedy {number}"), range(BACKLOG)))
    wait_until(lambda: len(_turns(provider)) == SLOTS // 2, 120, "half of the slots are taken")
    with ThreadPoolExecutor(len(guests)) as pool:
        list(pool.map(lambda guest: guest.create_chat("mine"), guests))
    wait_until(lambda: len(_turns(provider)) == SLOTS, 120, "all slots are taken")
    assert _turns(provider) == ["greedy"] * 2 + ["mine"] * 2

    provider.released.set()
    everything = BACKLOG + len(OTHERS)
    wait_until(lambda: len(_turns(provider)) == everything, 400, "every turn has begun")
    began = _turns(provider)
    last = max(place for place, asked in enumerate(began) if asked == "mine")
    # what starts together may reach the provider in any order
    assert last < SLOTS // 2 + len(OTHERS) + SLOTS


def _turns(provider: Held) -> list[str]:
    """Return what turns began with, in order, without calls for titles."""
    asked = [request.messages[-1].content for request in provider.requests if request.stream]
    return ["mine" if words == "mine" else "greedy" for words in asked]
