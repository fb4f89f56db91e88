"""Every row of the table of errors, provoked over HTTP: what followers and readers are told.

Belongs here: what a provider says. How connections fail is in `test_provider_faults`.
"""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAIHandler,
    OpenAIRequest,
    finish_chunk,
    streaming_response,
    text_chunks,
)
from chatd.core.clock import now
from tests.e2e.faulty import (
    FIRST_DELAY_MS,
    KEY,
    KIND,
    MAX_DELAY_MS,
    NAME,
    Asking,
    FaultyProduct,
    faulty_product,
)
from tests.e2e.provider import Gate, answer, broken_off, calls, in_turn
from tests.support.client import Client, Follower
from tests.support.provider_errors import (
    MISMATCH_DETAIL,
    NO_OUTPUT,
    NO_REASONING,
    OVERLOADED,
    RATE,
    ROWS,
    Case,
)

RUNS_ON = "embedded"
pytestmark = pytest.mark.slow

LIMITED = {"error": {"message": "slow down"}}


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyProduct]:
    with faulty_product() as started:
        yield started


@pytest.fixture
def client(faulty: FaultyProduct) -> Client:
    return faulty.client


@pytest.fixture
def ask(faulty: FaultyProduct) -> Iterator[Asking]:
    asking = Asking(faulty)
    yield asking
    asking.close()


def failing(case: Case) -> OpenAIHandler:
    document = {"error": {"message": case.text}}
    if case.status:
        return faults.http_error(case.status, document)
    return lambda request: streaming_response(document)


def detail_of(case: Case) -> str:
    mismatch = any(text in case.text for text in (NO_OUTPUT, NO_REASONING))
    return MISMATCH_DETAIL if mismatch else case.text


def present(**members: Any) -> dict[str, Any]:
    """Return the members that an event has: those without a value are left out."""
    return {name: value for name, value in members.items() if value not in ("", 0)}


def told_of(case: Case) -> dict[str, Any]:
    return present(kind=case.outcome.kind, provider=KIND, status_code=case.status or case.told)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_told_as_it_should_be(ask, client, row):
    asked = [(case, ask(in_turn(failing(case), answer("at last")))) for case in ROWS[row]]
    for case, follower in asked:
        if case.outcome.retryable:
            check_was_tried_again(case, follower, client)
            assert ask.calls(follower) == 2
        else:
            check_has_ended(case, ask.ended(follower), follower, client)
            assert ask.calls(follower) == 1


def check_was_tried_again(case: Case, follower: Follower, client: Client) -> None:
    follower.wait_for_answers(1)
    (notice,) = follower.retries
    at = datetime.fromisoformat(notice.pop("retrying_at"))
    assert at.tzinfo is not None
    assert notice == told_of(case) | {
        "attempt": 1,
        "delay_ms": FIRST_DELAY_MS,
        "error": case.outcome.notice(NAME),
    }
    assert follower.errors == []
    assert follower.answers == ["at last"]
    chat = client.chat(follower.chat_id)
    assert chat["status"] == "waiting"
    assert "last_error" not in chat


def check_has_ended(case: Case, error: dict[str, Any], follower: Follower, client: Client) -> None:
    assert error == told_of(case) | {
        "message": case.outcome.message(NAME),
        **present(detail=detail_of(case)),
        "retryable": False,
    }
    assert follower.retries == []
    assert [message["role"] for message in client.messages(follower.chat_id)] == ["user"]


def test_an_error_can_follow_words_in_the_same_stream(ask, client):
    said = {"error": {"message": "the quota is used up", "code": 429}}
    released = threading.Event()
    follower = ask(broken_off("half an ", then=said, after=released))
    follower.wait_for_text("half an ")
    released.set()
    error = ask.ended(follower)
    assert (error["kind"], error["status_code"]) == ("usage_limit", 429)
    assert [message["role"] for message in client.messages(follower.chat_id)] == ["user"]
    late = ask.join(follower.chat_id)
    assert late.kinds() == ["status:error", "message:user"]


def filtered(*words: str) -> OpenAIHandler:
    chunks = [*text_chunks(*words), finish_chunk("content_filter")]
    return lambda request: streaming_response(*chunks)


def test_an_answer_of_which_a_filter_lets_nothing_through_is_an_error(ask):
    error = ask.ended(ask(filtered()))
    assert error["message"].startswith(f"The content filter of {NAME} let nothing of the answer")
    assert (error["kind"], error["retryable"]) == ("generic", False)
    follower = ask(filtered("Half"))
    follower.wait_for_answers(1)
    assert follower.answers == ["Half"]


