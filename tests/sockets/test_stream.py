"""The stream of one chat as a client sees it, from a real server."""

import json
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import InterfaceError, InternalError, OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from websockets.exceptions import InvalidStatus

from chatd.chats import runs, states
from chatd.chats.models import Chat, Role, Status
from chatd.chats.new_messages import NewMessage
from chatd.chats.partial import Partial
from chatd.chats.parts import ToolResultPart
from chatd.chats.transition import StateConflictError
from chatd.live.messages import Episode
from tests.api.client import API, Api, assistant, calls, fresh, queue, start, text_part
from tests.sockets.live import SECONDS, delta, kinds, said, texts, write_parts
from tests.support.people import text, user_content

RETRY = {
    "attempt": 1,
    "delay_ms": 60_000,
    "error": "It is overloaded.",
    "kind": "overloaded",
    "retrying_at": "2030-01-01T00:00:00Z",
}


def episode_of(chat: Chat) -> Episode:
    chat = fresh(chat)
    return Episode(chat.history_version, chat.attempt)


# The snapshot


def test_the_first_frame_is_a_list_that_starts_with_the_status(server, chats, tokens):
    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        (status,) = client.read()
        message = client.next()
    assert status == {
        "type": "status",
        "chat_id": str(chat.pk),
        "status": {"status": "pending"},
    }
    assert set(message) == {"type", "chat_id", "message"}
    assert (
        message["message"]
        == Api(tokens.alice).get(f"/chats/{chat.pk}/messages").body["messages"][0]
    )


def test_the_snapshot_comes_in_the_order_of_the_contract(server, chats, tokens):
    chat = chats.pending()
    fence = start(chat)
    queue(chat, "later")
    runs.record_retry(fence, RETRY)
    with server.follow(chat, tokens.alice) as client:
        events = client.take(4)
    assert kinds(events) == ["running", "retry", "message", "queue_update"]
    assert events[1]["retry"] == RETRY
    assert [entry["content"][0]["text"] for entry in events[3]["queued_messages"]] == ["later"]


def test_the_parts_of_the_running_step_come_before_the_messages(server, chats, tokens):
    chat = chats.running()
    write_parts(chat, episode_of(chat), [delta("Good ")], [delta("mor"), delta("ning")])
    with server.follow(chat, tokens.alice) as client:
        events = client.take(4)
    assert kinds(events) == ["running", "message_part", "message_part", "message"]
    assert events[1]["message_part"] == {"role": "assistant", "part": delta("Good ")}
    assert said(events) == "Good morning"


def test_an_empty_queue_and_calls_that_wait_are_not_in_the_snapshot(server, chats, tokens):
    chat = chats.requiring_action()
    with server.follow(chat, tokens.alice) as client:
        assert kinds(client.take(3)) == ["requires_action", "message", "message"]
        states.interrupt(chat.pk)
        assert kinds([client.next()]) == ["message"]


def test_a_past_error_is_a_status_and_no_event(server, chats, tokens):
    chat = chats.failed()
    with server.follow(chat, tokens.alice) as client:
        assert kinds(client.take(2)) == ["error", "message"]


def test_a_retry_of_a_step_that_was_stored_is_over(server, chats, tokens):
    chat = chats.pending()
    fence = start(chat)
    runs.record_retry(fence, RETRY)
    runs.commit_step(fence, [assistant()])
    with server.follow(chat, tokens.alice) as client:
        assert kinds(client.take(3)) == ["running", "message", "message"]


@pytest.mark.parametrize(("skip", "shown"), [(0, 5), (1, 4), (5, 0)])
def test_after_id_limits_messages_and_nothing_else(server, chats, tokens, skip, shown):
    chat = chats.pending()
    fence = start(chat)
    runs.commit_step(fence, [assistant(f"number {index}") for index in range(4)])
    queue(chat)
    write_parts(chat, episode_of(chat), [delta("x")])
    ids = list(chat.messages.exclude(visibility="model").order_by("id").values_list("pk"))
    after_id = ids[skip - 1][0] if skip else 0
    with server.follow(chat, tokens.alice, f"?after_id={after_id}") as client:
        events = client.take(3 + shown)
    expected = ["running", "message_part", *["message"] * shown, "queue_update"]
    assert kinds(events) == expected
    assert [e["message"]["id"] for e in events if e["type"] == "message"] == [
        pk for (pk,) in ids[skip:]
    ]


