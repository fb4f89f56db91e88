"""Following a chat from the outside: nothing is lost, nothing is doubled, the order holds."""

import json
import random
import threading

import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.provider import answer, calls, counting, held_until, in_turn, is_counted, paced
from tests.support.client import Client, Follower, text_of, tool_calls_of
from tests.support.product import wait_until

RUNS_ON = "embedded"

WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def _in_order(events: list[str], *wanted: str) -> bool:
    """True when the wanted words appear in this order, with anything between them."""
    left = iter(events)
    return all(any(word == event for event in left) for word in wanted)


def test_a_new_chat_streams_its_answer_and_stores_exactly_that(client, provider, gate):
    held = gate("tell me", "Once ", "upon ")
    chat = client.create_chat("tell me")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("Once upon ")
        assert follower.kinds()[0] in ("status:pending", "status:running")
        held.end("a ", "time ünd 🌍")
        follower.wait_for_answers(1)
    assert follower.at_reset == ["Once upon a time ünd 🌍"] == follower.answers
    stored = client.messages(chat["id"])
    assert [message["role"] for message in stored] == ["user", "assistant"]
    assert text_of(stored[1]) == held.text
    assert stored[1]["usage"]["input_tokens"] == 21
    assert stored[1]["usage"]["output_tokens"] == 7
    assert client.chat(chat["id"])["status"] == "waiting"
    assert set(follower.delivered.values()) == {1}
    assert _in_order(
        follower.kinds(), "status:running", "message_part", "message:assistant", "status:waiting"
    )


def test_after_id_limits_messages_and_nothing_else(client, gate):
    chat = client.create_chat("a first question")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    newest = max(follower.messages)
    held = gate("a second question", "one ")
    with client.follow(chat["id"], after_id=newest) as follower:
        assert client.send(chat["id"], "a second question")["queued"] is False
        follower.wait_for_text("one ")
        with client.follow(chat["id"], after_id=2**63 - 1) as parts_only:
            parts_only.wait_for_text("one ")
            held.end("two")
            parts_only.wait(lambda f: f.text == "one two", "all parts")
            parts_only.wait_for_status("waiting")
        follower.wait_for_answers(1)
    assert min(follower.messages) > newest
    assert parts_only.messages == {}
    with client.follow(chat["id"], after_id=-5) as follower:
        follower.wait(lambda f: len(f.messages) == 4, "the whole history")


def test_a_bad_handshake_is_a_normal_answer(client):
    chat = client.create_chat("who goes there")
    path = f"/api/experimental/chats/{chat['id']}/stream"
    stranger = Client(client.url, "AAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAA")
    for who, where, status in [
        (stranger, path, 401),
        (client, f"{path}?after_id=x", 400),
        (client, path.replace(chat["id"], "00000000-0000-4000-8000-000000000000"), 404),
        (client, "/api/experimental/nowhere", 404),
    ]:
        with pytest.raises(InvalidStatus) as refused:
            who.open_socket(where)
        assert refused.value.response.status_code == status


@pytest.mark.slow
def test_two_hundred_reconnections_lose_nothing_and_double_nothing(client, provider):
    """Each connection shows, from its snapshot on, a prefix of the one true text."""
    enough = threading.Event()
    provider.on("a slow answer", counting(enough, 0.008))
    chat = client.create_chat("a slow answer")
    chance = random.Random(20261)
    known = 0
    with client.follow(chat["id"]) as witness:
        witness.wait(lambda f: f.text != "", "the first word")
        for _ in range(200):
            with client.follow(chat["id"]) as follower:
                frames = chance.choice([1, 1, 2, 3, 5])
                follower.wait(lambda f, n=frames: len(f.events) > n, "some events")
                follower.close()
                assert is_counted(follower.text), follower.text[-200:]
                # what an earlier connection has seen is in the log of every later one
                assert len(follower.text) >= known
                known = len(follower.text)
        provider_calls = len(provider.requests_for("a slow answer"))
        late = client.follow(chat["id"]).wait(lambda f: f.text != "", "the words so far")
        enough.set()
        witness.wait_for_answers(1)
        with late:
            late.wait_for_answers(1)
    assert provider_calls == 1
    [whole] = witness.answers
    assert is_counted(whole)
    assert len(whole) >= known > 0
    for follower in (witness, late):
        assert follower.at_reset == [whole]
        assert follower.answers == [whole]
    assert text_of(client.messages(chat["id"])[-1]) == whole


def test_every_follower_sees_the_same(client, gate):
    held = gate("for many eyes", "a")
    chat = client.create_chat("for many eyes")
    first = client.follow(chat["id"]).wait_for_text("a")
    followers = [first, *(client.follow(chat["id"]) for _ in range(20))]
    for number in range(50):
        held.send(f"-{number}")
    held.end(".")
    for follower in followers:
        with follower:
            follower.wait_for_answers(1)
    assert {tuple(follower.at_reset) for follower in followers} == {(held.text,)}
    assert {tuple(follower.answers) for follower in followers} == {(held.text,)}


