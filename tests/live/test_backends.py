"""One contract for both live backends, on a real Redis and inside the process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import redis
import redis.asyncio
from channels.layers import get_channel_layer

from chatd.live.backend import PART_LOG_SECONDS, RETIRED_SECONDS, PartLogUnavailableError
from chatd.live.local import LocalBackend
from chatd.live.messages import (
    AccessNotice,
    CancelRunner,
    ChatNotice,
    ConfigNotice,
    Episode,
    Notification,
    OwnerNotice,
    PartEntry,
    access_group,
    chat_group,
    decode_entry,
    decode_notification,
    encode,
    owner_group,
)
from chatd.live.redis import CHANNEL_PREFIX, RedisBackend, _stream_key
from chatd.live.writer import PartWriter

SECONDS = 60.0

Backend = LocalBackend | RedisBackend


@pytest.fixture
def redis_layer(redis_url: str, settings: Any) -> None:
    """The Channels layer that sockets listen on when Redis is configured."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url], "prefix": CHANNEL_PREFIX},
        }
    }


@pytest.fixture
def cancels() -> "asyncio.Queue[UUID]":
    return asyncio.Queue()


@pytest.fixture
async def redis_backend(
    redis_url: str, redis_layer: None, cancels: "asyncio.Queue[UUID]"
) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(redis_url)
    async with backend.listen_for_cancels(cancels.put_nowait):
        yield backend
    backend._sync.connection_pool.disconnect()
    await get_channel_layer().flush()


@pytest.fixture
async def local_backend(cancels: "asyncio.Queue[UUID]") -> AsyncIterator[LocalBackend]:
    backend = LocalBackend()
    loop = asyncio.get_running_loop()

    def hear(runner_id: UUID) -> None:
        loop.call_soon_threadsafe(cancels.put_nowait, runner_id)

    async with backend.listen_for_cancels(hear):
        yield backend
    await get_channel_layer().flush()


@pytest.fixture(params=["local", "redis"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(f"{request.param}_backend")
    return found


class Socket:
    """What a consumer does: a channel of its own in some groups."""

    def __init__(self) -> None:
        self.layer = get_channel_layer()
        self.channel = ""

    async def join(self, *groups: str) -> "Socket":
        self.channel = await self.layer.new_channel()
        for group in groups:
            await self.layer.group_add(group, self.channel)
        return self

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(SECONDS):
            message = await self.layer.receive(self.channel)
        return message["type"], message["payload"]


EPISODE = Episode(4, 1)


def entry(seq: int, *words: str, episode: Episode = EPISODE, **more: Any) -> PartEntry:
    raw = [
        msgspec.Raw(encode({"role": "assistant", "part": {"type": "text", "text": word}}))
        for word in words
    ]
    return PartEntry(episode=episode, seq=seq, parts=raw, **more)


def plain(entries: list[PartEntry]) -> list[tuple[Episode, int, list[str], bool]]:
    return [
        (e.episode, e.seq, [json.loads(bytes(raw))["part"]["text"] for raw in e.parts], e.folded)
        for e in entries
    ]


# doorbells


async def test_news_of_somebodys_access_reach_their_sockets_alone(backend: Backend) -> None:
    user_id = uuid4()
    sockets = [await Socket().join(owner_group(uuid4()), access_group(user_id)) for _ in range(2)]
    backend.publish([AccessNotice(uuid4()), AccessNotice(user_id)])
    for socket in sockets:
        assert await socket.next() == ("live.access", b"")


async def test_a_notification_reaches_everyone_who_follows_the_chat(backend: Backend) -> None:
    chat_id = uuid4()
    followers = [await Socket().join(chat_group(chat_id)) for _ in range(2)]
    other = await Socket().join(chat_group(uuid4()), chat_group(chat_id))
    sent = Notification(status="waiting", snapshot_version=7, queue_update=True)
    backend.publish([ChatNotice(uuid4(), Notification(status="error"))])
    backend.publish([ChatNotice(chat_id, sent)])
    for socket in [*followers, other]:
        kind, payload = await socket.next()
        assert kind == "live.notification"
        assert decode_notification(payload) == sent


async def test_doorbells_ring_in_order(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id))
    backend.publish([ChatNotice(chat_id, Notification(snapshot_version=n)) for n in range(1, 4)])
    backend.publish([ChatNotice(chat_id, Notification(snapshot_version=4))])
    versions = [decode_notification((await socket.next())[1]).snapshot_version for _ in range(4)]
    assert versions == [1, 2, 3, 4]


async def test_a_doorbell_can_be_rung_from_another_thread(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id))
    notice = ChatNotice(chat_id, Notification(status="running"))
    await asyncio.to_thread(backend.publish, [notice])
    assert (await socket.next())[0] == "live.notification"