def test_the_largest_after_id_shows_live_parts_only(server, chats, tokens):
    chat = chats.running()
    with server.follow(chat, tokens.alice, f"?after_id={2**63 - 1}") as client:
        assert kinds(client.read()) == ["running"]
        write_parts(chat, episode_of(chat), [delta("x")])
        assert kinds(client.read()) == ["message_part"]
        states.interrupt(chat.pk, partial=Partial(None))
        assert kinds(client.take(2)) == ["waiting", "waiting"]


# Live events


def test_a_whole_turn_is_shown_in_order(server, chats, tokens):
    chat = chats.waiting()
    with server.follow(chat, tokens.alice) as client:
        client.take(3)
        states.send_message(chat.pk, user_content(chat.owner_id, "go on"))
        assert kinds(client.take(2)) == ["message", "pending"]
        fence = start(chat)
        assert kinds(client.take(1)) == ["running"]
        write_parts(chat, episode_of(chat), [delta("a")], [delta("b")])
        assert said(client.take(2)) == "ab"
        progress = runs.commit_step(fence, [assistant("ab")])
        assert texts(client.take(1)) == ["ab"]
        fence = runs.Fence(
            chat_id=chat.pk, runner_id=fence.runner_id, history_version=progress.history_version
        )
        write_parts(chat, episode_of(chat), [delta("c")])
        assert said(client.take(1)) == "c"
        runs.finish(fence, [assistant("c")])
        events = client.take(2)
        assert (kinds(events), texts(events)) == (["message", "waiting"], ["c"])


def test_a_retry_an_error_and_their_payloads(server, chats, tokens):
    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        fence = start(chat)
        runs.record_retry(fence, RETRY)
        events = client.take(2)
        assert kinds(events) == ["running", "retry"]
        assert events[1]["retry"] == RETRY
        write_parts(chat, episode_of(chat), [delta("again")])
        assert said(client.take(1)) == "again"
        runs.fail(fence, {"message": "It broke.", "kind": "timeout", "retryable": True})
        events = client.take(2)
        assert kinds(events) == ["error", "error"]
        assert events[0] == {
            "type": "error",
            "chat_id": str(chat.pk),
            "error": {"message": "It broke.", "kind": "timeout", "retryable": True},
        }
        assert events[1]["type"] == "status"


def test_the_queue_is_shown_whole_and_absent_when_empty(server, chats, tokens):
    chat = chats.running()
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        queued = []
        for count in (1, 2):
            queued.append(queue(chat, "one more"))
            assert len(client.next()["queued_messages"]) == count
        states.delete_queued(chat.pk, queued[0].pk)
        assert len(client.next()["queued_messages"]) == 1
        states.delete_queued(chat.pk, queued[1].pk)
        assert client.next() == {"type": "queue_update", "chat_id": str(chat.pk)}


def test_an_interrupt_shows_the_partial_answer_between_two_statuses(server, chats, tokens):
    chat = chats.running()
    queue(chat, "next")
    write_parts(chat, episode_of(chat), [delta("half an ans")])
    with server.follow(chat, tokens.alice) as client:
        client.take(4)
        Api(tokens.alice).post(f"/chats/{chat.pk}/interrupt")
        events = client.take(5)
    assert kinds(events) == ["waiting", "message", "message", "queue_update", "pending"]
    assert texts(events) == ["half an ans", "next"]


def test_calls_for_the_client_carry_their_arguments_as_text(server, chats, tokens):
    chat = chats.pending(dynamic_tools=[{"name": "lookup"}])
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        fence = start(chat)
        runs.require_action(fence, [calls("one", "two")])
        events = client.take(4)
        assert kinds(events) == ["running", "message", "requires_action", "action_required"]
        wanted = events[3]["action_required"]["tool_calls"]
        assert [call["tool_call_id"] for call in wanted] == ["one", "two"]
        assert {call["tool_name"] for call in wanted} == {"lookup"}
        assert [json.loads(call["args"]) for call in wanted] == [{"q": "one"}, {"q": "two"}]
        assert events[1]["message"]["content"][0]["args"] == {"q": "one"}
        results = [ToolResultPart(tool_call_id=i, result={"x": 1}) for i in ("one", "two")]
        states.submit_tool_results(chat.pk, results, submitted_by=chat.owner_id)
        assert kinds(client.take(3)) == ["message", "message", "pending"]


