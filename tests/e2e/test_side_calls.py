"""Titles and labels that nobody asked for, on the whole product: no turn waits for them."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIRequest, non_streaming_response, side_schema
from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client
from tests.support.product import Product, Web, embedded, wait_until

RUNS_ON = "embedded"

TITLE, LABEL = "A title of the fake", "Answered by the fake"
PATH = "/api/experimental/chats"


@contextmanager
def watching(client: Client) -> Iterator[list[Any]]:
    """Collect the watch events of the administrator."""
    events: list[Any] = []
    socket = client.open_socket(f"{PATH}/watch")

    def read() -> None:
        events.extend(map(json.loads, socket))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield events
    finally:
        socket.close()
        reader.join(60)


def of_kind(events: list[Any], kind: str, chat: Any) -> list[Any]:
    return [e["chat"] for e in events if e["kind"] == kind and e["chat"]["id"] == chat["id"]]


def finished(client: Client, chat: Any, answers: int = 1) -> None:
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(answers)


def listed(client: Client, chat: Any) -> Any:
    return next(row for row in client.call("GET", PATH) if row["id"] == chat["id"])


def test_a_first_turn_brings_a_title_and_a_label_and_the_list_keeps_its_order(
    client: Client, provider: ScriptedProvider
):
    with watching(client) as events:
        chat = client.create_chat("why is the sky blue at noon and red at dusk")
        finished(client, chat)
        ended_at = client.chat(chat["id"])["updated_at"]
        wait_until(lambda: of_kind(events, "title_change", chat), 120, "the title is told")
        wait_until(lambda: of_kind(events, "summary_change", chat), 120, "the label is told")
    [titled], [labelled] = (
        of_kind(events, kind, chat) for kind in ("title_change", "summary_change")
    )
    assert titled["title"] == TITLE
    assert labelled["last_turn_summary"] == LABEL
    row = listed(client, chat)
    assert (row["title"], row["last_turn_summary"]) == (TITLE, LABEL)
    assert row["updated_at"] == ended_at
    prompt = "why is the sky blue at noon and red at dusk"
    asked = [r for r in provider.side_requests if r.messages[-1].content.endswith(prompt)]
    title, label = sorted(asked, key=side_schema)
    assert (side_schema(title), title.body["max_tokens"]) == ("propose_title", 256)
    assert (side_schema(label), label.body["max_tokens"]) == ("propose_turn_status_label", 64)
    assert len(provider.requests_for(prompt)) == 1


@contextmanager
def recorded(client: Client) -> Iterator[None]:
    """Have the calls of the administrator's chats recorded."""
    config = f"{PATH}/config"
    client.call("PUT", f"{config}/debug-logging", {"allow_users": True}, expect=204)
    client.call("PUT", f"{config}/user-debug-logging", {"debug_logging_enabled": True}, expect=204)
    try:
        yield
    finally:
        client.call(
            "PUT", f"{config}/user-debug-logging", {"debug_logging_enabled": False}, expect=204
        )
        client.call("PUT", f"{config}/debug-logging", {"allow_users": False}, expect=204)


def test_where_calls_are_recorded_titles_and_labels_are_too(
    client: Client, provider: ScriptedProvider
):
    prompt = "name me and label me while somebody writes it down"
    title = non_streaming_response('{"title": "Written down"}')
    provider.title(prompt, in_turn(faults.http_error(503, {}), lambda _: title))
    provider.on(prompt, answer("Noted and written down."))
    provider.label("Noted and written down.", faults.http_error(401, "no"))
    with recorded(client):
        chat = client.create_chat(prompt)
        finished(client, chat)
        path = f"{PATH}/{chat['id']}/debug/runs"

        def runs() -> Any:
            return {run["kind"]: run for run in client.call("GET", path) if "finished_at" in run}

        wait_until(lambda: len(runs()) == 3, 120, "the turn, its title and its label are recorded")
        found = {kind: client.call("GET", f"{path}/{run['id']}") for kind, run in runs().items()}
    assert {kind: run["status"] for kind, run in found.items()} == {
        "chat_turn": "completed",
        "title_generation": "completed",
        "quickgen": "error",
    }
    [step] = found["title_generation"]["steps"]
    assert [attempt["status"] for attempt in step["attempts"]] == ["error", "completed"]
    [step] = found["quickgen"]["steps"]
    assert (step["operation"], step["error"]["kind"]) == ("generate", "auth")


def test_a_later_turn_gets_a_label_and_no_other_title(client: Client, provider: ScriptedProvider):
    chat = client.create_chat("one more question")
    finished(client, chat)
    wait_until(lambda: client.chat(chat["id"])["title"] == TITLE, 120, "the title is there")
    provider.label(
        "You said: and another", lambda _: non_streaming_response('{"label": "Said it twice"}')
    )
    client.send(chat["id"], "and another")
    wait_until(
        lambda: client.chat(chat["id"])["last_turn_summary"] == "Said it twice", 20, "the label"
    )
    named = [r for r in provider.side_requests if r.messages[-1].content == "and another"]
    assert named == []


def test_a_label_that_is_none_gives_way_to_fixed_words(client: Client, provider: ScriptedProvider):
    provider.label("You said: label me badly", lambda _: non_streaming_response("I did"))
    chat = client.create_chat("label me badly")
    finished(client, chat)
    wait_until(lambda: client.chat(chat["id"])["last_turn_summary"] is not None, 120, "words")
    assert client.chat(chat["id"])["last_turn_summary"] == "Finished latest turn"


