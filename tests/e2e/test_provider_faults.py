"""Providers that refuse, stall, lie and hang up: the chat always ends, and says why."""

import re
import threading
from collections.abc import Iterator

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIHandler, OpenAIRequest, streaming_response
from tests.e2e.provider import Gate, ScriptedProvider, answer, held_until, in_turn, said
from tests.support.client import Client, Follower
from tests.support.product import Product, embedded

RUNS_ON = "embedded"
pytestmark = pytest.mark.slow

KEY = "secret-of-the-fault-tests-0123456789"
NAME = "Faulty"

_DISABLE = """
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import ModelConfig
config = ModelConfig.objects.get(pk={model!r})
target = {target}
target.enabled = False
{save}(target)
"""


@pytest.fixture(scope="module")
def faulty() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture(scope="module")
def product(faulty) -> Iterator[Product]:
    with embedded(
        CHATD_RETRY_FIRST_DELAY_SECONDS="0.01",
        CHATD_RETRY_MAX_DELAY_SECONDS="0.02",
        CHATD_STREAM_SILENCE_SECONDS="1",
        CHATD_LOG_LEVEL="DEBUG",
    ) as started:
        started.up()
        yield started


@pytest.fixture(scope="module")
def models(product, faulty) -> Iterator[dict[str, str]]:
    """The model configs that tests need, by what their provider does."""
    with faults.refuse() as closed:
        names = ["scripted", "refusing", "disabled-model", "disabled-provider"]
        urls = [faulty.base_url, closed, faulty.base_url, faulty.base_url]
        made = product.add_models(
            *({"base_url": url, "key": KEY, "is_default": url == urls[0]} for url in urls)
        )
        found = dict(zip(names, made, strict=True))
        scripts = [
            _DISABLE.format(model=found[name], target=target, save=save)
            for name, target, save in (
                ("disabled-model", "config", "save_model_config"),
                ("disabled-provider", "config.ai_provider", "save_provider"),
            )
        ]
        product.shell("\n".join(scripts))
        yield found


@pytest.fixture
def client(product, models) -> Client:
    return product.client(product.processes[0])


@pytest.fixture
def ask(client, models, faulty):
    """Ask a model that does what the handler says, and return who follows the chat."""
    opened: list[Follower] = []

    def start(handler: OpenAIHandler | None, model: str = "scripted") -> Follower:
        prompt = f"question {len(faulty.requests)} {len(opened)} {model}"
        followed = threading.Event()
        if handler is not None:
            faulty.on(prompt, held_until(followed, handler))
        chat = client.create_chat(prompt, model=models[model])
        opened.append(client.follow(chat["id"]).wait(lambda f: len(f.events) > 0, "a snapshot"))
        followed.set()
        return opened[-1]

    yield start
    for follower in opened:
        with follower:
            pass


def _ended(follower: Follower, client: Client, seconds: float = 30) -> dict:
    """Wait for the error and return it; every place must tell the same."""
    follower.wait_for_status("error", seconds=seconds)
    chat = client.chat(follower.chat_id)
    assert chat["status"] == "error"
    if follower.statuses[0] != "error":  # a follower who came after the end reads it from the chat
        assert follower.errors == [chat["last_error"]]
        kinds = follower.kinds()
        assert kinds.index("error") < kinds.index("status:error")
    return chat["last_error"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "auth"), (403, "auth"), (400, "generic"), (404, "generic")]
)
def test_a_refusal_that_is_final_is_not_tried_again(ask, client, faulty, status, kind):
    before = len(faulty.requests)
    body = {"error": {"message": f"No, because of {KEY}.", "type": "refused"}}
    follower = ask(faults.http_error(status, body))
    error = _ended(follower, client)
    assert error["kind"] == kind
    assert error["status_code"] == status
    assert error["retryable"] is False
    assert error["detail"] == "No, because of [redacted]."
    assert follower.retries == []
    assert len(faulty.requests) == before + 1
    assert follower.kinds("message") == ["message:user"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "rate_limit"), (500, "generic"), (503, "timeout"), (529, "overloaded")],
)
def test_a_passing_refusal_is_tried_again_until_it_passes(ask, client, status, kind):
    refusal = faults.http_error(status, {"error": {"message": "later"}})
    follower = ask(in_turn(refusal, refusal, answer("at last")))
    follower.wait_for_answers(1)
    assert follower.answers == ["at last"]
    assert [retry["attempt"] for retry in follower.retries] == [1, 2]
    assert {retry["kind"] for retry in follower.retries} == {kind}
    assert {retry["status_code"] for retry in follower.retries} == {status}
    assert follower.errors == []