def test_an_edit_refreshes_everything_whatever_was_skipped(server, chats, tokens):
    chat = chats.pending()
    runs.finish(start(chat), [assistant("one")])
    states.send_message(chat.pk, user_content(chat.owner_id, "two"))
    fence = start(chat)
    queue(chat)
    newest = chat.messages.latest("id")
    with server.follow(chat, tokens.alice, f"?after_id={newest.pk}") as client:
        assert kinds(client.take(2)) == ["running", "queue_update"]
        states.edit_message(chat.pk, newest.pk, user_content(chat.owner_id, "three"))
        events = client.take(5)
        assert kinds(events) == ["message", "message", "message", "queue_update", "pending"]
        assert texts(events) == ["hello", "one", "three"]
        assert "queued_messages" not in events[3]
        with pytest.raises(StateConflictError):
            runs.commit_step(fence, [assistant("late")])


def test_internal_fields_are_stripped_on_the_way_out(server, chats, tokens):
    chat = chats.pending()
    part: dict[str, Any] = {"type": "text", "text": "x", "provider_metadata": {"secret": 1}}
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        runs.finish(start(chat), [NewMessage(role=Role.ASSISTANT, content=[part])])
        (message,) = [e for e in client.until_status("waiting") if e["type"] == "message"]
    assert message["message"]["content"] == [{"type": "text", "text": "x"}]


