"""The live layer inside one process: groups, doorbells and the part log in memory.

Workers run on other threads and loops than the sockets, so delivery hops to the loop that the
receiving consumer lives on. Nothing here may be used with more than one process.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from channels.layers import BaseChannelLayer, get_channel_layer

from chatd.live.backend import PART_LOG_SECONDS, RETIRED_SECONDS
from chatd.live.messages import (
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
    encode,
    owner_group,
)

_Message = dict[str, Any]


class LocalChannelLayer(BaseChannelLayer):  # type: ignore[misc]
    """A Channels layer for one process whose groups can be rung from any thread.

    A consumer's queue is unbounded: consumers of this project move messages at once into a
    bounded queue of their own and resynchronise when that overflows.
    """

    extensions = ("groups", "flush")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lock = threading.Lock()
        self._queues: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Queue[_Message]]] = {}
        self._groups: dict[str, set[str]] = {}

    async def new_channel(self, prefix: str = "specific.") -> str:
        channel = f"{prefix}local!{uuid4().hex}"
        with self._lock:
            self._queues[channel] = (asyncio.get_running_loop(), asyncio.Queue())
        return channel

    async def send(self, channel: str, message: _Message) -> None:
        self._deliver([channel], message)

    async def receive(self, channel: str) -> _Message:
        entry = self._queues.get(channel)
        if entry is None:
            raise RuntimeError(f"Channel {channel} was not made by new_channel().")
        try:
            return await entry[1].get()
        except asyncio.CancelledError:
            self._forget(channel)
            raise

    async def group_add(self, group: str, channel: str) -> None:
        with self._lock:
            self._groups.setdefault(group, set()).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        with self._lock:
            self._discard(group, channel)

    async def group_send(self, group: str, message: _Message) -> None:
        self.ring(group, message)

    async def flush(self) -> None:
        with self._lock:
            self._queues.clear()
            self._groups.clear()

    def ring(self, group: str, message: _Message) -> None:
        """Send `message` to every member of `group`; may be called from any thread."""
        with self._lock:
            members = list(self._groups.get(group, ()))
        self._deliver(members, message)

    def _deliver(self, channels: Sequence[str], message: _Message) -> None:
        for channel in channels:
            entry = self._queues.get(channel)
            if entry is None:
                continue
            loop, queue = entry
            try:
                loop.call_soon_threadsafe(queue.put_nowait, message)
            except RuntimeError:  # that loop has ended, and its consumers with it
                self._forget(channel)

    def _forget(self, channel: str) -> None:
        with self._lock:
            self._queues.pop(channel, None)
            for group in [name for name, members in self._groups.items() if channel in members]:
                self._discard(group, channel)

    def _discard(self, group: str, channel: str) -> None:
        members = self._groups.get(group)
        if members is not None:
            members.discard(channel)
            if not members:
                del self._groups[group]


class _Log:
    """The entries of one episode and when they may be dropped (monotonic seconds)."""

    __slots__ = ("entries", "expires_at")

    def __init__(self) -> None:
        self.entries: list[PartEntry] = []
        self.expires_at = 0.0


class LocalBackend:
    """Doorbells and the part log of a single process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[tuple[UUID, Episode], _Log] = {}
        self._listeners: list[Callable[[UUID], None]] = []
        self._next_purge = 0.0

    def publish(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice:
                case ChatNotice(chat_id, notification):
                    self._ring(chat_group(chat_id), "live.notification", encode(notification))
                case OwnerNotice(user_id, payload):
                    self._ring(owner_group(user_id), "live.watch", payload)
                case CancelRunner(runner_id):
                    for listener in list(self._listeners):
                        listener(runner_id)
                case AccessNotice(user_id):
                    self._ring(access_group(user_id), "live.access", b"")
                case ConfigNotice():
                    pass  # caches of one process are dropped by the writer itself

    async def append(self, chat_id: UUID, entry: PartEntry) -> bool:
        with self._lock:
            self._purge()
            is_kept = entry.seq == 1 or (chat_id, entry.episode) in self._logs
            if is_kept:
                self._log(chat_id, entry.episode).entries.append(entry)
        self._ring(chat_group(chat_id), "live.parts", encode(entry))
        return is_kept

    async def fold(self, chat_id: UUID, entry: PartEntry) -> bool:
        with self._lock:
            self._log(chat_id, entry.episode).entries[:] = [entry]
        return True

    def _log(self, chat_id: UUID, episode: Episode) -> _Log:
        """Return the log that is written to now, and is kept longer for it."""
        log = self._logs.setdefault((chat_id, episode), _Log())
        log.expires_at = time.monotonic() + PART_LOG_SECONDS
        return log

    async def read(self, chat_id: UUID, episode: Episode) -> list[PartEntry]:
        return self.read_blocking(chat_id, episode)

    def read_blocking(self, chat_id: UUID, episode: Episode) -> list[PartEntry]:
        with self._lock:
            log = self._logs.get((chat_id, episode))
            return list(log.entries) if log else []

    async def retire(self, chat_id: UUID, episode: Episode) -> None:
        with self._lock:
            log = self._logs.get((chat_id, episode))
            if log is not None:
                log.expires_at = time.monotonic() + RETIRED_SECONDS

    @asynccontextmanager
    async def listen_for_cancels(self, on_cancel: Callable[[UUID], None]) -> AsyncIterator[None]:
        self._listeners.append(on_cancel)
        try:
            yield
        finally:
            self._listeners.remove(on_cancel)

    def ping(self) -> None:
        return

    def _ring(self, group: str, kind: str, payload: bytes) -> None:
        layer = get_channel_layer()
        assert isinstance(layer, LocalChannelLayer)
        layer.ring(group, {"type": kind, "payload": payload})

    def _purge(self) -> None:
        instant = time.monotonic()
        if instant < self._next_purge:
            return
        self._next_purge = instant + RETIRED_SECONDS
        for key in [key for key, log in self._logs.items() if log.expires_at < instant]:
            del self._logs[key]
