"""What a turn changes in `/metrics`, with everything in one process and with a process per role."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from chatd.chattest import faults
from tests.e2e.provider import Gate, ScriptedProvider, answer, calls, in_turn
from tests.support.metrics import Exposition
from tests.support.product import Product, Web, embedded, split, wait_until

pytestmark = pytest.mark.slow

MODEL = {"provider": "openai-compat", "model": "counted-model"}
PREFIX = "coderd_chatd_"


@pytest.fixture(scope="module")
def product(any_server_url: str, provider: ScriptedProvider) -> Iterator[Product]:
    """A product that `up` started, in the deployment of this run."""
    settings = {"CHATD_RETRY_FIRST_DELAY_SECONDS": "0.05"}
    opened = split(any_server_url, **settings) if any_server_url else embedded(**settings)
    with opened as product:
        product.up()
        row = {"base_url": provider.base_url, "model": MODEL["model"], "is_default": True}
        product.add_models(row)
        yield product


@pytest.fixture(scope="module")
def web(product: Product) -> Web:
    found = product.processes[0]
    assert isinstance(found, Web)
    return found


@pytest.fixture
def read(web: Web) -> Callable[[], Exposition]:
    def scrape() -> Exposition:
        status, body = web.get("/metrics")
        assert status == 200
        return Exposition(body.decode())

    return scrape


def test_a_turn_with_a_retry_and_an_invented_tool(client, provider, read) -> None:
    prompt = f"count {uuid4()}"
    answers = (
        faults.close_midway(0),
        calls(("c1", "a_tool_that_nobody_has", "{}")),
        answer("At last."),
    )
    provider.on(prompt, in_turn(*answers))
    before = read()
    chat = client.create_chat(prompt)
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: "At last." in f.answers, "the answer")
        follower.wait_for_status("waiting")
    after = read()

    def grown(name: str, **labels: str) -> float:
        labels = {**MODEL, **labels}
        return after.value(PREFIX + name, **labels) - before.value(PREFIX + name, **labels)

    assert grown("steps_total") == 2
    assert grown("message_count_count") == 2
    assert grown("prompt_size_bytes_count") == 2
    assert grown("prompt_size_bytes_sum") > 2 * len(prompt)
    assert grown("ttft_seconds_count") == 2
    assert grown("stream_retries_total", kind="timeout", chain_broken="false") == 1
    assert grown("tool_errors_total", tool_name="unknown") == 1
    assert grown("tool_result_size_bytes_count", tool_name="unknown") == 1
    named = [labels for _, labels, _ in after.samples if "tool_name" in labels]
    assert {labels["tool_name"] for labels in named} == {"unknown"}
    assert after.value(PREFIX + "chats", state="waiting") == 0


def test_gauges_rise_while_a_model_speaks_and_fall_after_it(client, provider, read) -> None:
    prompt = f"hold {uuid4()}"
    held: Gate = provider.gate(prompt, "one ")
    chat = client.create_chat(prompt)

    def shows(**wanted: float) -> bool:
        shown = read()
        running = shown.value(PREFIX + "chats", state="streaming")
        found = {name: shown.value(PREFIX + name) for name in wanted if name != "chats"}
        return {**found, "chats": running} == wanted

    try:
        with client.follow(chat["id"]) as follower:
            follower.wait_for_text("one ")
            wanted = {"chats": 1, "streams_active": 1, "stream_subscribers": 1}
            entries = {"stream_buffer_events": 1, "stream_buffer_size_max": 1}
            wait_until(lambda: shows(**wanted, **entries), 120, "all of it is shown", pause=0.2)
    finally:
        held.end()
    nothing = dict.fromkeys([*wanted, *entries], 0.0)
    wait_until(lambda: shows(**nothing), 120, "nothing is left", pause=0.2)


def test_no_label_names_a_person_or_a_chat(client, read) -> None:
    read_labels = {name for _, labels, _ in read().samples for name in labels}
    allowed = {"provider", "model", "tool_name", "kind", "chain_broken", "state", "le"}
    assert read_labels <= allowed | {"record_type", "success", "result"}