def test_an_interrupt_keeps_what_was_streamed_and_closes_the_provider_call(client, provider, gate):
    held = gate("stop me", "kept ", "words ")
    dropped = provider.disconnects
    chat = client.create_chat("stop me")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("kept words ")
        mark = len(follower.events)
        assert client.interrupt(chat["id"])["status"] == "waiting"
        assert provider.wait_for_disconnects(dropped + 1)
        held.wait_for_streams(0)
        held.end("never seen")
        follower.wait_for_answers(1)
        assert client.send(chat["id"], "and then")["queued"] is False
        follower.wait_for_answers(2)
    assert follower.answers[0] == "kept words " == follower.at_reset[0]
    order = follower.kinds()[mark:]
    assert order[:3] == ["status:waiting", "message:assistant", "status:waiting"]
    assert "never seen" not in str(client.messages(chat["id"]))
    request = provider.requests_for("and then")[0]
    assert [m.content for m in request.messages if m.role == "assistant"] == ["kept words "]


def test_an_interrupt_before_the_first_word_stores_nothing(client, provider, gate):
    held = gate("think hard")
    chat = client.create_chat("think hard")
    with client.follow(chat["id"]) as follower:
        held.wait_for_streams(1)
        client.interrupt(chat["id"])
        held.wait_for_streams(0)
        follower.wait_for_status("waiting")
        client.send(chat["id"], "again please")
        follower.wait_for_answers(1)
    roles = [message["role"] for message in client.messages(chat["id"])]
    assert roles == ["user", "user", "assistant"]


def test_an_interrupt_of_a_resting_chat_changes_nothing(client):
    chat = client.create_chat("rest")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    before = client.messages(chat["id"])
    assert client.interrupt(chat["id"])["status"] == "waiting"
    assert client.messages(chat["id"]) == before


def test_a_message_to_a_busy_chat_waits_its_turn(client, gate):
    held = gate("busy one", "working ")
    chat = client.create_chat("busy one")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("working ")
        sent = client.send(chat["id"], "next one")
        assert sent["queued"] is True
        follower.wait(lambda f: len(f.queue) == 1, "the queued message")
        assert follower.queue[0]["id"] == sent["queued_message"]["id"]
        held.end("done")
        follower.wait_for_answers(2)
        follower.wait(lambda f: f.queue == [], "an empty queue")
    assert follower.answers == ["working done", "You said: next one"]
    roles = [message["role"] for message in client.messages(chat["id"])]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert _in_order(
        follower.kinds(),
        "message:assistant",
        "message:user",
        "queue_update",
        "status:pending",
        "status:running",
        "message:assistant",
        "status:waiting",
    )


def test_sending_with_interrupt_stops_keeps_and_goes_on(client, provider, gate):
    held = gate("long speech", "blah ")
    chat = client.create_chat("long speech")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("blah ")
        mark = len(follower.events)
        assert client.send(chat["id"], "enough", busy="interrupt")["queued"] is True
        held.wait_for_streams(0)
        follower.wait_for_answers(2)
    stored = client.messages(chat["id"])
    assert [text_of(message) for message in stored] == [
        "long speech",
        "blah ",
        "enough",
        "You said: enough",
    ]
    assert _in_order(
        follower.kinds()[mark:],
        "status:waiting",
        "message:assistant",
        "message:user",
        "queue_update",
        "status:pending",
        "status:running",
        "message:assistant",
        "status:waiting",
    )


def test_an_edit_in_the_middle_of_an_answer_lets_nothing_late_through(client, gate):
    held = gate("wrong question", "wrong ")
    chat = client.create_chat("wrong question")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("wrong ")
        client.send(chat["id"], "queued and forgotten")
        asked = client.messages(chat["id"])[0]
        mark = len(follower.events)
        edited = client.edit(chat["id"], asked["id"], "right question")
        assert edited["id"] > asked["id"]
        held.wait_for_streams(0)
        held.end("late output")
        follower.wait(lambda f: f.answers == ["You said: right question"], "the new answer")
        follower.wait_for_status("waiting")
        assert follower.queue == []
        late = [event for event in follower.events[mark:] if "late" in str(event)]
    assert late == []
    stored = client.messages(chat["id"])
    assert [text_of(message) for message in stored] == [
        "right question",
        "You said: right question",
    ]
    assert all(message["id"] > asked["id"] for message in stored)


