"""Two things at once: who is second decides on what the first has left, and nothing is lost."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from chatd.accounts.actor import Actor
from chatd.chats import actions, moves, runs, states
from chatd.chats.content import InputPart
from chatd.chats.law import Event
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.moves import EpisodeMovedError
from chatd.chats.partial import Partial, partial_from_log
from chatd.chats.parts import ToolResultPart
from chatd.chats.properties import ChatChanges, update_chat
from chatd.chats.selectors import open_client_calls, visible_messages
from chatd.chats.transition import StateConflictError, transition
from chatd.core.errors import ChatdError, ErrorCode
from chatd.live.backend import PartLogUnavailableError
from chatd.live.messages import Episode, PartEntry, encode
from tests.chats.interleaving import Overlap, once_before
from tests.chats.invariants import check_chat, dump
from tests.chats.recorder import Recorder, run_now
from tests.chats.situations import CLIENT_TOOL, answer, call_part, fence_of
from tests.conftest import Cast
from tests.support.people import user_content

NewChat = Callable[..., Chat]

two_connections = pytest.mark.django_db(transaction=True)
one_connection = pytest.mark.django_db


def running(chat: Chat) -> Chat:
    """Have a runner take the chat."""
    held = runs.acquire(chat.pk, uuid4(), lease_seconds=30)
    assert held is not None
    return held


def idle(chat: Chat) -> Chat:
    runs.finish(fence_of(running(chat)), [answer()])
    return Chat.objects.get(pk=chat.pk)


def stream(recorder: Recorder, chat: Chat, words: str) -> None:
    """Put words of the running step into the part log."""
    episode = Episode(chat.history_version, chat.attempt)
    part = msgspec.Raw(encode({"role": "assistant", "part": {"type": "text", "text": words}}))
    seq = len(recorder.read_blocking(chat.pk, episode)) + 1
    run_now(recorder.append(chat.pk, PartEntry(episode=episode, seq=seq, parts=[part])))


def texts(chat: Chat) -> list[str]:
    return [
        part["text"]
        for message in visible_messages(chat.pk).order_by("id")
        for part in message.content
        if part["type"] == "text"
    ]


def refreshed(chat: Chat) -> Chat:
    chat = Chat.objects.get(pk=chat.pk)
    check_chat(dump(chat.pk))
    return chat


# two transactions at once


@two_connections
def test_of_two_sends_to_an_idle_chat_the_second_is_queued(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = idle(new_chat())
    first, second = Overlap(monkeypatch).run(
        lambda: states.send_message(chat.pk, user_content(chat.owner_id, "one")),
        lambda: states.send_message(chat.pk, user_content(chat.owner_id, "two")),
    )
    assert first.message is not None
    assert second.queued is not None
    assert second.queued.content == user_content(chat.owner_id, "two").content
    assert refreshed(chat).status == Status.PENDING
    assert texts(chat)[-1] == "one"


@two_connections
def test_the_last_free_place_of_the_queue_is_given_once(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = new_chat()
    for _ in range(moves.MAX_QUEUED - 1):
        states.send_message(chat.pk, user_content(chat.owner_id))
    first, second = Overlap(monkeypatch).run(
        lambda: states.send_message(chat.pk, user_content(chat.owner_id)),
        lambda: states.send_message(chat.pk, user_content(chat.owner_id)),
    )
    assert first.queued is not None
    assert isinstance(second, ChatdError)
    assert second.code is ErrorCode.TOO_MANY
    assert chat.queued_messages.count() == moves.MAX_QUEUED


@two_connections
def test_a_send_that_comes_while_a_turn_ends_starts_the_next_one(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    first, second = Overlap(monkeypatch).run(
        lambda: runs.finish(fence_of(chat), [answer(words="done")]),
        lambda: states.send_message(chat.pk, user_content(chat.owner_id, "next")),
    )
    assert first.status == Status.WAITING
    assert second.message is not None
    assert refreshed(chat).status == Status.PENDING
    assert texts(chat) == ["hello", "done", "next"]


@two_connections
def test_a_turn_that_ends_while_a_send_comes_promotes_what_was_sent(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    first, second = Overlap(monkeypatch).run(
        lambda: states.send_message(chat.pk, user_content(chat.owner_id, "next")),
        lambda: runs.finish(fence_of(chat), [answer(words="done")]),
    )
    assert first.queued is not None
    assert second.status == Status.PENDING
    assert refreshed(chat).queued_messages.count() == 0
    assert texts(chat) == ["hello", "done", "next"]


@two_connections
def test_a_step_that_comes_after_an_edit_is_refused(
    new_chat: NewChat, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    asked = visible_messages(chat.pk).get()
    first, second = Overlap(monkeypatch).run(
        lambda: states.edit_message(chat.pk, asked.pk, user_content(chat.owner_id, "other")),
        lambda: runs.commit_step(fence_of(chat), [answer(words="too late")]),
    )
    assert first[1].content == user_content(chat.owner_id, "other").content
    assert isinstance(second, StateConflictError)
    assert refreshed(chat).status == Status.PENDING
    assert texts(chat) == ["other"]
    assert recorder.cancelled == [chat.runner_id]


@two_connections
def test_an_edit_that_comes_after_a_step_cuts_the_step_too(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    asked = visible_messages(chat.pk).get()
    first, second = Overlap(monkeypatch).run(
        lambda: runs.commit_step(fence_of(chat), [answer(words="a step")]),
        lambda: states.edit_message(chat.pk, asked.pk, user_content(chat.owner_id, "other")),
    )
    assert first.status == Status.RUNNING
    assert not isinstance(second, Exception)
    assert texts(chat) == ["other"]
    assert refreshed(chat).status == Status.PENDING


@two_connections
def test_of_two_edits_of_one_message_the_second_finds_it_gone(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = idle(new_chat())
    asked = visible_messages(chat.pk).earliest("id")
    _, second = Overlap(monkeypatch).run(
        lambda: states.edit_message(chat.pk, asked.pk, user_content(chat.owner_id, "a")),
        lambda: states.edit_message(chat.pk, asked.pk, user_content(chat.owner_id, "b")),
    )
    assert isinstance(second, ChatdError)
    assert second.code is ErrorCode.NOT_FOUND
    assert texts(chat) == ["a"]


@two_connections
def test_a_step_that_comes_after_an_interrupt_is_refused(
    new_chat: NewChat, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    stream(recorder, chat, "half an")
    episode = Episode(chat.history_version, chat.attempt)
    partial = partial_from_log(episode, recorder.read_blocking(chat.pk, episode))
    first, second = Overlap(monkeypatch).run(
        lambda: states.interrupt(chat.pk, partial=partial),
        lambda: runs.commit_step(fence_of(chat), [answer(words="half an answer")]),
    )
    assert first.status == Status.WAITING
    assert isinstance(second, StateConflictError)
    assert texts(chat) == ["hello", "half an"]
    assert recorder.cancelled == [chat.runner_id]


@two_connections
def test_an_interrupt_that_comes_after_a_step_asks_for_the_new_episode(
    new_chat: NewChat, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    stream(recorder, chat, "an answer")
    episode = Episode(chat.history_version, chat.attempt)
    partial = partial_from_log(episode, recorder.read_blocking(chat.pk, episode))
    first, second = Overlap(monkeypatch).run(
        lambda: runs.commit_step(fence_of(chat), [answer(words="an answer")]),
        lambda: states.interrupt(chat.pk, partial=partial),
    )
    assert isinstance(second, EpisodeMovedError)
    assert texts(chat) == ["hello", "an answer"], "nothing is stored twice"
    assert (refreshed(chat).status, first.status) == (Status.RUNNING, Status.RUNNING)


@two_connections
def test_of_two_runners_exactly_one_takes_a_chat(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = new_chat()
    one, two = uuid4(), uuid4()
    first, second = Overlap(monkeypatch).run(
        lambda: runs.acquire(chat.pk, one, lease_seconds=30),
        lambda: runs.acquire(chat.pk, two, lease_seconds=30),
    )
    assert first.runner_id == one
    assert second is None
    assert (refreshed(chat).runner_id, refreshed(chat).attempt) == (one, 1)


@two_connections
def test_of_two_submissions_exactly_one_counts(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat(dynamic_tools=[CLIENT_TOOL]))
    call = call_part()
    runs.require_action(fence_of(chat), [answer(call)])

    def submit(output: str) -> Callable[[], Any]:
        results = [ToolResultPart(tool_call_id=call["tool_call_id"], result=output)]
        return lambda: states.submit_tool_results(chat.pk, results, submitted_by=chat.owner_id)

    first, second = Overlap(monkeypatch).run(submit("first"), submit("second"))
    assert first.status == Status.PENDING
    assert isinstance(second, StateConflictError)
    assert second.status == Status.PENDING
    assert open_client_calls(refreshed(chat)) == []
    [stored] = ChatMessage.objects.filter(chat=chat, role=Role.TOOL)
    assert stored.content[0]["result"] == "first"


@two_connections
def test_a_submission_that_comes_after_an_interrupt_is_refused(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat(dynamic_tools=[CLIENT_TOOL]))
    call = call_part()
    runs.require_action(fence_of(chat), [answer(call)])
    results = [ToolResultPart(tool_call_id=call["tool_call_id"], result=1)]
    _, second = Overlap(monkeypatch).run(
        lambda: states.interrupt(chat.pk),
        lambda: states.submit_tool_results(chat.pk, results, submitted_by=chat.owner_id),
    )
    assert isinstance(second, StateConflictError)
    [stored] = ChatMessage.objects.filter(chat=chat, role=Role.TOOL)
    assert stored.content[0]["result"] == states.INTERRUPTED_BY_USER
    assert stored.content[0]["is_error"] is True


@two_connections
def test_a_lease_that_was_renewed_first_is_not_recovered(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = runs.acquire(new_chat().pk, uuid4(), lease_seconds=-1)
    assert chat is not None
    assert chat.runner_id is not None
    held = runs.renew_leases([chat.runner_id], lease_seconds=30)
    assert held == {chat.runner_id}
    assert runs.recover(chat.pk) is False


@two_connections
def test_of_two_recoveries_exactly_one_counts(
    new_chat: NewChat, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = runs.acquire(new_chat().pk, uuid4(), lease_seconds=-1)
    assert chat is not None
    recorder.clear()
    outcomes = Overlap(monkeypatch).run(
        lambda: runs.recover(chat.pk), lambda: runs.recover(chat.pk)
    )
    assert outcomes == (True, False)
    assert recorder.woken == [chat.pk]
    assert runs.renew_leases([chat.runner_id], lease_seconds=30) == set()


@two_connections
def test_a_message_that_comes_while_the_chat_is_archived_is_refused(
    new_chat: NewChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = idle(new_chat())
    first, second = Overlap(monkeypatch).run(
        lambda: states.archive_chat(chat.pk),
        lambda: states.send_message(chat.pk, user_content(chat.owner_id)),
    )
    assert [done.pk for done in first] == [chat.pk]
    assert isinstance(second, StateConflictError)
    assert second.archived
    assert texts(chat) == ["hello", "an answer"]


@one_connection
def test_a_transition_whose_row_moved_without_a_lock_is_rolled_back(new_chat: NewChat) -> None:
    """The compare-and-set is the second line of defence, for databases without row locks."""
    chat = idle(new_chat())
    before = dump(chat.pk)
    with pytest.raises(StateConflictError, match="another transition was first"):
        _send_while_the_version_moves(chat)
    assert dump(chat.pk) == before


def _send_while_the_version_moves(chat: Chat) -> None:
    with transition(chat.pk, Event.SEND) as t:
        Chat.objects.filter(pk=chat.pk).update(snapshot_version=t.version)
        t.set_status(Status.PENDING)


# between reading the part log and the transaction


@pytest.fixture
def alice(cast: Cast) -> Actor:
    return Actor(cast.alice)


@one_connection
def test_an_interrupt_whose_episode_moved_reads_the_log_again(
    new_chat: NewChat, recorder: Recorder, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    stream(recorder, chat, "first step")

    def step_ends_and_the_next_begins() -> None:
        runs.commit_step(fence_of(chat), [answer(words="first step")])
        stream(recorder, Chat.objects.get(pk=chat.pk), "second st")

    with once_before(monkeypatch, states, "interrupt", step_ends_and_the_next_begins) as tries:
        stopped = actions.interrupt_chat(alice, chat.pk)
    assert len(tries) == 2
    assert stopped.status == Status.WAITING
    assert texts(chat) == ["hello", "first step", "second st"]
    assert refreshed(chat).runner_id is None


@one_connection
def test_an_interrupt_of_a_turn_that_keeps_moving_stops_it_without_the_partial_answer(
    new_chat: NewChat, recorder: Recorder, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    real, moves = states.interrupt, []

    def interrupt_after_another_step(*args: Any, **kwargs: Any) -> Chat:
        moves.append(1)
        current = Chat.objects.get(pk=chat.pk)
        runs.commit_step(fence_of(current), [answer(words=f"step {len(moves)}")])
        stream(recorder, Chat.objects.get(pk=chat.pk), "more")
        return real(*args, **kwargs)

    monkeypatch.setattr(states, "interrupt", interrupt_after_another_step)
    assert actions.interrupt_chat(alice, chat.pk).status == Status.WAITING
    assert texts(chat) == ["hello", "step 1", "step 2", "step 3", "step 4"]


@one_connection
def test_a_turn_that_keeps_moving_is_archived_all_the_same(
    new_chat: NewChat, recorder: Recorder, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    real = states.archive_chat

    def archive_after_another_step(*args: Any, **kwargs: Any) -> list[Chat]:
        runs.commit_step(fence_of(Chat.objects.get(pk=chat.pk)), [answer()])
        return real(*args, **kwargs)

    monkeypatch.setattr(states, "archive_chat", archive_after_another_step)
    update_chat(alice, chat.pk, lambda: ChatChanges(archived=True))
    assert refreshed(chat).archived


@one_connection
def test_an_interrupt_of_a_chat_that_began_to_run_meanwhile_stops_it(
    new_chat: NewChat, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = idle(new_chat())

    def it_starts_to_run() -> None:
        states.send_message(chat.pk, user_content(chat.owner_id, "again"))
        running(chat)

    with once_before(monkeypatch, states, "interrupt", it_starts_to_run) as tries:
        stopped = actions.interrupt_chat(alice, chat.pk)
    assert len(tries) == 2
    assert stopped.status == Status.WAITING


@one_connection
def test_a_promotion_that_lost_to_an_archive_says_so_even_on_its_last_try(
    new_chat: NewChat, recorder: Recorder, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    queued = states.send_message(chat.pk, user_content(chat.owner_id, "queued")).queued
    assert queued is not None
    real, tries = states.promote_queued, []

    def promote_after_a_change(*args: Any, **kwargs: Any) -> Chat:
        tries.append(1)
        if len(tries) <= 3:
            runs.commit_step(fence_of(Chat.objects.get(pk=chat.pk)), [answer()])
        else:
            states.archive_chat(chat.pk, partials={chat.pk: Partial(None)})
        return real(*args, **kwargs)

    monkeypatch.setattr(states, "promote_queued", promote_after_a_change)
    with pytest.raises(ChatdError) as refusal:
        actions.promote_queued(alice, chat.pk, lambda: queued.pk)
    assert refusal.value.message == "Cannot promote queued messages in an archived chat."
    assert len(tries) == 4
    assert chat.queued_messages.count() == 1


@one_connection
def test_an_interrupt_with_the_part_log_out_of_reach_stops_without_the_partial_answer(
    new_chat: NewChat, recorder: Recorder, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = running(new_chat())
    stream(recorder, chat, "lost words")

    def away(*args: Any) -> Any:
        raise PartLogUnavailableError

    monkeypatch.setattr(recorder, "read_blocking", away)
    assert actions.interrupt_chat(alice, chat.pk).status == Status.WAITING
    assert texts(chat) == ["hello"]


@one_connection
def test_a_send_that_interrupts_keeps_the_partial_answer_before_the_new_message(
    new_chat: NewChat, recorder: Recorder, alice: Actor
) -> None:
    chat = running(new_chat())
    stream(recorder, chat, "half")
    request = actions.NewMessageRequest(
        content=[InputPart(type="text", text="stop, instead")], busy_behavior="interrupt"
    )
    sent = actions.send_message(alice, chat.pk, lambda: request)
    assert sent.queued is not None
    assert texts(chat) == ["hello", "half", "stop, instead"]
    assert refreshed(chat).status == Status.PENDING


@one_connection
def test_a_full_queue_of_an_idle_chat_is_drained_by_the_next_message(new_chat: NewChat) -> None:
    chat = running(new_chat())
    for number in range(moves.MAX_QUEUED):
        states.send_message(chat.pk, user_content(chat.owner_id, f"queued {number}"))
    runs.fail(fence_of(chat), {"message": "broken"})
    sent = states.send_message(chat.pk, user_content(chat.owner_id, "one more"))
    assert sent.queued is not None
    assert refreshed(chat).status == Status.PENDING
    assert texts(chat)[-1] == "queued 0"
    assert list(chat.queued_messages.all())[-1].pk == sent.queued.pk


@one_connection
def test_a_stored_step_ends_the_back_off_before_it(new_chat: NewChat) -> None:
    chat = running(new_chat())
    runs.record_retry(fence_of(chat), {"attempt": 1, "error": "busy"})
    assert refreshed(chat).retry == {"attempt": 1, "error": "busy"}
    runs.commit_step(fence_of(chat), [answer()])
    assert refreshed(chat).retry is None