def test_the_list_of_chats_tells_the_same_error(ask, client):
    follower = ask(faults.http_error(401, "no"))
    error = ask.ended(follower)
    listed = client.call("GET", "/api/experimental/chats?limit=5")
    assert [chat["last_error"] for chat in listed if chat["id"] == follower.chat_id] == [error]


def test_keys_and_long_texts_are_cut_out_of_details(ask):
    text = f"Incorrect API key provided: {KEY}. " + "x" * 600
    error = ask.ended(ask(faults.http_error(401, {"error": {"message": text}})))
    assert len(error["detail"]) == 500
    assert error["detail"].startswith("Incorrect API key provided: [redacted]. xxx")
    assert error["detail"].endswith("x…")


def test_huge_bodies_are_not_read(ask):
    body = {"error": {"message": "quota", "more": "x" * 65_536}}
    error = ask.ended(ask(faults.http_error(400, body)))
    assert error == {
        "message": f"{NAME} returned an unexpected error.",
        "kind": "generic",
        "provider": KIND,
        "retryable": False,
        "status_code": 400,
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(ask, status):
    follower = ask(faults.http_error(status, "", {"Location": "/chat/completions"}))
    error = ask.ended(follower)
    assert error == {
        "message": f"{NAME} returned an unexpected error.",
        "detail": "The provider redirects to another address, and redirects are not followed.",
        "kind": "generic",
        "provider": KIND,
        "retryable": False,
        "status_code": status,
    }
    assert ask.calls(follower) == 1


# how long until the next attempt, and how many there are


@pytest.mark.parametrize(
    ("headers", "delay_ms"),
    [
        ({"Retry-After-Ms": "80"}, 80),
        ({"Retry-After-Ms": "120.5", "Retry-After": "7"}, 120),
        ({"Retry-After": "0.09"}, 90),
        ({"Retry-After-Ms": "1"}, FIRST_DELAY_MS),
        ({"Retry-After": "soon"}, FIRST_DELAY_MS),
        ({"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}, FIRST_DELAY_MS),
        ({"Retry-After": "Thu, 01 Jan 99999999999999999999 00:00:00 GMT"}, FIRST_DELAY_MS),
    ],
)
def test_the_longer_pause_counts(ask, headers, delay_ms):
    called_at = []

    def noted(handler: OpenAIHandler) -> OpenAIHandler:
        def handle(request: OpenAIRequest) -> Any:
            called_at.append(now())
            return handler(request)

        return handle

    refusal = faults.http_error(429, LIMITED, headers)
    follower = ask(in_turn(noted(refusal), noted(answer("rested"))))
    follower.wait_for_answers(1)
    (notice,) = follower.retries
    assert notice["delay_ms"] == delay_ms
    assert called_at[1] - called_at[0] >= timedelta(milliseconds=delay_ms)
    assert datetime.fromisoformat(notice["retrying_at"]) <= called_at[1]


def in_five_minutes() -> str:
    return format_datetime(now() + timedelta(minutes=5), usegmt=True)


@pytest.mark.parametrize(
    "header", [lambda: "300", in_five_minutes], ids=["seconds", "an HTTP date"]
)
def test_an_interrupt_ends_a_long_pause_at_once(ask, client, header):
    refusal = faults.http_error(429, LIMITED, {"Retry-After": header()})
    follower = ask(in_turn(refusal, answer("too late")))
    follower.wait(lambda f: len(f.retries) == 1, "a retry")
    assert 200_000 < follower.retries[0]["delay_ms"] <= 300_000
    assert client.interrupt(follower.chat_id)["status"] == "waiting"
    assert [message["role"] for message in client.messages(follower.chat_id)] == ["user"]
    client.send(follower.chat_id, "go on")
    follower.wait_for_answers(1)
    assert follower.answers == ["You said: go on"]
    assert ask.calls(follower) == 1


@pytest.mark.parametrize(("status", "outcome"), [(429, RATE), (529, OVERLOADED)])
def test_after_twenty_five_attempts_it_is_an_error(ask, status, outcome):
    follower = ask(faults.http_error(status, {"error": {"message": "never"}}))
    error = ask.ended(follower)
    assert error == {
        "message": outcome.message(NAME),
        "detail": "never",
        "kind": outcome.kind,
        "provider": KIND,
        "retryable": True,
        "status_code": status,
    }
    assert ask.calls(follower) == 25
    assert [notice["attempt"] for notice in follower.retries] == list(range(1, 25))
    assert [notice["delay_ms"] for notice in follower.retries] == [
        FIRST_DELAY_MS,
        2 * FIRST_DELAY_MS,
        *[MAX_DELAY_MS] * 22,
    ]
    assert {notice["error"] for notice in follower.retries} == {outcome.notice(NAME)}


def test_attempts_are_counted_anew_in_every_step(ask, client):
    busy = faults.http_error(503, "busy")
    step = calls(("call_1", "no_such_tool", "{}"))
    follower = ask(in_turn(busy, busy, step, busy, busy, answer("done")))
    follower.wait_for_answers(2)
    assert [notice["attempt"] for notice in follower.retries] == [1, 2, 1, 2]
    pauses = [notice["delay_ms"] for notice in follower.retries]
    assert pauses == [FIRST_DELAY_MS, 2 * FIRST_DELAY_MS] * 2
    roles = [message["role"] for message in client.messages(follower.chat_id)]
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_steps_before_an_error_stay(ask, client):
    step = calls(("call_1", "no_such_tool", "{}"))
    follower = ask(in_turn(step, faults.http_error(401, "no")))
    assert ask.ended(follower)["kind"] == "auth"
    roles = [message["role"] for message in client.messages(follower.chat_id)]
    assert roles == ["user", "assistant", "tool"]


# what is shown of an attempt that failed


def test_who_comes_during_a_pause_sees_the_notice_and_no_words(ask, client):
    released = threading.Event()
    broken = broken_off("lost words ", then={"error": {"message": "overloaded"}}, after=released)
    refusal = faults.http_error(429, LIMITED, {"Retry-After": "300"})
    follower = ask(in_turn(broken, refusal))
    follower.wait_for_text("lost words ")
    assert ask.join(follower.chat_id).text in ("", "lost words ")
    early = ask.join(follower.chat_id).wait_for_text("lost words ")
    released.set()
    follower.wait(lambda f: len(f.retries) == 2, "two retries")
    early.wait(lambda f: len(f.retries) == 2, "two retries")
    assert (follower.at_reset, early.at_reset) == (["lost words "], ["lost words "])
    late = ask.join(follower.chat_id)
    assert late.kinds() == ["status:running", "retry", "message:user"]
    assert late.retries == [follower.retries[1]]
    client.interrupt(follower.chat_id)
    follower.wait_for_status("waiting")
    assert [message["role"] for message in client.messages(follower.chat_id)] == ["user"]


def test_who_comes_during_the_next_attempt_sees_its_words_alone(ask, client):
    released = threading.Event()
    broken = broken_off("lost words ", then={"error": {"message": "overloaded"}}, after=released)
    kept = Gate("kept ")
    follower = ask(in_turn(broken, kept))
    follower.wait_for_text("lost words ")
    released.set()
    follower.wait_for_text("kept ")
    late = ask.join(follower.chat_id).wait_for_text("kept ")
    assert set(late.kinds()) == {"status:running", "message_part", "message:user"}
    assert late.text == "kept "
    kept.end("words")
    for each in (follower, late):
        each.wait_for_answers(1)
        assert each.answers == ["kept words"]
    assert len(client.messages(follower.chat_id)) == 2


# before and beside the call


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (
            "disabled_provider",
            "provider_disabled",
            f"The {NAME} provider has been disabled. Contact your chatd administrator.",
        ),
        (
            "disabled_model",
            "config",
            "The model of this chat has been disabled. Choose another one and send again.",
        ),
        (
            "keyless",
            "missing_key",
            f"The {NAME} provider needs an API key of your own. Add it and send again.",
        ),
    ],
)
def test_what_cannot_begin_is_an_error_without_a_call(ask, client, model, kind, message):
    follower = ask(answer("never"), model=model)
    error = ask.ended(follower)
    assert error == {"message": message, "kind": kind, "retryable": False}
    assert ask.calls(follower) == 0
    assert follower.retries == []


_CRASH = """
from chatd.chats.models import Chat
Chat.objects.filter(pk={chat!r}).update(dynamic_tools={tools!r})
"""


def test_a_crash_inside_of_a_turn_is_an_error_and_the_reason_is_in_the_log(ask, client, faulty):
    follower = ask(answer("first"))
    follower.wait_for_answers(1)
    faulty.product.shell(_CRASH.format(chat=follower.chat_id, tools=[{"no": "name"}]))
    client.send(follower.chat_id, "and now?")
    assert ask.ended(follower) == {
        "message": "The chat request failed unexpectedly.",
        "kind": "generic",
        "retryable": False,
    }
    log = "".join(process.log for process in faulty.product.processes)
    assert "turn crashed" in log
    assert "KeyError: 'name'" in log
    faulty.product.shell(_CRASH.format(chat=follower.chat_id, tools=[]))
    client.send(follower.chat_id, "and then?")
    follower.wait_for_answers(2)
    assert follower.answers == ["first", "You said: and then?"]
    assert "last_error" not in client.chat(follower.chat_id)