async def test_a_socket_that_left_hears_no_more(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id), owner_group(chat_id))
    await socket.layer.group_discard(chat_group(chat_id), socket.channel)
    backend.publish(
        [
            ChatNotice(chat_id, Notification(status="waiting")),
            OwnerNotice(chat_id, b'{"kind":"created"}'),
        ]
    )
    assert await socket.next() == ("live.watch", b'{"kind":"created"}')


async def test_a_watch_event_reaches_the_owner_alone(backend: Backend) -> None:
    owner = uuid4()
    mine, other = await Socket().join(owner_group(owner)), uuid4()
    backend.publish([OwnerNotice(other, b'{"kind":"deleted"}'), OwnerNotice(owner, b'{"a":1}')])
    assert await mine.next() == ("live.watch", b'{"a":1}')


async def test_cancels_reach_the_listeners(
    backend: Backend, cancels: "asyncio.Queue[UUID]"
) -> None:
    runners = [uuid4(), uuid4()]
    await asyncio.to_thread(backend.publish, [CancelRunner(runner) for runner in runners])
    heard: list[UUID] = []
    async with asyncio.timeout(SECONDS):
        while len(heard) < 2:
            runner = await cancels.get()
            if runner in runners:  # other tests share the Redis
                heard.append(runner)
    assert heard == runners


async def test_a_listener_that_left_is_told_nothing(local_backend: LocalBackend) -> None:
    heard: list[UUID] = []
    async with local_backend.listen_for_cancels(heard.append):
        local_backend.publish([CancelRunner(UUID(int=1))])
    local_backend.publish([CancelRunner(UUID(int=2))])
    assert heard == [UUID(int=1)]


async def test_a_changed_configuration_is_no_news_for_sockets(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id))
    backend.publish([ConfigNotice("providers", uuid4()), ChatNotice(chat_id, Notification())])
    assert (await socket.next())[0] == "live.notification"


async def test_nothing_to_publish_is_no_error(backend: Backend) -> None:
    backend.publish([])


async def test_a_backend_that_is_there_answers(backend: Backend) -> None:
    backend.ping()


# the part log


async def test_entries_are_read_back_in_order_by_episode(backend: Backend) -> None:
    chat_id, other = uuid4(), Episode(4, 2)
    await backend.append(chat_id, entry(1, "a", "b"))
    await backend.append(chat_id, entry(2, "c"))
    await backend.append(chat_id, entry(1, "x", episode=other))
    expected = [(EPISODE, 1, ["a", "b"], False), (EPISODE, 2, ["c"], False)]
    assert plain(await backend.read(chat_id, EPISODE)) == expected
    assert plain(await asyncio.to_thread(backend.read_blocking, chat_id, EPISODE)) == expected
    assert plain(await backend.read(chat_id, other)) == [(other, 1, ["x"], False)]


async def test_an_episode_that_nobody_wrote_is_empty(backend: Backend) -> None:
    chat_id = uuid4()
    await backend.append(uuid4(), entry(1, "elsewhere"))
    assert await backend.read(chat_id, EPISODE) == []
    assert backend.read_blocking(chat_id, EPISODE) == []


async def test_an_appended_entry_is_also_sent_to_those_who_follow(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id))
    await backend.append(chat_id, entry(1, "a"))
    kind, payload = await socket.next()
    assert kind == "live.parts"
    assert plain([decode_entry(payload)]) == plain([entry(1, "a")])