def test_queued_messages_can_be_deleted_and_promoted(client, gate):
    held = gate("hold the line", "first ")
    chat = client.create_chat("hold the line")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("first ")
        ids = [
            client.send(chat["id"], text)["queued_message"]["id"]
            for text in ("one", "two", "three")
        ]
        client.delete_queued(chat["id"], ids[0])
        client.delete_queued(chat["id"], ids[0])
        follower.wait(lambda f: [item["id"] for item in f.queue] == ids[1:], "one gone")
        client.promote_queued(chat["id"], ids[2])
        held.wait_for_streams(0)
        follower.wait_for_answers(3)
    texts = [text_of(message) for message in client.messages(chat["id"])]
    assert texts == [
        "hold the line",
        "first ",
        "three",
        "You said: three",
        "two",
        "You said: two",
    ]
    assert follower.queue == []


def test_a_client_side_tool_is_called_answered_and_used(client, provider):
    prompt = "what is the weather like"
    first, followed = calls(("call_1", "weather", '{"city":"Bern"}')), threading.Event()
    provider.on(prompt, in_turn(held_until(followed, first), answer("It ", "rains.")))
    chat = client.create_chat(prompt, tools=[WEATHER])
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: len(f.events) > 0, "a snapshot")
        followed.set()
        follower.wait(lambda f: len(f.actions) == 1, "action_required")
        assert follower.status == "requires_action"
        call = follower.actions[0][0]
        assert (call["tool_call_id"], call["tool_name"]) == ("call_1", "weather")
        assert call["args"] == '{"city":"Bern"}'
        client.submit_results(chat["id"], {"call_2": 1}, expect=400)
        client.submit_results(chat["id"], {"call_1": {"sky": "grey", "mm": 3}})
        client.submit_results(chat["id"], {"call_1": "again"}, expect=409)
        follower.wait_for_answers(2)
    stored = client.messages(chat["id"])
    assert [message["role"] for message in stored] == ["user", "assistant", "tool", "assistant"]
    assert tool_calls_of(stored[1]) == [("call_1", "weather", {"city": "Bern"})]
    assert stored[2]["content"][0]["result"] == {"sky": "grey", "mm": 3}
    assert text_of(stored[3]) == "It rains."
    told = provider.requests_for(prompt)[1].messages[-1]
    assert told.role == "tool"
    assert "grey" in told.content
    assert _in_order(
        follower.kinds(),
        "message:assistant",
        "status:requires_action",
        "action_required",
        "status:running",
        "message:assistant",
        "status:waiting",
    )


def test_an_interrupt_closes_open_tool_calls(client, provider):
    prompt = "call and wait"
    provider.on(prompt, calls(("call_9", "weather", '{"city":"Rom"}')))
    chat = client.create_chat(prompt, tools=[WEATHER])
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("requires_action")
        assert client.interrupt(chat["id"])["status"] == "waiting"
        follower.wait_for_status("waiting")
        client.send(chat["id"], "never mind")
        follower.wait_for_answers(2)
    results = [message for message in client.messages(chat["id"]) if message["role"] == "tool"]
    assert [part["is_error"] for message in results for part in message["content"]] == [True]
    sent = provider.requests_for("never mind")[0]
    assert [message.role for message in sent.messages].count("tool") == 1


def test_the_watch_socket_tells_of_every_rest(client, gate):
    held = gate("watch this", "x")
    with client.open_socket("/api/experimental/chats/watch") as watch:
        chat = client.create_chat("watch this")
        held.end()
        seen = []
        while not seen or seen[-1] != ("status_change", "waiting"):
            event = watch.recv(timeout=120)
            assert isinstance(event, str)
            body = json.loads(event)
            if body["chat"]["id"] == chat["id"]:
                seen.append((body["kind"], body["chat"]["status"]))
    assert seen[0] == ("created", "pending")


def test_a_hundred_chats_at_once_all_end_with_their_own_answer(client, provider):
    provider.on("crowd", paced(["all ", "at ", "once"], 0.02))
    chats = [client.create_chat("crowd")["id"] for _ in range(100)]
    followers: list[Follower] = []
    lock = threading.Lock()

    def follow(chat_id: str) -> None:
        follower = client.follow(chat_id)
        with lock:
            followers.append(follower)

    threads = [threading.Thread(target=follow, args=(chat_id,)) for chat_id in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for follower in followers:
        with follower:
            follower.wait_for_answers(1)
        assert follower.answers == ["all at once"]
    assert len(followers) == 100


def test_leaving_and_coming_back_after_the_end_shows_the_stored_answer_only(client, gate):
    held = gate("walk away", "some ")
    chat = client.create_chat("walk away")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_text("some ")
        newest = max(follower.messages)
    held.end("text")
    wait_until(lambda: client.chat(chat["id"])["status"] == "waiting", 120, "the end of the turn")
    with client.follow(chat["id"], after_id=newest) as follower:
        follower.wait_for_answers(1)
    assert follower.kinds() == ["status:waiting", "message:assistant"]
    assert follower.answers == ["some text"]