def dropped_title(web: Web, chat: Any) -> bool:
    lines = [line for line in web.log.splitlines() if "first title" in line]
    return any(chat["id"] in line and "stored=False" in line for line in lines)


def test_a_title_that_hangs_holds_no_turn_and_a_rename_wins(
    client: Client, web: Web, provider: ScriptedProvider
):
    asked, released = threading.Event(), threading.Event()

    def late(request: OpenAIRequest) -> Any:
        asked.set()
        assert released.wait(120)
        return non_streaming_response('{"title": "Much too late"}')

    provider.title("hold the title", late)
    chat = client.create_chat("hold the title")
    finished(client, chat)
    assert asked.wait(120)
    client.send(chat["id"], "go on")  # a second turn beside the title of the first one
    finished(client, chat, answers=2)
    client.call("PATCH", f"{PATH}/{chat['id']}", {"title": "By hand"}, expect=204)
    released.set()
    wait_until(lambda: dropped_title(web, chat), 120, "the late title has come")
    assert client.chat(chat["id"])["title"] == "By hand"


def test_a_label_loses_against_a_newer_turn(client: Client, provider: ScriptedProvider, gate: Any):
    asked, released = threading.Event(), threading.Event()

    def late(request: OpenAIRequest) -> Any:
        asked.set()
        assert released.wait(120)
        return non_streaming_response('{"label": "Much too late"}')

    provider.label("You said: label me late", late)
    chat = client.create_chat("label me late")
    finished(client, chat)
    assert asked.wait(120)
    held = gate("the newer turn", "is ")
    with client.follow(chat["id"]) as follower, watching(client) as events:
        client.send(chat["id"], "the newer turn")
        follower.wait_for_text("is ")
        released.set()
        provider.label("is over", lambda _: non_streaming_response('{"label": "Newer turn over"}'))
        held.end("over")
        wait_until(lambda: of_kind(events, "summary_change", chat), 120, "the label is told")
    said = [row["last_turn_summary"] for row in of_kind(events, "summary_change", chat)]
    assert said == ["Newer turn over"]


def test_an_interrupt_and_an_error_take_the_words_away(
    client: Client, provider: ScriptedProvider, gate: Any
):
    chat = client.create_chat("say something first")
    finished(client, chat)
    wait_until(lambda: client.chat(chat["id"])["last_turn_summary"] == LABEL, 120, "the label")
    held = gate("stop me", "some words ")
    client.send(chat["id"], "stop me")
    held.wait_for_streams(1)
    client.interrupt(chat["id"])
    assert client.chat(chat["id"])["last_turn_summary"] is None
    client.send(chat["id"], "say something else")
    wait_until(lambda: client.chat(chat["id"])["last_turn_summary"] == LABEL, 120, "the label")
    provider.on("fail now", faults.http_error(400, "no"))
    client.send(chat["id"], "fail now")
    wait_until(lambda: client.chat(chat["id"])["status"] == "error", 120, "the turn has failed")
    assert client.chat(chat["id"])["last_turn_summary"] is None


def test_a_turn_that_waits_for_a_client_has_fixed_words(client: Client, provider: ScriptedProvider):
    provider.on("ask the client", calls(("call-1", "ask_browser", "{}")))
    tool = {"name": "ask_browser", "description": "", "input_schema": {"type": "object"}}
    chat = client.create_chat("ask the client", tools=[tool])
    wait_until(
        lambda: client.chat(chat["id"])["status"] == "requires_action", 20, "the client is asked"
    )
    assert client.chat(chat["id"])["last_turn_summary"] == "Waiting for user input"


def test_a_stop_does_not_wait_for_a_title(provider: ScriptedProvider):
    with embedded() as product:
        web, client, chat = named_never(product, provider)
        assert client.chat(chat["id"])["status"] == "waiting"
        began = time.monotonic()
        web.signal(signal.SIGTERM)
        web.wait()
        assert time.monotonic() - began < 25  # of the 30 that the title still had
        assert "Traceback" not in web.log


def named_never(product: Product, provider: ScriptedProvider) -> tuple[Web, Client, Any]:
    """Start a product whose first chat is done, while its title and its label hang."""
    web = product.up()
    product.add_models({"base_url": provider.base_url, "is_default": True})
    client = product.client(web)
    provider.title("never name me", faults.hang())
    provider.label("said", faults.hang())
    provider.on("never name me", answer("said"))
    asked = len(provider.side_requests)
    chat = client.create_chat("never name me")
    finished(client, chat)
    wait_until(lambda: len(provider.side_requests) == asked + 2, 120, "both are asked for")
    return web, client, chat


def test_switched_off_no_model_is_asked(provider: ScriptedProvider):
    with embedded(CHATD_SIDE_CALLS="off") as product:
        web = product.up()
        product.add_models({"base_url": provider.base_url, "is_default": True})
        client = product.client(web)
        asked = len(provider.side_requests)
        chat = client.create_chat("leave me as I am")
        finished(client, chat)
        wait_until(lambda: client.chat(chat["id"])["last_turn_summary"] is not None, 120, "words")
        row = client.chat(chat["id"])
        assert (row["title"], row["last_turn_summary"]) == (
            "leave me as I am",
            "Finished latest turn",
        )
        assert len(provider.side_requests) == asked