async def test_a_folded_entry_stands_for_all_before_it(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id))
    for seq in (1, 2):
        await backend.append(chat_id, entry(seq, "a"))
        await socket.next()
    await backend.fold(chat_id, entry(2, "aa", folded=True))
    await backend.append(chat_id, entry(3, "b"))
    assert plain(await backend.read(chat_id, EPISODE)) == [
        (EPISODE, 2, ["aa"], True),
        (EPISODE, 3, ["b"], False),
    ]
    assert plain([decode_entry((await socket.next())[1])]) == plain([entry(3, "b")]), (
        "a fold is nothing that followers need to hear"
    )


async def test_a_log_that_was_lost_is_not_begun_in_the_middle(backend: Backend) -> None:
    chat_id = uuid4()
    socket = await Socket().join(chat_group(chat_id))
    assert await backend.append(chat_id, entry(1, "a"))
    await socket.next()
    lose(backend, chat_id)
    assert not await backend.append(chat_id, entry(2, "b"))
    assert plain([decode_entry((await socket.next())[1])]) == plain([entry(2, "b")])
    assert await backend.read(chat_id, EPISODE) == []
    assert await backend.fold(chat_id, entry(2, "ab", folded=True))
    assert await backend.append(chat_id, entry(3, "c"))
    assert plain(await backend.read(chat_id, EPISODE)) == [
        (EPISODE, 2, ["ab"], True),
        (EPISODE, 3, ["c"], False),
    ]


async def test_a_writer_whose_log_was_lost_writes_it_anew(backend: Backend) -> None:
    chat_id = uuid4()
    writer = PartWriter(backend, chat_id, EPISODE, window_seconds=0)
    for word in ("a", "b", "c"):
        writer.add("assistant", {"type": "text", "text": word})
        await writer.flush()
        if word == "a":
            lose(backend, chat_id)
    assert plain(await backend.read(chat_id, EPISODE)) == [
        (EPISODE, 2, ["ab"], True),
        (EPISODE, 3, ["c"], False),
    ]


def lose(backend: Backend, chat_id: UUID) -> None:
    """Have the log of a chat be gone, as after a restart of Redis."""
    if isinstance(backend, RedisBackend):
        assert backend._sync.delete(_stream_key(chat_id, EPISODE)) == 1
    else:
        backend._logs.clear()


async def test_what_was_read_does_not_change_when_more_is_appended(backend: Backend) -> None:
    chat_id = uuid4()
    await backend.append(chat_id, entry(1, "a"))
    found = backend.read_blocking(chat_id, EPISODE)
    await backend.append(chat_id, entry(2, "b"))
    assert len(found) == 1


async def test_a_retired_log_can_still_be_read_for_a_while(backend: Backend) -> None:
    chat_id = uuid4()
    await backend.append(chat_id, entry(1, "a"))
    await backend.retire(chat_id, EPISODE)
    await backend.retire(chat_id, Episode(9, 9))
    assert len(await backend.read(chat_id, EPISODE)) == 1


# how long the log is kept


def test_a_local_log_is_dropped_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    backend, chat_id, other = LocalBackend(), uuid4(), uuid4()
    asyncio.run(_append(backend, chat_id, 1))
    clock.now += PART_LOG_SECONDS - 1
    asyncio.run(_append(backend, chat_id, 2))
    clock.now += PART_LOG_SECONDS - 1
    asyncio.run(_append(backend, other, 1))
    assert len(backend.read_blocking(chat_id, EPISODE)) == 2, "it was written to meanwhile"
    clock.now += 2 + RETIRED_SECONDS
    asyncio.run(_append(backend, other, 2))
    assert backend.read_blocking(chat_id, EPISODE) == []
    assert len(backend.read_blocking(other, EPISODE)) == 2


def test_a_retired_local_log_is_dropped_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    backend, chat_id = LocalBackend(), uuid4()
    asyncio.run(_append(backend, chat_id, 1))
    asyncio.run(backend.retire(chat_id, EPISODE))
    clock.now += RETIRED_SECONDS + 1
    asyncio.run(_append(backend, uuid4(), 1))
    assert backend.read_blocking(chat_id, EPISODE) == []


