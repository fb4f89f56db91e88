"""Two hundred turns of one person at once, near the limit, while workers are killed.

Whatever happens, what was spent and what is held are together never more than the limit; nobody is
refused what could be paid; in the end the books are even. `CHATD_TEST_RACES` is the number of
rounds, `CHATD_TEST_SEED` that of the first one: the name of a test tells its own.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from mcp_types import ToolAnnotations

from tests.e2e.billing import INPUT_PRICE, OUTPUT_PRICE, WITH_TOOLS, BillingProvider
from tests.e2e.books import Books, Row, Watcher
from tests.e2e.crowd import CHATS, Person, Round, Workers
from tests.support.client import Client, text_of, tool_calls_of
from tests.support.mcp_server import ToolServer
from tests.support.product import Product, split, wait_until

RUNS_ON = "split"
ROUNDS = int(os.environ.get("CHATD_TEST_RACES", "2"))
FIRST_SEED = int(os.environ.get("CHATD_TEST_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + ROUNDS)
SECONDS = 300.0
ALLOWED = (32_000, 4_000, 1_500)
"""Tokens of an answer, by model: two calls of the first kind may hold all of the money."""

LEAST_OUTPUT = 1024
"""Tokens that an answer is allowed at least."""

ADDED_BY_TOOLS = 4096
"""Tokens beyond the bytes of a request that are reckoned with, at most."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_MAKE_PEOPLE = """
import json
from chatd.accounts.actions import create_token, create_user
made = {{}}
for seed in {seeds!r}:
    name = f"person-{{seed}}"
    user = create_user(username=name, email=name + "@x.example", password=None)
    made[seed] = [str(user.pk), create_token(user=user, name="races")[1]]
