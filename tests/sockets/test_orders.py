"""Five orders of events in which answers get lost, doubled or mixed, each made to happen."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from chatd.chats import runs, states
from chatd.chats.models import Chat
from chatd.chats.transition import StateConflictError
from chatd.core.threads import in_database_thread
from chatd.live.backend import live_backend
from chatd.live.local import LocalBackend
from chatd.live.messages import Episode, PartEntry, encode
from tests.api.client import Chats, assistant, fresh, start
from tests.sockets.conftest import Tokens
from tests.sockets.live import LiveServer, delta, kinds, said, texts, write_parts
from tests.support.people import user_content

RETRY = {
    "attempt": 1,
    "delay_ms": 1,
    "error": "It is overloaded.",
    "kind": "overloaded",
    "retrying_at": "2030-01-01T00:00:00Z",
}


def episode_of(chat: Chat) -> Episode:
    chat = fresh(chat)
    return Episode(chat.history_version, chat.attempt)


def entry(episode: Episode, seq: int, words: str) -> PartEntry:
    part = {"role": "assistant", "part": delta(words)}
    return PartEntry(episode=episode, seq=seq, parts=[msgspec.Raw(encode(part))])


def append(chat: Chat, *entries: PartEntry) -> None:
    async def write() -> None:
        for one in entries:
            await live_backend().append(chat.pk, one)

    asyncio.run(write())


@pytest.fixture
def before_the_log_is_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Have something happen once, after a socket has read the database and before the log."""

    def arrange(happen: Any) -> None:
        real, happened = LocalBackend.read, []

        async def read(backend: LocalBackend, chat_id: Any, episode: Episode) -> list[PartEntry]:
            if not happened:
                happened.append(True)
                await happen(backend)
            return await real(backend, chat_id, episode)

        monkeypatch.setattr(LocalBackend, "read", read)

    return arrange


def test_a_part_that_is_in_the_snapshot_and_comes_live_is_not_doubled(
    server: LiveServer, chats: Chats, tokens: Tokens, before_the_log_is_read: Any
) -> None:
    chat = chats.running()
    episode = episode_of(chat)
    append(chat, entry(episode, 1, "a"))

    async def write_on(backend: LocalBackend) -> None:
        await backend.append(chat.pk, entry(episode, 2, "b"))  # heard live, and found in the log

    before_the_log_is_read(write_on)
    with server.follow(chat, tokens.alice) as client:
        append(chat, entry(episode, 3, "c"))
        events = client.until(lambda event: said([event]) == "c")
    assert said(events) == "abc"


def test_parts_never_come_before_running(
    server: LiveServer, chats: Chats, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = chats.pending()
    late: list[Any] = []
    with server.follow(chat, tokens.alice) as client:
        assert kinds(client.take(2)) == ["pending", "message"]
        with monkeypatch.context() as held:

            def hold(_: LocalBackend, notices: Sequence[Any]) -> None:
                late.extend(notices)

            held.setattr(LocalBackend, "publish", hold)
            fence = start(chat)
        write_parts(chat, episode_of(chat), [delta("a")])
        assert kinds(client.take(2)) == ["running", "message_part"]
        live_backend().publish(late)
        runs.finish(fence, [assistant("a")])
        assert kinds(client.take(2)) == ["message", "waiting"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_buffer_that_is_cleared_before_a_subscriber_attached_costs_it_nothing(
    server: LiveServer, chats: Chats, tokens: Tokens, before_the_log_is_read: Any, ends: bool
) -> None:
    chat = chats.pending()
    fence = start(chat)
    append(chat, entry(episode_of(chat), 1, "whole"))

    async def store_and_clear(backend: LocalBackend) -> None:
        store = runs.finish if ends else runs.commit_step
        await in_database_thread(store, fence, [assistant("whole answer")])
        backend._logs.clear()

    before_the_log_is_read(store_and_clear)
    with server.follow(chat, tokens.alice) as client:
        events = client.until(lambda event: "whole answer" in texts([event]))
        assert texts(events) == ["hello", "whole answer"]
        assert said(events) == ""
        if ends:
            assert kinds([client.next()]) == ["waiting"]
        else:
            write_parts(chat, episode_of(chat), [delta("next step")])
            assert said([client.next()]) == "next step"


def test_a_late_write_after_an_edit_is_never_shown(
    server: LiveServer, chats: Chats, tokens: Tokens
) -> None:
    chat = chats.pending()
    fence = start(chat)
    old = episode_of(chat)
    first = chat.messages.filter(role="user").get()
    with server.follow(chat, tokens.alice) as client:
        append(chat, entry(old, 1, "old "))
        client.until(lambda event: said([event]) == "old ")
        states.edit_message(chat.pk, first.pk, user_content(chat.owner_id, "rather this"))
        append(chat, entry(old, 2, "late "))
        with pytest.raises(StateConflictError):
            runs.commit_step(fence, [assistant("old late")])
        anew = start(chat)
        append(chat, entry(old, 3, "later "))
        append(chat, entry(episode_of(chat), 1, "new"))
        with server.follow(chat, tokens.alice) as joined:
            assert said(joined.take(3)) == "new"
        runs.finish(anew, [assistant("new")])
        events = client.until_status("waiting")
    assert said(events) == "new"
    assert texts(events) == ["rather this", "new"]


def test_a_sequence_that_is_reused_after_a_retry_is_neither_dropped_nor_mixed(
    server: LiveServer, chats: Chats, tokens: Tokens
) -> None:
    chat = chats.pending()
    fence = start(chat)
    failed = episode_of(chat)
    with server.follow(chat, tokens.alice) as client:
        append(chat, entry(failed, 1, "void "), entry(failed, 2, "void "))
        client.until(lambda event: said([event]) == "void ")
        client.until(lambda event: said([event]) == "void ")
        runs.record_retry(fence, RETRY)
        again = episode_of(chat)
        append(chat, entry(again, 1, "good "), entry(failed, 3, "void "))
        append(chat, entry(again, 2, "answer"))
        events = client.until(lambda event: said([event]) == "answer")
        with server.follow(chat, tokens.alice) as joined:
            shown = joined.until(lambda event: event["type"] == "message")
    assert kinds(events) == ["retry", "message_part", "message_part"]
    assert said(events) == "good answer"
    assert said(shown) == "good answer"
