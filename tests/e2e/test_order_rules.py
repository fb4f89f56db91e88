"""What clients rely on about order and concurrency, with two webs, two workers, PostgreSQL, Redis.

One test per rule of engine 28. Whoever acts talks to one web, whoever looks to the other.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from celery import Celery

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIRequest, non_streaming_response
from tests.e2e.provider import (
    Gate,
    ScriptedProvider,
    answer,
    broken_off,
    calls,
    held_until,
    in_turn,
)
from tests.support.client import Client, Event, text_of
from tests.support.mcp_server import ToolServer
from tests.support.product import Product, Web, split, wait_until

RUNS_ON = "split"
pytestmark = pytest.mark.slow

CHATS = "/api/experimental/chats"
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
OVERLOADED = {"error": {"message": "overloaded", "type": "overloaded_error"}}


@pytest.fixture(scope="module")
def fakes() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as server:
        yield server


@pytest.fixture(scope="module")
def product(server_url: str, fakes: ScriptedProvider) -> Iterator[Product]:
    with split(
        server_url, CHATD_RETRY_FIRST_DELAY_SECONDS="0.2", CHATD_API_RATE_LIMIT="100000"
    ) as started:
        webs = [started.web(ready=False) for _ in range(2)]
        workers = [started.worker(ready=False) for _ in range(2)]
        for web in webs:
            web.wait_until_ready()
        for worker in workers:
            worker.wait_for_log(" ready.")
        started.add_models({"base_url": fakes.base_url, "is_default": True})
        yield started


@pytest.fixture(scope="module")
def tool_server(product: Product, tools: ToolServer) -> str:
    """The id of a server of tools that chats may name."""
    body = {
        "display_name": "Tools",
        "slug": "tools",
        "url": tools.url,
        "transport": "streamable_http",
        "auth_type": "none",
        "availability": "default_off",
        "enabled": True,
    }
    client = product.client(next(each for each in product.processes if isinstance(each, Web)))
    made = client.call("POST", "/api/experimental/mcp/servers", body, expect=201)
    return str(made["id"])


@pytest.fixture
def clients(product: Product) -> tuple[Client, Client]:
    first, second = [each for each in product.processes if isinstance(each, Web)]
    return product.client(first), product.client(second)


@pytest.fixture
def actor(clients: tuple[Client, Client]) -> Client:
    return clients[0]


@pytest.fixture
def onlooker(clients: tuple[Client, Client]) -> Client:
    return clients[1]


@pytest.fixture
def gate(fakes: ScriptedProvider) -> Iterator[Callable[..., tuple[str, Gate]]]:
    """Make an answer under a prompt of its own; it is ended with the test."""
    made: list[Gate] = []

    def make(*deltas: str) -> tuple[str, Gate]:
        prompt = unique("question")
        made.append(fakes.gate(prompt, *deltas))
        return prompt, made[-1]

    yield make
    for each in made:
        each.end()


def unique(words: str) -> str:
    return f"{words} {uuid4().hex[:8]}"


def position(events: Sequence[Event], word: str, is_met: Callable[[Any], bool] = bool) -> int:
    """Return where the first event of a kind stands whose payload is as wanted."""
    return next(
        at for at, event in enumerate(events) if event["type"] == word and is_met(event[word])
    )


def is_status(wanted: str) -> Callable[[Any], bool]:
    return lambda payload: payload["status"] == wanted


def has_role(wanted: str) -> Callable[[Any], bool]:
    return lambda message: message["role"] == wanted


def watched(client: Client, stack: ExitStack) -> list[Any]:
    """Return the watch events of the person, which grow as they come."""
    events: list[Any] = []
    socket = client.open_socket(f"{CHATS}/watch")
    reader = threading.Thread(target=lambda: events.extend(map(json.loads, socket)), daemon=True)
    reader.start()
    stack.callback(reader.join, 10)
    stack.callback(socket.close)
    return events


def test_rule_1_running_parts_answer_tools_rest_come_in_this_order(
    actor: Client, onlooker: Client, fakes: ScriptedProvider, tool_server: str
) -> None:
    prompt, followed = unique("use the tools"), threading.Event()
    both = calls(("one", "tools__greet", '{"name": "a"}'), ("two", "tools__greet", '{"name": "b"}'))
    fakes.on(prompt, in_turn(held_until(followed, both), answer("Done ", "now.")))
    body = {
        "organization_id": actor.organization_id,
        "content": [{"type": "text", "text": prompt}],
        "mcp_server_ids": [tool_server],
    }
    chat = actor.call("POST", CHATS, body, expect=201)
    with onlooker.follow(chat["id"]) as follower:
        follower.wait(lambda f: bool(f.events), "the snapshot")
        followed.set()
        follower.wait_for_answers(2)
    events = follower.events
    running = position(events, "status", is_status("running"))
    first_part = position(events, "message_part")
    first_answer = position(events, "message", has_role("assistant"))
    first_result = position(events, "message", has_role("tool"))
    assert running < first_part < first_answer < first_result
    seen = [event["message"] for event in events if event["type"] == "message"]
    assert [m["role"] for m in seen] == ["user", "assistant", "tool", "tool", "assistant"]
    results = [part["tool_call_id"] for m in seen[2:4] for part in m["content"]]
    assert results == ["one", "two"]
    last_message = max(at for at, event in enumerate(events) if event["type"] == "message")
    parts = [at for at, event in enumerate(events) if event["type"] == "message_part"]
    assert max(parts) < last_message
    assert events[-1]["status"]["status"] == "waiting"


def test_rule_2_an_interrupt_is_seen_before_what_it_kept_and_that_before_what_follows(
    actor: Client, onlooker: Client, gate: Any
) -> None:
    prompt, held = gate("kept ", "words ")
    chat = actor.create_chat(prompt)
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_text("kept words ")
        queued = actor.send(chat["id"], "what follows")
        assert queued["queued"] is True
        follower.wait(lambda f: len(f.queue) == 1, "the queue")
        mark = len(follower.events)
        actor.interrupt(chat["id"])
        follower.wait_for_answers(2)
    order = [word for word in follower.kinds()[mark:] if word != "message_part"]
    assert order[:6] == [
        "status:waiting",
        "message:assistant",
        "message:user",
        "queue_update",
        "status:pending",
        "status:running",
    ]
    kept, promoted = sorted(follower.messages)[1:3]
    assert text_of(follower.messages[kept]) == "kept words "
    assert text_of(follower.messages[promoted]) == "what follows"
    held.wait_for_streams(0)


def test_rule_2_results_of_cut_calls_come_before_the_promoted_message(
    actor: Client, onlooker: Client, fakes: ScriptedProvider
) -> None:
    prompt = unique("look at it")
    fakes.on(prompt, calls(("look-1", "look", "{}")))
    chat = actor.create_chat(prompt, tools=[LOOK])
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_status("requires_action")
        actor.send(chat["id"], "never mind", busy="queue")
        actor.interrupt(chat["id"])
        follower.wait_for_answers(2)
    stored = actor.messages(chat["id"])
    assert [message["role"] for message in stored] == [
        "user",
        "assistant",
        "tool",
        "user",
        "assistant",
    ]
    assert stored[2]["content"][0]["is_error"] is True
    assert [m["id"] for m in stored] == sorted(m["id"] for m in stored)


def test_rule_3_an_edit_cuts_and_nothing_of_what_it_cut_comes_again(
    actor: Client, onlooker: Client, gate: Any
) -> None:
    prompt, held = gate("wrong ")
    chat = actor.create_chat(prompt)
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_text("wrong ")
        asked = actor.messages(chat["id"])[0]
        mark = len(follower.events)
        edited = actor.edit(chat["id"], asked["id"], unique("better question"))
        held.end("a late word")
        follower.wait(lambda f: f.status == "waiting" and len(f.answers) == 1, "the new answer")
        held.wait_for_streams(0)
        later = follower.events[mark:]
    ids = [event["message"]["id"] for event in later if event["type"] == "message"]
    assert min(ids) >= edited["id"] > asked["id"]
    assert "a late word" not in json.dumps(later)
    assert [message["id"] for message in actor.messages(chat["id"])] == sorted(set(ids))


def test_rule_4_a_chat_has_one_runner_however_often_workers_are_told_of_it(
    actor: Client, onlooker: Client, fakes: ScriptedProvider, product: Product, gate: Any
) -> None:
    prompt, held = gate("one ")
    chat = actor.create_chat(prompt)
    assert product.redis is not None
    with onlooker.follow(chat["id"]) as follower, _broker(product.redis.url) as app:
        owner = actor.call("GET", "/api/v2/users/me")["id"]
        for _ in range(40):
            app.send_task("chatd.turns.run_turn", args=[chat["id"], owner], queue="turns")
        follower.wait_for_text("one ")
        other = actor.create_chat(unique("behind all of these"))
        with onlooker.follow(other["id"]) as behind:
            behind.wait_for_answers(1)
        assert held.open_streams == 1
        held.end("answer")
        follower.wait_for_answers(1)
    assert len(fakes.requests_for(prompt)) == 1
    assert [text_of(message) for message in actor.messages(chat["id"])] == [prompt, "one answer"]


def _broker(url: str) -> Celery:
    app = Celery("chatd-test", broker=url)
    app.conf.broker_transport_options = {"global_keyprefix": "chatd:celery:"}
    return app


def test_rule_5_no_connection_gets_a_message_twice(
    actor: Client, onlooker: Client, gate: Any
) -> None:
    prompt, held = gate("some ")
    chat = actor.create_chat(prompt)
    with ExitStack() as stack:
        followers = [
            stack.enter_context(client.follow(chat["id"])) for client in (actor, onlooker) * 3
        ]
        for follower in followers:
            follower.wait_for_text("some ")
        for number in range(5):
            actor.send(chat["id"], unique(f"queued {number}"))
        held.end("text")
        for follower in followers:
            follower.wait_for_answers(6)
    for follower in followers:
        assert set(follower.delivered.values()) == {1}
        assert len(follower.delivered) == 12


def test_rule_6_calls_for_the_client_come_after_the_status_and_can_be_read_later(
    actor: Client, onlooker: Client, fakes: ScriptedProvider
) -> None:
    prompt, followed = unique("look there"), threading.Event()
    fakes.on(
        prompt,
        in_turn(held_until(followed, calls(("look-2", "look", "{}"))), answer("I see.")),
    )
    chat = actor.create_chat(prompt, tools=[LOOK])
    statuses: list[str] = []
    with onlooker.follow(chat["id"]) as follower:
        follower.wait(lambda f: bool(f.events), "the snapshot")
        followed.set()
        follower.wait(lambda f: bool(f.actions), "the calls")
        statuses.append(actor.chat(chat["id"])["status"])
        at = position(follower.events, "action_required")
        assert position(follower.events, "status", is_status("requires_action")) < at
        with onlooker.follow(chat["id"]) as late:
            late.wait_for_status("requires_action")
            calls_seen = [
                part["tool_call_id"]
                for message in late.messages.values()
                for part in message["content"]
                if part["type"] == "tool-call"
            ]
        actor.submit_results(chat["id"], {"look-2": {"seen": 1}})
        follower.wait_for_answers(2)
    assert statuses == ["requires_action"]
    assert calls_seen == ["look-2"]


def test_rule_7_an_update_of_the_queue_is_always_the_whole_queue(
    actor: Client, onlooker: Client, gate: Any
) -> None:
    prompt, held = gate("busy ")
    chat = actor.create_chat(prompt)
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_text("busy ")
        mark = len(follower.events)
        ids = [actor.send(chat["id"], f"q{n}")["queued_message"]["id"] for n in range(3)]
        actor.delete_queued(chat["id"], ids[1])
        follower.wait(lambda f: [m["id"] for m in f.queue] == [ids[0], ids[2]], "two are left")
        asked = actor.messages(chat["id"])[0]
        actor.edit(chat["id"], asked["id"], unique("edited"))
        follower.wait(lambda f: f.queue == [], "an empty queue")
        follower.wait_for_answers(1)
    updates = [
        [message["id"] for message in event.get("queued_messages", [])]
        for event in follower.events[mark:]
        if event["type"] == "queue_update"
    ]
    whole = [ids[:1], ids[:2], ids, [ids[0], ids[2]], []]
    assert all(update in whole for update in updates)
    assert [whole.index(update) for update in updates] == sorted(map(whole.index, updates))
    assert updates[-1] == []
    held.wait_for_streams(0)


def test_rule_8_the_error_comes_before_its_status_and_is_what_the_chat_says(
    actor: Client, onlooker: Client, fakes: ScriptedProvider
) -> None:
    prompt, followed = unique("fail"), threading.Event()
    fakes.on(prompt, held_until(followed, faults.http_error(401, "wrong key")))
    chat = actor.create_chat(prompt)
    with onlooker.follow(chat["id"]) as follower:
        follower.wait(lambda f: bool(f.events), "the snapshot")
        followed.set()
        follower.wait_for_status("error")
    at = position(follower.events, "error")
    assert at < position(follower.events, "status", is_status("error"))
    assert follower.events[at]["error"] == actor.chat(chat["id"])["last_error"]


def test_rule_9_a_new_title_is_told_to_watchers_alone(
    actor: Client, onlooker: Client, gate: Any
) -> None:
    prompt, held = gate("a ")
    chat = actor.create_chat(prompt)
    with ExitStack() as stack:
        events = watched(onlooker, stack)
        follower = stack.enter_context(onlooker.follow(chat["id"]))
        follower.wait_for_text("a ")
        title = unique("A title")
        actor.call("PATCH", f"{CHATS}/{chat['id']}", {"title": title}, expect=204)

        def told() -> list[Any]:
            return [
                e for e in events if e["kind"] == "title_change" and e["chat"]["title"] == title
            ]

        wait_until(lambda: told(), 120, "the title is told")
        held.end("b")
        follower.wait_for_answers(1)
        assert title not in json.dumps(follower.events)


def test_rule_10_a_retry_voids_the_parts_also_for_who_comes_late(
    actor: Client, onlooker: Client, fakes: ScriptedProvider, gate: Any
) -> None:
    _, again = gate("right ")
    prompt, fails = unique("try again"), threading.Event()
    fakes.on(prompt, in_turn(broken_off("wrong ", then=OVERLOADED, after=fails), again))
    chat = actor.create_chat(prompt)
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_text("wrong ")
        fails.set()
        follower.wait_for_text("right ")
        with actor.follow(chat["id"]) as late:
            late.wait_for_text("right ")
            assert "wrong" not in json.dumps(late.events)
        again.end("words")
        follower.wait_for_answers(1)
    retried = position(follower.events, "retry")
    before = [e["message_part"]["part"] for e in follower.events[:retried] if _is_part(e)]
    after = [e["message_part"]["part"] for e in follower.events[retried:] if _is_part(e)]
    assert "".join(part["text"] for part in before) == "wrong "
    assert "".join(part["text"] for part in after) == "right words"
    assert follower.answers == ["right words"]


def _is_part(event: Event) -> bool:
    return event["type"] == "message_part"


def test_rule_11_a_label_moves_no_chat_and_loses_against_a_newer_turn(
    actor: Client, onlooker: Client, fakes: ScriptedProvider, product: Product
) -> None:
    asked, released = threading.Event(), threading.Event()
    words = unique("The first answer")

    def late(request: OpenAIRequest) -> Any:
        asked.set()
        released.wait(120)
        return non_streaming_response('{"label": "Too late"}')

    fakes.label(words, late)
    prompt = unique("first")
    fakes.on(prompt, answer(words))
    chat = actor.create_chat(prompt)
    newer = actor.create_chat(unique("a newer chat"))
    with onlooker.follow(chat["id"]) as follower, onlooker.follow(newer["id"]) as other:
        follower.wait_for_answers(1)
        other.wait_for_answers(1)
        assert asked.wait(120)
        actor.send(chat["id"], unique("second"))
        follower.wait_for_answers(2)
        ended_at = actor.chat(chat["id"])["updated_at"]

        def label() -> str:
            return str(actor.chat(chat["id"]).get("last_turn_summary") or "")

        wait_until(lambda: label() == "Answered by the fake", 120, "the label of the second turn")
        released.set()
        wait_until(lambda: _paid_beside(product, chat["id"]) == 3, 120, "the late label has come")
    found = actor.chat(chat["id"])
    assert found["last_turn_summary"] == "Answered by the fake"
    assert found["updated_at"] == ended_at


def _paid_beside(product: Product, chat_id: str) -> int:
    """Return how many titles and labels of a chat were paid for, shown or not."""
    with psycopg.connect(product.environment["DATABASE_URL"]) as connection:
        counted = connection.execute(
            "SELECT count(*) FROM chats_chatmessage WHERE chat_id = %s AND deleted", [chat_id]
        )
        row = counted.fetchone()
    assert row is not None
    return int(row[0])


TOUCHES = {
    "archive": ("PATCH", "", {"archived": True}, 204),
    "unarchive": ("PATCH", "", {"archived": False}, 204),
    "labels": ("PATCH", "", {"labels": {"team": "red"}}, 204),
    "a title that was asked for": ("POST", "/title/regenerate", None, 200),
}
LEAVES = {
    "rename": ("PATCH", "", {"title": "Another name"}, 204),
    "pin": ("PATCH", "", {"pin_order": 1}, 204),
    "plan mode": ("PATCH", "", {"plan_mode": "plan"}, 204),
    "sharing": ("PATCH", "/acl", {"user_roles": {}}, 204),
    "a title that is proposed": ("POST", "/title/propose", None, 200),
}


def test_rule_12_what_moves_a_chat_in_the_list_and_what_does_not(
    actor: Client, onlooker: Client, fakes: ScriptedProvider
) -> None:
    chat = actor.create_chat(unique("move me"))
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)

    def moved(method: str, path: str, body: Any, expect: int) -> bool:
        before = onlooker.chat(chat["id"])["updated_at"]
        actor.call(method, f"{CHATS}/{chat['id']}{path}", body, expect=expect)
        return bool(onlooker.chat(chat["id"])["updated_at"] > before)

    assert {name: moved(*request) for name, request in LEAVES.items()} == dict.fromkeys(
        LEAVES, False
    )
    assert {name: moved(*request) for name, request in TOUCHES.items()} == dict.fromkeys(
        TOUCHES, True
    )
    before = onlooker.chat(chat["id"])["updated_at"]
    newest = actor.messages(chat["id"])[-1]["id"]
    with onlooker.follow(chat["id"], after_id=newest):
        pass
    assert onlooker.chat(chat["id"])["updated_at"] == before
    actor.send(chat["id"], unique("again"))
    with onlooker.follow(chat["id"]) as follower:
        follower.wait_for_answers(2)
    assert onlooker.chat(chat["id"])["updated_at"] > before