def test_a_wish_to_wait_is_respected(ask):
    refusal = faults.http_error(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
    follower = ask(in_turn(refusal, answer("rested")))
    follower.wait(lambda f: len(f.retries) == 1, "a retry")
    assert follower.retries[0]["delay_ms"] == 1000
    follower.wait_for_answers(1)
    assert follower.answers == ["rested"]


@pytest.mark.parametrize("status", [429, 500])
def test_after_twenty_five_attempts_it_is_an_error(ask, client, faulty, status):
    before = len(faulty.requests)
    follower = ask(faults.http_error(status, {"error": {"message": "never"}}))
    error = _ended(follower, client)
    assert error["status_code"] == status
    assert len(faulty.requests) == before + 25
    assert [retry["attempt"] for retry in follower.retries] == list(range(1, 25))


def test_a_refused_connection_is_tried_again_and_then_an_error(ask, client):
    follower = ask(None, model="refusing")
    error = _ended(follower, client)
    assert error["kind"] == "timeout"
    assert "temporarily unavailable" in error["message"]
    assert follower.retries[-1]["attempt"] == 24


@pytest.mark.parametrize("after_headers", [False, True])
def test_a_silent_provider_is_given_up_on(ask, after_headers):
    follower = ask(in_turn(faults.hang(after_headers=after_headers), answer("awake")))
    follower.wait(lambda f: len(f.retries) == 1, "a retry", seconds=10)
    assert follower.retries[0]["kind"] == "startup_timeout"
    follower.wait_for_answers(1)
    assert follower.answers == ["awake"]


def test_silence_in_the_middle_is_given_up_on_and_its_words_are_void(ask):
    held = Gate("half an ")
    follower = ask(in_turn(held, answer("a whole answer")))
    follower.wait_for_text("half an ")
    follower.wait_for_answers(1)
    assert follower.answers == ["a whole answer"]
    assert follower.at_reset == ["half an ", "a whole answer"]
    held.wait_for_streams(0)


@pytest.mark.parametrize("clean", [False, True])
def test_words_of_an_attempt_that_broke_off_are_void(ask, client, clean):
    broken = faults.close_midway(["lost ", "words "], clean=clean)
    follower = ask(in_turn(broken, answer("kept words")))
    follower.wait_for_answers(1)
    assert follower.answers == ["kept words"]
    assert len(follower.retries) == 1
    assert follower.retries[0]["kind"] == "timeout"
    assert follower.at_reset[-1] == "kept words"
    # what was streamed when the connection broke, if anything was, and nothing else
    assert all("lost words ".startswith(text) for text in follower.at_reset[:-1])
    assert len(client.messages(follower.chat_id)) == 2


def test_a_provider_that_always_breaks_off_ends_in_an_error_without_words(ask, client):
    follower = ask(faults.close_midway(["lost "]))
    error = _ended(follower, client)
    assert error["kind"] == "timeout"
    assert error["message"].endswith(" is temporarily unavailable.")
    assert follower.parts == [] or follower.text == "lost "
    assert [m["role"] for m in client.messages(follower.chat_id)] == ["user"]


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/html", "application/json"])
def test_garbage_ends_in_an_error(ask, client, content_type):
    follower = ask(faults.garbage(content_type=content_type))
    error = _ended(follower, client)
    assert error["message"]
    assert [m["role"] for m in client.messages(follower.chat_id)] == ["user"]


def test_an_event_of_many_megabytes_does_not_hurt(ask, client):
    def huge(request: OpenAIRequest):
        return streaming_response(said("x" * (5 * 1024 * 1024)))

    follower = ask(huge)
    follower.wait(lambda f: f.status in ("error", "waiting") and len(f.statuses) > 1, "an end")
    assert client.chat(follower.chat_id)["status"] in ("error", "waiting")
    check = ask(answer("still here"))
    check.wait_for_answers(1)
    assert check.answers == ["still here"]


@pytest.mark.parametrize(
    ("model", "kind"), [("disabled-model", "config"), ("disabled-provider", "provider_disabled")]
)
def test_what_is_disabled_is_not_called(ask, client, faulty, model, kind):
    before = len(faulty.requests)
    error = _ended(ask(None, model=model), client)
    assert error["kind"] == kind
    assert "disabled" in error["message"]
    assert len(faulty.requests) == before


def test_a_chat_in_error_goes_on_with_the_next_message(ask, client, faulty):
    follower = ask(faults.http_error(401, "no"))
    _ended(follower, client)
    client.send(follower.chat_id, "and now?")
    follower.wait_for_answers(1)
    assert follower.answers == ["You said: and now?"]
    assert "last_error" not in client.chat(follower.chat_id)


def test_an_interrupt_while_it_waits_to_try_again_ends_the_turn(ask, client):
    refusal = faults.http_error(429, {"error": {"message": "wait"}}, {"Retry-After": "300"})
    follower = ask(in_turn(refusal, answer("too late")))
    follower.wait(lambda f: len(f.retries) == 1, "a retry")
    assert client.interrupt(follower.chat_id)["status"] == "waiting"
    client.send(follower.chat_id, "go on")
    follower.wait_for_answers(1)
    assert follower.answers == ["You said: go on"]


def test_no_key_appears_in_logs_or_answers(ask, client, product):
    follower = ask(faults.http_error(401, f"Incorrect API key provided: {KEY}"))
    _ended(follower, client)
    logs = "".join(process.log for process in product.processes)
    assert len(logs) > 1000
    assert KEY not in logs
    assert all(KEY.encode() not in body for body in client.bodies)
    assert not re.search(r"Bearer \S+", logs)