class _Clock:
    """A monotonic clock of the local backend that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("chatd.live.local.time.monotonic", lambda: self.now)


async def _append(backend: LocalBackend, chat_id: UUID, seq: int) -> None:
    await backend.append(chat_id, entry(seq, "a"))


async def test_a_redis_log_expires_whichever_of_its_writes_came_through(
    redis_backend: RedisBackend,
) -> None:
    chat_id = uuid4()
    key = _stream_key(chat_id, EPISODE)
    await redis_backend.append(chat_id, entry(1, "a"))
    lives = redis_backend._sync.ttl(key)
    assert PART_LOG_SECONDS - 60 < lives <= PART_LOG_SECONDS
    await redis_backend.fold(chat_id, entry(2, "folded", folded=True))
    assert PART_LOG_SECONDS - 60 < redis_backend._sync.ttl(key) <= PART_LOG_SECONDS
    await redis_backend.retire(chat_id, EPISODE)
    assert 0 < redis_backend._sync.ttl(key) <= RETIRED_SECONDS


# the contract's channels on Redis


async def _published(
    backend: RedisBackend, url: str, channel: str, *notices: Any
) -> list[dict[str, Any]]:
    """Return what another program hears on a channel of the contract."""
    client = redis.asyncio.Redis.from_url(url)
    heard: list[dict[str, Any]] = []
    async with client, client.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        backend.publish(list(notices))
        async with asyncio.timeout(SECONDS), aclosing(pubsub.listen()) as messages:
            async for message in messages:
                if message["type"] == "message":
                    heard.append(json.loads(message["data"]))
                    if len(heard) == len(notices):
                        break
    return heard


async def test_other_programs_hear_notifications_as_json_with_the_contract_names(
    redis_backend: RedisBackend, redis_url: str
) -> None:
    chat_id, worker = uuid4(), uuid4()
    heard = await _published(
        redis_backend,
        redis_url,
        f"chat:stream:{chat_id}",
        ChatNotice(chat_id, Notification(status="running", worker_id=str(worker))),
        ChatNotice(chat_id, Notification(after_message_id=41, queue_update=True)),
        ChatNotice(chat_id, Notification(status="error", error="It broke.")),
        ChatNotice(chat_id, Notification(full_refresh=True, snapshot_version=3)),
    )
    assert heard == [
        {"status": "running", "worker_id": str(worker)},
        {"after_message_id": 41, "queue_update": True},
        {"status": "error", "error": "It broke."},
        {"full_refresh": True, "snapshot_version": 3},
    ]


async def test_other_programs_hear_watch_events_and_configuration_changes(
    redis_backend: RedisBackend, redis_url: str
) -> None:
    owner, entity = uuid4(), uuid4()
    assert await _published(
        redis_backend, redis_url, f"chat:owner:{owner}", OwnerNotice(owner, b'{"kind":"created"}')
    ) == [{"kind": "created"}]
    kind = f"model_config {entity}"
    heard = await _published(
        redis_backend, redis_url, "chat:config_change", ConfigNotice(kind, entity)
    )
    assert heard == [{"kind": kind, "entity_id": str(entity)}]


# Redis away


@pytest.fixture
def away(redis_layer: None) -> RedisBackend:
    """A backend whose Redis is not there."""
    return RedisBackend("redis://127.0.0.1:9/0")


async def test_with_redis_away_a_lost_doorbell_is_no_error(away: RedisBackend) -> None:
    notices = [
        ChatNotice(uuid4(), Notification(status="waiting")),
        OwnerNotice(uuid4(), b"{}"),
        CancelRunner(uuid4()),
    ]
    away.publish(notices)


async def test_with_redis_away_parts_are_lost_without_an_error(away: RedisBackend) -> None:
    chat_id = uuid4()
    await away.append(chat_id, entry(1, "a"))
    await away.fold(chat_id, entry(1, "a", folded=True))
    await away.retire(chat_id, EPISODE)
    assert await away.read(chat_id, EPISODE) == []


async def test_with_redis_away_an_interrupt_is_told_that_the_log_is_out_of_reach(
    away: RedisBackend,
) -> None:
    with pytest.raises(PartLogUnavailableError):
        away.read_blocking(uuid4(), EPISODE)


async def test_with_redis_away_the_health_check_fails(away: RedisBackend) -> None:
    with pytest.raises(redis.RedisError):
        away.ping()