print(json.dumps(made))
"""


class Ledger(ToolServer):
    """A server with a tool that may be called again."""

    def __init__(self) -> None:
        super().__init__()

        @self._server.tool(
            annotations=ToolAnnotations(read_only_hint=True), structured_output=False
        )
        async def look(reference: str) -> str:
            return f"seen {reference}"


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger() as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Iterator[BillingProvider]:
    with BillingProvider() as server:
        yield server


@pytest.fixture(scope="module")
def product(server_url: str) -> Iterator[Product]:
    with split(
        server_url,
        CHATD_LEASE_SECONDS="3",
        CHATD_LEASE_RENEW_SECONDS="0.5",
        CHATD_SWEEP_SECONDS="0.5",
        CHATD_PENDING_RESEND_SECONDS="1",
        CHATD_RETRY_FIRST_DELAY_SECONDS="0.05",
        CHATD_RETRY_MAX_DELAY_SECONDS="0.4",
        CHATD_API_RATE_LIMIT="1000000",
        # what a lost worker holds for a title is free a minute later: longer than a round takes
        CHATD_SIDE_CALLS="false",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def workers(product: Product) -> Workers:
    return Workers(product)


@pytest.fixture(scope="module")
def admin(product: Product, workers: Workers) -> Client:
    client = product.client(product.web())
    nobodys = {"spend_limit_micros": 10**12, "period": "month"}
    client.call("PUT", "/api/experimental/chats/usage-limits", nobodys)
    return client


@pytest.fixture(scope="module")
def models(product: Product, provider: BillingProvider) -> list[str]:
    prices = {"input": str(INPUT_PRICE), "output": str(OUTPUT_PRICE)}
    return product.add_models(
        *(
            {
                "base_url": provider.base_url,
                "model": f"fake-{allowed}",
                "options": {"max_output_tokens": allowed},
                "prices": prices,
            }
            for allowed in ALLOWED
        )
    )


@pytest.fixture(scope="module")
def tool_server_id(admin: Client, ledger: Ledger) -> str:
    body = {
        "display_name": "Ledger",
        "slug": "ledger",
        "url": ledger.url,
        "transport": "streamable_http",
        "auth_type": "none",
        "availability": "default_off",
        "enabled": True,
    }
    return str(admin.call("POST", "/api/experimental/mcp/servers", body, expect=201)["id"])


@pytest.fixture(scope="module")
def people(product: Product, admin: Client) -> Mapping[int, Person]:
    made = json.loads(product.shell(_MAKE_PEOPLE.format(seeds=list(SEEDS))))
    return {
        int(seed): Person(user_id, Client(admin.url, token))
        for seed, (user_id, token) in made.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_no_limit_is_overrun_and_nobody_is_refused_what_could_be_paid(
    seed: int,
    product: Product,
    workers: Workers,
    admin: Client,
    people: Mapping[int, Person],
    provider: BillingProvider,
    models: list[str],
    tool_server_id: str,
) -> None:
    turns = Round(seed, people[seed], models, tool_server_id)
    path = f"/api/experimental/chats/usage-limits/overrides/{turns.person.id}"
    admin.call("PUT", path, {"spend_limit_micros": turns.limit})
    provider.begin(seed)
    workers.wait_until_ready()
    source = (product.environment["DATABASE_URL"], turns.person.id)
    is_over = threading.Event()
    with Books(*source) as books, Watcher(*source, turns.limit) as watcher:
        turns.create()
        provider.opened.set()
        with ThreadPoolExecutor(2) as pool:
            disturbing = [
                pool.submit(turns.interrupt_some, provider, is_over),
                pool.submit(turns.kill_some, workers, provider, is_over),
            ]
            try:
                wait_until(
                    lambda: not books.count_busy(), SECONDS, "the ends of all turns", pause=0.2
                )
            finally:
                is_over.set()
        for each in disturbing:
            each.result()
        check_books(books, watcher, turns, provider)
        check_chats(books, turns, provider)


def check_books(books: Books, watcher: Watcher, turns: Round, provider: BillingProvider) -> None:
    assert watcher.broken is None, f"limit {turns.limit}: {watcher.broken}"
    assert watcher.reads > CHATS
    books.check_even()
    settles = books.settles()
    told = sum(row["settled_micros"] for row in settles if not row["is_estimated"])
    assert 0 < told <= provider.billed_micros
    assert min(provider.allowed) >= LEAST_OUTPUT


def check_chats(books: Books, turns: Round, provider: BillingProvider) -> None:
    messages = books.messages()
    names = {chat_id: name for name, chat_id in turns.chats.items()}
    chats = books.chats()
    assert {chat["id"] for chat in chats} == set(names)
    needed = []
    for chat in chats:
        if chat["status"] == "error":
            needed.append(check_refusal(chat, turns.limit, provider))
        name = names[chat["id"]]
        may_stop = chat["status"] == "error" or name in turns.interrupted
        check_answers(messages[chat["id"]], name, provider, may_stop=may_stop)
    settled = books.totals()["settled"]
    assert settled <= turns.limit
    assert not needed or turns.limit - settled < min(needed), "money was left, and calls refused"


def check_refusal(chat: Row, limit: int, provider: BillingProvider) -> int:
    """Check that the shortest call could not be paid when it was refused; returns its cost.

    What was settled by the clock until then is at least what the refusal went by.
    """
    error = json.loads(chat["last_error"])
    assert error["kind"] == "usage_limit", error
    found = re.search(r"could cost \$([0-9.]+),", error["detail"])
    assert found, error
    needed = round(float(found[1]) * 1_000_000)
    assert chat["spent_by_then"] + needed > limit, f"refused {needed} of {limit}: {chat}"
    most_read = provider.most_bytes + ADDED_BY_TOOLS
    assert needed <= most_read * INPUT_PRICE + LEAST_OUTPUT * OUTPUT_PRICE
    return needed


def check_answers(
    messages: list[Row], name: str, provider: BillingProvider, *, may_stop: bool
) -> None:
    """Check that a turn was answered once, as far as it came."""
    assert messages[0]["role"] == "user"
    answers = [row for row in messages if row["role"] == "assistant"]
    asking = [row for row in answers if tool_calls_of(row)]
    final = [row for row in answers if not tool_calls_of(row)]
    results = [row for row in messages if row["role"] == "tool"]
    steps = 1 if name.endswith(WITH_TOOLS) else 0
    assert len(messages) == 1 + len(answers) + len(results)
    assert len(results) == len(asking) <= steps
    assert len(final) <= 1
    if may_stop:
        return
    assert (len(asking), len(final)) == (steps, 1), messages
    assert text_of(final[0]) in provider.answers[name]