def test_what_a_model_put_into_a_call_never_ends_the_stream(server, chats, tokens):
    chat = chats.pending()
    args = {"n": 10**30, "deep": json.loads("[" * 300 + "]" * 300)}
    part = {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": args}
    runs.finish(start(chat), [NewMessage(role=Role.ASSISTANT, content=[part])])
    with server.follow(chat, tokens.alice) as client:
        events = client.take(3)
    assert events[2]["message"]["content"][0]["args"] == args


# Frames


def test_many_messages_come_in_frames_of_at_most_256_events(server, chats, tokens):
    chat = chats.pending()
    runs.finish(start(chat), [assistant(str(index)) for index in range(600)])
    with server.follow(chat, tokens.alice) as client:
        events = client.take(602)
    assert texts(events)[1:] == [str(index) for index in range(600)]
    assert max(len(frame) for frame in client.frames) <= 256


def test_large_messages_are_spread_over_frames_below_the_clients_limit(server, chats, tokens):
    chat = chats.pending()
    sizes = [3 * 2**20, 10, 2**20, 2**20 - 300, 10, 3 * 2**20]
    words = ["é" * (size // 2) for size in sizes]
    with server.follow(chat, tokens.alice) as live:
        runs.finish(start(chat), [assistant(text) for text in words])
        assert texts(live.until_status("waiting")) == ["hello", *words]
    with server.follow(chat, tokens.alice) as client:
        assert texts(client.take(8)) == ["hello", *words]


def test_a_queue_of_twenty_large_messages_fits_one_frame(server, chats, tokens):
    chat, token = chats.running(), tokens.alice
    words = '"' * (75 * 1024)  # each takes two bytes
    with server.follow(chat, token) as client:
        client.take(2)
        for _ in range(20):
            sent = Api(token).post(f"/chats/{chat.pk}/messages", {"content": [text_part(words)]})
            assert sent.body["queued"] is True
        live = client.until(lambda event: len(event["queued_messages"]) == 20)[-1]
    with server.follow(chat, token) as late:
        (snapshot,) = late.take(3)[2:]
    assert snapshot == live
    assert len(json.dumps(snapshot)) > 3 * 10**6


def test_the_largest_message_can_wait_and_be_promoted_in_frames(server, chats, tokens):
    chat, token = chats.running(), tokens.alice
    raw = b'{"content":[{"type":"text","text":"%b"}]}' % (b"\\u0000" * (3 * 2**20 // 6 - 10))
    with server.follow(chat, token) as client:
        client.take(2)
        sent = Api(token).post(f"/chats/{chat.pk}/messages", raw=raw)
        assert client.next()["queued_messages"] == [sent.body["queued_message"]]
        Api(token).post(f"/chats/{chat.pk}/interrupt")
        (message,) = [e for e in client.until_status("pending") if e["type"] == "message"]
    assert message["message"]["content"] == sent.body["queued_message"]["content"]


def test_a_full_refresh_of_large_messages_comes_in_frames_too(server, chats, tokens):
    chat = chats.pending()
    words = ["x" * size for size in (2 * 2**20, 10, 2**20, 3 * 2**20)]
    runs.finish(start(chat), [assistant(text) for text in words])
    states.send_message(chat.pk, user_content(chat.owner_id))
    newest = chat.messages.latest("id")
    with server.follow(chat, tokens.alice, f"?after_id={newest.pk}") as client:
        client.take(1)
        states.edit_message(chat.pk, newest.pk, user_content(chat.owner_id, "anew"))
        events = client.until_status("pending")
    assert texts(events) == ["hello", *words, "anew"]


def test_a_full_refresh_comes_in_frames_too(server, chats, tokens):
    chat = chats.pending()
    runs.finish(start(chat), [assistant(str(index)) for index in range(300)])
    states.send_message(chat.pk, user_content(chat.owner_id))
    newest = chat.messages.latest("id")
    with server.follow(chat, tokens.alice, f"?after_id={newest.pk}") as client:
        client.take(1)
        states.edit_message(chat.pk, newest.pk, user_content(chat.owner_id, "anew"))
        events = client.until_status("pending")
    assert len(texts(events)) == 302
    assert texts(events)[-1] == "anew"


# Reconnecting


def test_reconnecting_with_the_newest_id_loses_and_doubles_nothing(server, chats, tokens):
    chat, token = chats.pending(), tokens.alice
    seen: list[int] = []
    for turn in range(4):
        with server.follow(chat, token, f"?after_id={seen[-1] if seen else 0}") as client:
            status = fresh(chat).status
            events = [client.next()]
            assert kinds(events) == [status]
            runs.finish(start(chat), [assistant(f"{turn} seen")])
            events += client.until_status("waiting")
            seen += [e["message"]["id"] for e in events if e["type"] == "message"]
            client.drop()
        states.send_message(chat.pk, user_content(chat.owner_id, f"{turn} missed"))
    page = Api(token).get(f"/chats/{chat.pk}/messages").body["messages"]
    assert len(seen) == len(set(seen))
    assert seen == sorted(message["id"] for message in page)[:-1]


def test_two_followers_see_the_same(server, chats, tokens):
    chat = chats.pending()
    with (
        server.follow(chat, tokens.alice) as one,
        server.follow(chat, tokens.root) as two,
    ):
        runs.finish(start(chat), [assistant()])
        first, second = (client.until_status("waiting") for client in (one, two))
    assert first == second


def test_events_of_another_chat_are_never_shown(server, chats, tokens):
    chat, other = chats.pending(), chats.pending()
    with server.follow(chat, tokens.alice) as client:
        runs.finish(start(other), [assistant("elsewhere")])
        runs.finish(start(chat), [assistant("here")])
        events = client.until_status("waiting")
    assert {event["chat_id"] for event in events} == {str(chat.pk)}


# The read cursor


def newest_answer(chat: Chat) -> int:
    return chat.messages.filter(role=Role.ASSISTANT).latest("id").pk


def test_the_owner_has_read_everything_on_connecting_and_on_leaving(server, chats, tokens):
    chat = chats.waiting()
    with server.follow(chat, tokens.alice) as client:
        client.take(3)
        assert fresh(chat).last_read_message_id == newest_answer(chat)
        states.send_message(chat.pk, user_content(chat.owner_id))
        runs.finish(start(chat), [assistant("second")])
        client.until_status("waiting")
        assert fresh(chat).last_read_message_id < newest_answer(chat)
    server.stop()
    assert fresh(chat).last_read_message_id == newest_answer(chat)


def test_the_owner_who_vanishes_has_read_everything_too(server, chats, tokens):
    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        runs.finish(start(chat), [assistant()])
        client.until_status("waiting")
        client.drop()
    server.stop()
    assert fresh(chat).last_read_message_id == newest_answer(chat)


def test_others_never_move_the_cursor(server, chats, tokens):
    chat = chats.waiting()
    for token in (tokens.admin, tokens.root):
        with server.follow(chat, token) as client:
            client.take(3)
    server.stop()
    assert fresh(chat).last_read_message_id is None


def test_without_an_answer_there_is_nothing_to_have_read(server, chats, tokens):
    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
    server.stop()
    assert fresh(chat).last_read_message_id is None


def test_a_cursor_that_cannot_be_moved_costs_nobody_the_stream(server, chats, tokens, monkeypatch):
    logged: list[str] = []

    def broken(*_: Any) -> None:
        raise InternalError("the database is read-only")

    monkeypatch.setattr("chatd.sockets.stream.mark_read", broken)
    quiet = type("Log", (), {"warning": lambda _, event, **__: logged.append(event)})()
    monkeypatch.setattr("chatd.sockets.stream.log", quiet)
    with server.follow(chats.waiting(), tokens.alice) as client:
        assert kinds(client.take(3)) == ["waiting", "message", "message"]
    server.stop()
    assert logged == ["read cursor not moved"] * 2


def test_reading_publishes_nothing_and_moves_no_version(server, chats, tokens):
    chat = chats.waiting()
    before = fresh(chat)
    with server.follow(chat, tokens.alice) as client:
        client.take(3)
    server.stop()
    after = fresh(chat)
    assert (after.snapshot_version, after.updated_at) == (
        before.snapshot_version,
        before.updated_at,
    )


def test_the_path_may_end_in_a_slash(server, chats, tokens):
    chat = chats.pending()
    with server.connect(f"{API}/chats/{str(chat.pk).upper()}/stream/", tokens.alice) as socket:
        assert json.loads(socket.recv(timeout=SECONDS))[0]["status"] == {"status": Status.PENDING}


def test_a_deleted_chat_ends_its_streams_normally(server, chats, tokens):
    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        notification = runs.acquire(chat.pk, chat.pk, lease_seconds=60)
        assert notification is not None
        client.take(1)
        fresh(chat).delete()
        write_parts(chat, Episode(99, 1), [delta("x")])
        assert client.closed() == (1000, "chat deleted")


def test_text_content_is_sent_as_it_was(server, chats, tokens):
    words = '"\\\n\u0000\ue000<&>\u2028\U0001f600'
    chat = chats.pending()
    runs.finish(start(chat), [NewMessage(role=Role.ASSISTANT, content=text(words))])
    with server.follow(chat, tokens.alice) as client:
        assert texts(client.take(3))[1] == words


@pytest.mark.parametrize(
    "error",
    [OperationalError("terminating connection"), InterfaceError("the connection is closed")],
)
def test_a_socket_that_meets_a_lost_database_is_closed_so_that_clients_come_back(
    server, chats, tokens, monkeypatch, error
):
    def broken(*_: Any) -> None:
        raise error

    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        monkeypatch.setattr("chatd.sockets.feed._read_messages", broken)
        runs.finish(start(chat), [assistant()])
        assert client.closed() == (1001, "connect again in a moment")


@pytest.mark.parametrize("failing", [["new_channel"], ["group_add", "group_discard"]])
def test_a_socket_is_refused_with_503_while_the_live_layer_is_away(
    server, chats, tokens, monkeypatch, failing
):
    async def broken(*_: Any) -> None:
        raise RedisConnectionError("Connection refused")

    layer = get_channel_layer()
    for name in failing:
        monkeypatch.setattr(type(layer), name, broken)
    with pytest.raises(InvalidStatus) as refused:
        server.follow(chats.waiting(), tokens.alice)
    answer = refused.value.response
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert json.loads(answer.body)["message"].startswith("The live layer is not available")
