"""Connections that are refused, reset, cut and silent: the chat always ends, and says why.

What providers say when they refuse is in `test_turn_errors`.
"""

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIRequest, streaming_response
from tests.e2e.faulty import KEY, KIND, NAME, Asking, FaultyProduct, faulty_product
from tests.e2e.provider import Gate, answer, in_turn, said
from tests.support.client import Client
from tests.support.provider_errors import CLOSED, FAILED, SILENT, UNAVAILABLE

RUNS_ON = "embedded"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyProduct]:
    with faulty_product() as started:
        yield started


@pytest.fixture(scope="module")
def impatient() -> Iterator[FaultyProduct]:
    """A product that takes a second of silence for a failure, also when the test was slow."""
    with faulty_product(silence_seconds=1) as started:
        yield started


@pytest.fixture
def client(faulty: FaultyProduct) -> Client:
    return faulty.client


@pytest.fixture
def ask(faulty: FaultyProduct) -> Iterator[Asking]:
    asking = Asking(faulty)
    yield asking
    asking.close()


@pytest.fixture
def ask_impatiently(impatient: FaultyProduct) -> Iterator[Asking]:
    asking = Asking(impatient)
    yield asking
    asking.close()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param(faults.hang_up(), UNAVAILABLE, id="closed before a byte"),
        pytest.param(faults.hang_up(reset=True), UNAVAILABLE, id="reset before a byte"),
        pytest.param(faults.talk(b"HTTP/1.1 200 OK\r\nCont"), UNAVAILABLE, id="cut in the headers"),
        pytest.param(faults.close_midway(0), UNAVAILABLE, id="cut after the headers"),
        pytest.param(faults.close_midway(2), UNAVAILABLE, id="cut in the middle"),
        pytest.param(faults.close_midway(2, reset=True), UNAVAILABLE, id="reset in the middle"),
        pytest.param(faults.close_midway(2, clean=True), CLOSED, id="ended without a mark"),
        pytest.param(faults.close_midway(0, clean=True), CLOSED, id="ended at once"),
        pytest.param(faults.http_error(204), CLOSED, id="no content"),
        pytest.param(faults.http_error(200, "<html>Hi</html>"), CLOSED, id="a page"),
        pytest.param(faults.http_error(200, {"ok": True}), CLOSED, id="plain JSON"),
        pytest.param(faults.garbage(), CLOSED, id="events that are no JSON"),
    ],
)
def test_what_may_pass_is_tried_again(ask, client, fault, outcome):
    follower = ask(in_turn(fault, answer("kept words")))
    follower.wait_for_answers(1)
    (notice,) = follower.retries
    told = (notice["error"], notice["kind"], notice["provider"])
    assert told == (outcome.notice(NAME), outcome.kind, KIND)
    assert "status_code" not in notice
    assert follower.answers == ["kept words"]
    assert follower.errors == []
    assert ask.calls(follower) == 2
    assert [m["role"] for m in client.messages(follower.chat_id)] == ["user", "assistant"]


def test_a_server_that_does_not_speak_http_is_not_asked_again(ask):
    follower = ask(faults.talk(b"220 mail.example ESMTP\r\n"))
    error = ask.ended(follower)
    assert error.pop("detail")
    assert error == {
        "message": FAILED.message(NAME),
        "kind": "generic",
        "provider": KIND,
        "retryable": False,
    }
    assert ask.calls(follower) == 1


def test_a_status_counts_although_its_body_breaks_off(ask):
    cut = b'HTTP/1.1 401 No\r\nContent-Length: 90\r\n\r\n{"error":'
    error = ask.ended(ask(faults.talk(cut)))
    assert (error["kind"], error["status_code"]) == ("auth", 401)
    assert "detail" not in error


def test_a_refused_connection_is_tried_again_and_then_an_error(ask):
    follower = ask(None, model="refusing")
    error = ask.ended(follower)
    assert error.pop("detail").startswith("Cannot connect to host 127.0.0.1:")
    assert error == {
        "message": UNAVAILABLE.message(NAME),
        "kind": "timeout",
        "provider": KIND,
        "retryable": True,
    }
    attempts = [notice["attempt"] for notice in follower.retries]
    # nothing holds this model back until somebody follows: the first notices may be missed
    assert attempts == list(range(25 - len(attempts), 25))


@pytest.mark.parametrize("after_headers", [False, True])
def test_a_silent_provider_is_given_up_on(ask_impatiently, after_headers):
    follower = ask_impatiently(in_turn(faults.hang(after_headers=after_headers), answer("awake")))
    follower.wait_for_answers(1)
    check_was_silent(follower.retries)
    assert follower.answers == ["awake"]


def test_silence_in_the_middle_is_given_up_on_and_its_words_are_void(ask_impatiently):
    held, seen = Gate("half an "), threading.Event()
    whole = answer("a whole answer")
    follower = ask_impatiently(lambda request: (whole if seen.is_set() else held)(request))
    follower.wait_for_text("half an ")
    seen.set()
    follower.wait_for_answers(1)
    check_was_silent(follower.retries)
    assert follower.answers == ["a whole answer"]
    assert set(follower.at_reset) == {"half an ", "a whole answer"}
    held.wait_for_streams(0)


def check_was_silent(notices: list[dict[str, Any]]) -> None:
    assert notices
    for notice in notices:
        told = (notice["error"], notice["kind"], notice["provider"])
        assert told == (SILENT.notice(NAME), "startup_timeout", KIND)
        assert "status_code" not in notice


@pytest.mark.parametrize("clean", [False, True])
def test_words_of_an_attempt_that_broke_off_are_void(ask, client, clean):
    broken = faults.close_midway(["lost ", "words "], clean=clean)
    follower = ask(in_turn(broken, answer("kept words")))
    follower.wait_for_answers(1)
    assert follower.answers == ["kept words"]
    assert follower.at_reset[-1] == "kept words"
    # what was streamed when the connection broke, if anything was, and nothing else
    assert all("lost words ".startswith(text) for text in follower.at_reset[:-1])
    assert len(client.messages(follower.chat_id)) == 2


def test_a_provider_that_always_breaks_off_ends_in_an_error_without_words(ask, client):
    follower = ask(faults.close_midway(["lost "]))
    error = ask.ended(follower)
    assert error["kind"] == "timeout"
    assert error["message"] == UNAVAILABLE.message(NAME)
    assert follower.parts == [] or follower.text == "lost "
    assert [m["role"] for m in client.messages(follower.chat_id)] == ["user"]


def test_an_event_of_many_megabytes_does_not_hurt(ask, client):
    def huge(request: OpenAIRequest):
        return streaming_response(said("x" * (5 * 1024 * 1024)))

    follower = ask(huge)
    assert ask.ended(follower)["message"] == CLOSED.message(NAME)
    check = ask(answer("still here"))
    check.wait_for_answers(1)
    assert check.answers == ["still here"]


def test_a_chat_in_error_goes_on_with_the_next_message(ask, client):
    follower = ask(faults.http_error(401, "no"))
    ask.ended(follower)
    client.send(follower.chat_id, "and now?")
    follower.wait_for_answers(1)
    assert follower.answers == ["You said: and now?"]
    assert "last_error" not in client.chat(follower.chat_id)


def test_no_key_appears_in_logs_or_answers(ask, client, faulty):
    follower = ask(faults.http_error(401, f"Incorrect API key provided: {KEY}"))
    ask.ended(follower)
    logs = "".join(process.log for process in faulty.product.processes)
    assert len(logs) > 1000
    assert KEY not in logs
    assert all(KEY.encode() not in body for body in client.bodies)
    assert not re.search(r"Bearer \S+", logs)
