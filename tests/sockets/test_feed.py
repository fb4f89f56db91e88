"""The feed on its own: doorbells and part entries lost, doubled and out of order."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from chatd.chats import runs, states
from chatd.chats.models import Chat
from chatd.chats.partial import Partial, partial_from_log
from chatd.live.backend import live_backend
from chatd.live.local import LocalBackend
from chatd.live.messages import BlockEnd, ChatNotice, Episode, Notification, PartEntry, encode
from chatd.sockets.feed import ChatGoneError, StreamFeed
from tests.api.client import Chats, assistant, calls, fresh, queue, start
from tests.sockets.live import delta, kinds, said, texts
from tests.support.people import user_content

RETRY = {"attempt": 1, "delay_ms": 1, "error": "x", "retrying_at": "2030-01-01T00:00:00Z"}


@pytest.fixture
def rung(monkeypatch) -> list[Notification]:
    """The doorbells that were rung: nobody hears them but the test."""
    heard: list[Notification] = []

    def publish(_: LocalBackend, notices: Sequence[Any]) -> None:
        heard.extend(n.notification for n in notices if isinstance(n, ChatNotice))

    monkeypatch.setattr(LocalBackend, "publish", publish)
    return heard


class Feed:
    """A feed whose events are decoded."""

    def __init__(self, chat: Chat, after_id: int = 0) -> None:
        self.feed = StreamFeed(chat.pk, after_id, live_backend())

    def _all(self, batches: AsyncIterator[list[bytes]]) -> list[dict[str, Any]]:
        async def collect() -> list[bytes]:
            return [event async for batch in batches for event in batch]

        return [json.loads(raw) for raw in asyncio.run(collect())]

    def snapshot(self) -> list[dict[str, Any]]:
        return self._all(self.feed.snapshot())

    def ring(self, notification: Notification) -> list[dict[str, Any]]:
        return self._all(self.feed.on_notification(notification))

    def parts(self, entry: PartEntry) -> list[dict[str, Any]]:
        return self._all(self.feed.on_parts(entry))

    def catch_up(self) -> list[dict[str, Any]]:
        return self._all(self.feed.catch_up())


def follow(chat: Chat) -> Feed:
    """Return a feed that has shown its snapshot."""
    feed = Feed(chat)
    feed.snapshot()
    return feed


def entry(episode: Episode, seq: int, words: str, *, folded: bool = False) -> PartEntry:
    part = {"role": "assistant", "part": delta(words)}
    return PartEntry(episode=episode, seq=seq, parts=[msgspec.Raw(encode(part))], folded=folded)


def log(chat: Chat, *entries: PartEntry) -> None:
    """Put entries into the log; the doorbells of the parts reach nobody."""

    async def append() -> None:
        for one in entries:
            await live_backend().append(chat.pk, one)

    asyncio.run(append())


def episode_of(chat: Chat) -> Episode:
    chat = fresh(chat)
    return Episode(chat.history_version, chat.attempt)


# Notifications


def test_a_doorbell_one_step_ahead_is_applied_and_again_means_nothing(chats, rung):
    chat = chats.pending()
    feed = follow(chat)
    start(chat)
    assert kinds(feed.ring(rung[-1])) == ["running"]
    assert feed.ring(rung[-1]) == []
    assert feed.feed.version == fresh(chat).snapshot_version


def test_a_doorbell_that_was_overtaken_by_the_snapshot_means_nothing(chats, rung):
    chat = chats.waiting()
    feed = follow(chat)
    for notification in rung:
        assert feed.ring(notification) == []


def test_a_lost_doorbell_is_found_by_the_next_one(chats, rung):
    chat = chats.waiting()
    feed = follow(chat)
    states.send_message(chat.pk, user_content(chat.owner_id, "lost"))
    fence = start(chat)
    runs.commit_step(fence, [assistant("found")])
    events = feed.ring(rung[-1])
    assert texts(events) == ["lost", "found"]
    assert kinds(events) == ["message", "message", "running"]
    for notification in rung:
        assert feed.ring(notification) == []


def test_doorbells_in_the_wrong_order_show_everything_once(chats, rung):
    chat = chats.waiting()
    feed = follow(chat)
    states.send_message(chat.pk, user_content(chat.owner_id, "one"))
    queue_of = [queue(chat, "two"), queue(chat, "three")]
    first, second, third = rung[-3:]
    events = feed.ring(third)
    assert kinds(events) == ["message", "queue_update", "pending"]
    assert [entry["id"] for entry in events[1]["queued_messages"]] == [q.pk for q in queue_of]
    assert feed.ring(first) == feed.ring(second) == []


def test_catching_up_with_nothing_new_shows_nothing(chats, rung):
    feed = follow(chats.waiting())
    assert feed.catch_up() == []
    assert feed.catch_up() == []


def test_catching_up_shows_an_error_and_its_status(chats, rung):
    chat = chats.pending()
    feed = follow(chat)
    runs.fail(start(chat), {"message": "x", "retryable": False})
    events = feed.catch_up()
    assert [event["type"] for event in events] == ["error", "status"]
    assert events[0]["error"] == {"message": "x", "kind": "generic", "retryable": False}


def test_catching_up_shows_calls_that_wait_for_the_client(chats, rung):
    chat = chats.pending(dynamic_tools=[{"name": "lookup"}])
    feed = follow(chat)
    runs.require_action(start(chat), [calls("one")])
    events = feed.catch_up()
    assert kinds(events) == ["message", "requires_action", "action_required"]
    assert events[2]["action_required"]["tool_calls"][0]["args"] == '{"q":"one"}'


def test_catching_up_after_an_edit_shows_everything_anew(chats, rung):
    chat = chats.waiting()
    first = chat.messages.filter(role="user").get()
    feed = Feed(chat, after_id=chat.messages.latest("id").pk)
    assert kinds(feed.snapshot()) == ["waiting"]
    states.edit_message(chat.pk, first.pk, user_content(chat.owner_id, "anew"))
    events = feed.catch_up()
    assert texts(events) == ["anew"]
    assert kinds(events) == ["message", "queue_update", "pending"]


def test_catching_up_with_a_chat_that_is_gone_says_so(chats, rung):
    chat = chats.waiting()
    feed = follow(chat)
    chat.delete()
    with pytest.raises(ChatGoneError):
        feed.catch_up()
    with pytest.raises(ChatGoneError):
        Feed(chat).snapshot()


# Parts


def test_parts_are_shown_once_and_in_order(chats, rung):
    chat = chats.running()
    feed, episode = follow(chat), episode_of(chat)
    one, two = entry(episode, 1, "a"), entry(episode, 2, "b")
    log(chat, one, two)
    assert said(feed.parts(one)) == "a"
    assert feed.parts(one) == []
    assert said(feed.parts(two)) == "b"
    assert feed.parts(one) == feed.parts(two) == []


def test_parts_of_the_snapshot_are_not_shown_again(chats, rung):
    chat = chats.running()
    episode = episode_of(chat)
    one, two = entry(episode, 1, "a"), entry(episode, 2, "b")
    log(chat, one)
    feed = Feed(chat)
    assert said(feed.snapshot()) == "a"
    log(chat, two)
    assert feed.parts(one) == []
    assert said(feed.parts(two)) == "b"


def test_a_lost_entry_is_read_from_the_log(chats, rung):
    chat = chats.running()
    feed, episode = follow(chat), episode_of(chat)
    entries = [entry(episode, seq, words) for seq, words in enumerate("abcde", 1)]
    log(chat, *entries)
    assert said(feed.parts(entries[0])) == "a"
    assert said(feed.parts(entries[3])) == "bcde"
    assert [feed.parts(one) for one in entries] == [[]] * 5


def test_an_entry_without_parts_is_shown_to_nobody_and_counts(chats, rung):
    chat = chats.running()
    feed, episode = follow(chat), episode_of(chat)
    end = PartEntry(episode=episode, seq=2, parts=[], ends=[BlockEnd(0, {"secret": 1})])
    one, three = entry(episode, 1, "a"), entry(episode, 3, "b")
    log(chat, one, end, three)
    assert said(feed.parts(one)) == "a"
    assert feed.parts(end) == []
    assert said(feed.parts(three)) == "b"


def test_a_folded_entry_stands_for_all_before_it(chats, rung):
    chat = chats.running()
    episode = episode_of(chat)
    asyncio.run(live_backend().fold(chat.pk, entry(episode, 3, "abc", folded=True)))
    feed = Feed(chat)
    assert said(feed.snapshot()) == "abc"
    log(chat, entry(episode, 4, "d"))
    assert said(feed.parts(entry(episode, 4, "d"))) == "d"


def test_a_folded_entry_is_sent_whole_after_telling_the_client_to_drop_what_it_shows(chats, rung):
    chat = chats.running()
    feed, episode = follow(chat), episode_of(chat)
    assert said(feed.parts(entry(episode, 1, "a"))) == "a"
    asyncio.run(live_backend().fold(chat.pk, entry(episode, 3, "abc", folded=True)))
    log(chat, entry(episode, 4, "d"))
    events = feed.parts(entry(episode, 4, "d"))
    assert kinds(events)[0] == "retry"
    assert said(events) == "abcd"
    assert said(feed.parts(entry(episode, 5, "e"))) == "e"


def test_what_lies_behind_a_hole_is_shown_when_the_log_is_whole_again(chats, rung):
    chat = chats.running()
    feed, episode = Feed(chat), episode_of(chat)
    log(chat, entry(episode, 1, "a"), entry(episode, 3, "c"))
    assert said(feed.snapshot()) == "a"
    asyncio.run(live_backend().fold(chat.pk, entry(episode, 3, "abc", folded=True)))
    log(chat, entry(episode, 4, "d"))
    events = feed.parts(entry(episode, 4, "d"))
    assert kinds(events)[0] == "retry"
    assert said(events) == "abcd"


def test_parts_of_a_failed_turn_are_dropped_by_whoever_missed_that_it_failed(chats, rung):
    chat = chats.pending()
    fence = start(chat)
    feed = follow(chat)
    assert said(feed.parts(entry(episode_of(chat), 1, "half an answ"))) == "half an answ"
    runs.fail(fence, {"message": "no", "kind": "generic", "retryable": False})
    states.send_message(chat.pk, user_content(chat.owner_id, "again"))
    start(chat)
    assert kinds(feed.catch_up()) == ["retry", "message", "running"]


def test_parts_of_an_earlier_episode_are_dropped(chats, rung):
    chat = chats.pending()
    fence = start(chat)
    old = episode_of(chat)
    feed = follow(chat)
    runs.record_retry(fence, RETRY)
    feed.ring(rung[-1])
    assert feed.parts(entry(old, 1, "void")) == []
    new = episode_of(chat)
    assert said(feed.parts(entry(new, 1, "good"))) == "good"


def test_parts_of_a_newer_episode_mean_that_a_doorbell_was_lost(chats, rung):
    chat = chats.pending()
    feed = follow(chat)
    start(chat)
    one = entry(episode_of(chat), 1, "a")
    log(chat, one)
    events = feed.parts(one)
    assert kinds(events) == ["running", "message_part"]
    assert said(events) == "a"
    assert feed.ring(rung[-1]) == []


def test_parts_that_come_after_the_turn_are_dropped(chats, rung):
    chat = chats.pending()
    fence = start(chat)
    episode = episode_of(chat)
    feed = follow(chat)
    runs.finish(fence, [assistant()])
    feed.ring(rung[-1])
    assert feed.parts(entry(episode, 1, "late")) == []


def test_a_lost_retry_still_voids_the_parts(chats, rung):
    chat = chats.pending()
    fence = start(chat)
    feed = follow(chat)
    feed.parts(entry(episode_of(chat), 1, "void"))
    runs.record_retry(fence, RETRY)
    one = entry(episode_of(chat), 1, "good")
    log(chat, one)
    events = feed.parts(one)
    assert kinds(events) == ["retry", "running", "message_part"]
    assert events[0]["retry"] == RETRY


def test_a_lost_restart_still_voids_the_parts(chats, rung):
    chat = chats.pending()
    fence = start(chat)
    feed = follow(chat)
    feed.parts(entry(episode_of(chat), 1, "void"))
    assert runs.release(chat.pk, fence.runner_id)
    events = feed.catch_up()
    assert kinds(events) == ["retry", "pending"]
    assert set(events[0]["retry"]) == {"attempt", "delay_ms", "error", "kind", "retrying_at"}
    assert events[0]["retry"]["attempt"] >= 1
    start(chat)
    assert kinds(feed.catch_up()) == ["running"]


def test_a_retry_of_a_step_that_was_stored_meanwhile_is_over(chats, rung):
    chat = chats.pending()
    fence = start(chat)
    feed = follow(chat)
    runs.record_retry(fence, RETRY)
    runs.commit_step(fence, [assistant()])
    assert kinds(feed.catch_up()) == ["message", "running"]


# Whatever is lost, the client ends with what a new one would be shown


class Client:
    """What a client knows: it upserts messages by id and drops parts as the contract says."""

    def __init__(self) -> None:
        self.status = ""
        self.messages: dict[int, Any] = {}
        self.queue: list[Any] = []
        self.parts = ""

    def start(self, snapshot: list[dict[str, Any]]) -> None:
        """Take a snapshot, in which the parts of the running step precede older messages."""
        self.take(snapshot)
        self.parts = said(snapshot)

    def take(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            match event["type"]:
                case "status":
                    self.status = event["status"]["status"]
                case "message":
                    self.messages[event["message"]["id"]] = event["message"]
                    if event["message"]["role"] == "assistant":
                        self.parts = ""
                case "queue_update":
                    self.queue = event.get("queued_messages", [])
                case "retry":
                    self.parts = ""
                case "message_part":
                    self.parts += event["message_part"]["part"]["text"]

    def state(self) -> tuple[Any, ...]:
        return self.status, self.messages, self.queue, self.parts


def streamed(chat: Chat, episode: Episode) -> Partial:
    """Return what the log has of an episode, as an interrupt reads it."""
    return partial_from_log(episode, live_backend().read_blocking(chat.pk, episode))


def drive(chat: Chat, rung: list[Notification], chance: random.Random):
    """Make a random transition of the chat; yield what the live layer says about it."""
    heard = len(rung)
    current = fresh(chat)
    match current.status:
        case "pending":
            start(chat)
        case "running":
            fence = runs.Fence(
                chat_id=chat.pk,
                runner_id=current.runner_id,
                history_version=current.history_version,
            )
            episode = episode_of(chat)
            known = len(live_backend().read_blocking(chat.pk, episode))
            numbers = range(known + 1, known + chance.randrange(1, 6))
            entries = [entry(episode, seq, f"{seq} ") for seq in numbers]
            log(chat, *entries)
            yield from entries
            step = chance.randrange(6)
            if step == 0:
                runs.commit_step(fence, [assistant("step")])
            elif step == 1:
                runs.record_retry(fence, RETRY)
            elif step == 2:
                queue(chat, "queued")
            elif step == 3:
                states.interrupt(chat.pk, partial=streamed(chat, episode))
            elif step == 4:
                runs.release(chat.pk, current.runner_id)
            else:
                runs.finish(fence, [assistant("done")])
        case _:
            states.send_message(chat.pk, user_content(chat.owner_id, "more"))
    yield from rung[heard:]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_lost_a_client_ends_where_a_new_one_starts(chats: Chats, rung, seed):
    chance = random.Random(seed)
    chat = chats.pending()
    client, feed = Client(), Feed(chat)
    client.start(feed.snapshot())
    late: list[Any] = []
    for _ in range(25):
        for item in [*drive(chat, rung, chance), *late]:
            fate = chance.random()
            late = []
            if fate < 0.25:
                continue
            if fate < 0.4:
                late.append(item)
                continue
            for _ in range(1 + (fate > 0.9)):
                shown = feed.parts(item) if isinstance(item, PartEntry) else feed.ring(item)
                client.take(shown)
    client.take(feed.catch_up())
    new = Client()
    new.start(Feed(chat).snapshot())
    assert client.state() == new.state()
