"""The live layer on Redis.

Notifications are published under the contract's channel names, for other programs, and to the
Channels group of the chat, for sockets. The part log is one Redis Stream per episode. An append
is one round trip, or a part of one: the entry, its expiry and the ring of the group.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import redis
import redis.asyncio
import structlog
from channels.layers import get_channel_layer
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from chatd.live.backend import PART_LOG_SECONDS, RETIRED_SECONDS, PartLogUnavailableError
from chatd.live.messages import (
    CHAT_STREAM_CHANNEL,
    CONFIG_CHANNEL,
    CONTROL_CHANNEL,
    OWNER_CHANNEL,
    AccessNotice,
    CancelRunner,
    ChatNotice,
    ConfigNotice,
    Episode,
    Notice,
    OwnerNotice,
    PartEntry,
    access_group,
    chat_group,
    decode_entry,
    encode,
    owner_group,
)
from chatd.live.outbox import Outbox
from config.env import env

log = structlog.get_logger(__name__)

_FIELD = b"e"
_CONNECTIONS = 32
_TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 30,
}


def _stream_key(chat_id: UUID, episode: Episode) -> str:
    return f"chat:parts:{chat_id}:{episode.key}"


class RedisBackend:
    """Doorbells and the part log across processes.

    The clients wait for a free connection instead of failing when all are in use, because a
    loop with hundreds of turns easily needs more at once than a pool holds.
    """

    def __init__(self, url: str = "") -> None:
        self._url = url or env.redis_url
        self._sync = redis.Redis(
            connection_pool=redis.BlockingConnectionPool.from_url(
                self._url, max_connections=_CONNECTIONS, timeout=10, **_TIMEOUTS
            )
        )
        self._by_loop: dict[asyncio.AbstractEventLoop, redis.asyncio.Redis] = {}
        self._outboxes: dict[asyncio.AbstractEventLoop, Outbox] = {}

    # doorbells

    def publish(self, notices: Sequence[Notice]) -> None:
        pipeline = self._sync.pipeline(transaction=False)
        for notice in notices:
            self._queue_notice(pipeline, notice)
        try:
            pipeline.execute()
        except RedisError as error:
            log.warning("doorbell lost", error=str(error), notices=len(notices))

    def _queue_notice(self, pipeline: Any, notice: Notice) -> None:
        match notice:
            case ChatNotice(chat_id, notification):
                payload = encode(notification)
                pipeline.publish(CHAT_STREAM_CHANNEL.format(chat_id=chat_id), payload)
                pipeline.publish(*_rung(chat_group(chat_id), "live.notification", payload))
            case OwnerNotice(user_id, payload):
                pipeline.publish(OWNER_CHANNEL.format(user_id=user_id), payload)
                pipeline.publish(*_rung(owner_group(user_id), "live.watch", payload))
            case CancelRunner(runner_id):
                pipeline.publish(CONTROL_CHANNEL, str(runner_id))
            case AccessNotice(user_id):
                pipeline.publish(*_rung(access_group(user_id), "live.access", b""))
            case ConfigNotice(kind, entity_id):
                body = encode({"kind": kind, "entity_id": str(entity_id)})
                pipeline.publish(CONFIG_CHANNEL, body)

    # part log

    async def append(self, chat_id: UUID, entry: PartEntry) -> bool:
        payload, key = encode(entry), _stream_key(chat_id, entry.episode)
        # a log that Redis lost is not begun in the middle: what is read has no hole
        unless_lost = ("NOMKSTREAM",) if entry.seq > 1 else ()
        answers = await self._outbox().send(
            (
                ("XADD", key, *unless_lost, "*", _FIELD, payload),
                # each time: any append may be the one that counts
                ("EXPIRE", key, PART_LOG_SECONDS),
                ("PUBLISH", *_rung(chat_group(chat_id), "live.parts", payload)),
            )
        )
        return answers is not None and answers[0] is not None

    async def fold(self, chat_id: UUID, entry: PartEntry) -> bool:
        key = _stream_key(chat_id, entry.episode)
        pipeline = self._client().pipeline(transaction=True)
        pipeline.delete(key)
        pipeline.xadd(key, {_FIELD: encode(entry)})
        pipeline.expire(key, PART_LOG_SECONDS)
        try:
            await pipeline.execute()
        except RedisError as error:
            log.warning("part log not folded", error=str(error))
            return False
        return True

    async def read(self, chat_id: UUID, episode: Episode) -> list[PartEntry]:
        try:
            rows = await self._client().xrange(_stream_key(chat_id, episode))
        except RedisError as error:
            log.warning("part log not read", error=str(error))
            return []
        return _entries(rows)

    def read_blocking(self, chat_id: UUID, episode: Episode) -> list[PartEntry]:
        try:
            rows = self._sync.xrange(_stream_key(chat_id, episode))
        except RedisError as error:
            raise PartLogUnavailableError(str(error)) from error
        return _entries(rows)

    async def retire(self, chat_id: UUID, episode: Episode) -> None:
        await self._outbox().send((("EXPIRE", _stream_key(chat_id, episode), RETIRED_SECONDS),))

    # control

    @asynccontextmanager
    async def listen_for_cancels(self, on_cancel: Callable[[UUID], None]) -> AsyncIterator[None]:
        ready = asyncio.Event()
        task = asyncio.create_task(self._listen(on_cancel, ready))
        try:
            await ready.wait()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            loop = asyncio.get_running_loop()
            outbox = self._outboxes.pop(loop, None)
            if outbox is not None:
                await outbox.aclose()
            client = self._by_loop.pop(loop, None)
            if client is not None:
                await client.aclose()
                await client.connection_pool.disconnect()

    async def _listen(self, on_cancel: Callable[[UUID], None], ready: asyncio.Event) -> None:
        """Follow the control channel; after a lost connection, subscribe again."""
        is_lost = False
        while True:
            try:
                async with self._client().pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(CONTROL_CHANNEL)
                    if is_lost:
                        log.info("control channel is back")
                    is_lost = False
                    ready.set()
                    while True:
                        message = await pubsub.get_message(timeout=30)
                        if message is not None:
                            _pass_on(message["data"], on_cancel)
            except (RedisError, OSError) as error:
                if not is_lost:
                    log.warning("control channel lost", error=str(error))
                is_lost = True
                ready.set()  # lost leases are also found when they are renewed
                await asyncio.sleep(1)

    def ping(self) -> None:
        self._sync.ping()

    def _client(self) -> redis.asyncio.Redis:
        """Return the client of the running loop; connections cannot move between loops."""
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                self._url, max_connections=_CONNECTIONS, timeout=10, **_patient()
            )
            client = self._by_loop[loop] = redis.asyncio.Redis(connection_pool=pool)
        return client

    def _outbox(self) -> Outbox:
        """Return the outbox of the running loop; it needs no more than one connection."""
        loop = asyncio.get_running_loop()
        outbox = self._outboxes.get(loop)
        if outbox is None:
            pool = redis.asyncio.ConnectionPool.from_url(self._url, **_patient())
            outbox = self._outboxes[loop] = Outbox(redis.asyncio.Redis(connection_pool=pool))
        return outbox


def _patient() -> dict[str, Any]:
    """Return the options of the clients of loops.

    Unlike the blocking client, they do not by themselves replace connections that a restarted
    server has closed.
    """
    return {
        **_TIMEOUTS,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), 5),
        "retry_on_error": [redis.ConnectionError],
    }


def _rung(group: str, kind: str, payload: bytes) -> tuple[str, bytes]:
    """Return channel and message that `group_send` of the Channels layer would publish."""
    message: bytes = get_channel_layer().serialize({"type": kind, "payload": payload})
    return f"{CHANNEL_PREFIX}__group__{group}", message


CHANNEL_PREFIX = "chatd"
"""Prefix of the Channels layer's keys (`CHANNEL_LAYERS`), which `_rung` names."""


def _pass_on(payload: bytes, on_cancel: Callable[[UUID], None]) -> None:
    """Hand a runner id on; anything else on the channel is nobody's of ours."""
    try:
        runner_id = UUID(payload.decode())
    except ValueError:
        log.warning("unreadable control message", payload=repr(payload[:80]))
        return
    on_cancel(runner_id)


def _entries(rows: Any) -> list[PartEntry]:
    return [decode_entry(cast("dict[bytes, bytes]", fields)[_FIELD]) for _, fields in rows]
