"""What one stream socket shows: a snapshot, then every change exactly once and in order.

A feed remembers the versions it has shown. A notification one step ahead is applied from its own
fields and the rows of that revision; anything else that is newer means a doorbell was lost, and
the feed catches up from the database. Parts are shown only for the episode that runs now, and
only once per `seq`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from django.db.models import BigIntegerField, UUIDField

from chatd.chats import shapes
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.selectors import (
    get_chat_unscoped,
    list_queue,
    open_client_calls,
    visible_messages,
)
from chatd.chats.wire import client_call_bodies, error_body, message_body, queued_body
from chatd.core.clock import now, rfc3339
from chatd.core.statements import Parameter, Select
from chatd.core.threads import in_database_thread
from chatd.live.backend import LiveBackend
from chatd.live.messages import Episode, Notification, PartEntry
from chatd.sockets.events import MAX_FRAME_EVENTS, EventEncoder


@dataclass(frozen=True, slots=True)
class _Shown:
    """The state of the chat as the client has seen it."""

    snapshot_version: int
    queue_version: int
    status: str
    episode: Episode


@dataclass(frozen=True, slots=True)
class _Read:
    """What one visit to the database brought."""

    chat: Chat
    messages: list[ChatMessage]
    queue: list[shapes.ChatQueuedMessage]
    calls: list[shapes.ClientToolCall]


class ChatGoneError(Exception):
    """The chat was deleted while it was followed."""


class StreamFeed:
    """Turns the state of a chat and what the live layer says into encoded events."""

    def __init__(self, chat_id: UUID, after_id: int, backend: LiveBackend) -> None:
        self.chat_id = chat_id
        self._after_id = max(after_id, 0)
        self._backend = backend
        self._encode = EventEncoder(chat_id)
        self._shown = _Shown(0, 0, "", Episode(0, 0))
        self._last_seq = 0

    @property
    def version(self) -> int:
        """The newest snapshot version that was shown."""
        return self._shown.snapshot_version

    @property
    def progress(self) -> tuple[Episode, int] | None:
        """How far the running step was shown; None when nothing runs."""
        running = self._shown.status == Status.RUNNING
        return (self._shown.episode, self._last_seq) if running else None

    async def snapshot(self) -> AsyncIterator[list[bytes]]:
        """Yield batches of events: status, retry, parts, messages, queue. Once, at the start."""
        read = await in_database_thread(_read, self.chat_id, self._after_id, 0, None)
        chat = read.chat
        self._show(chat)
        parts = await self._logged_parts()
        head = [self._encode.status(str(chat.status))]
        backing_off = chat.status == Status.RUNNING and chat.retry_version > chat.history_version
        if chat.retry and backing_off and not parts:
            head.append(self._encode.retry(chat.retry))
        yield head + parts
        async for batch in self._messages(read.messages, self._after_id, 0, chat.snapshot_version):
            yield batch
        if read.queue:
            yield [self._encode.queue(read.queue)]

    async def _messages(
        self, first: list[ChatMessage], after_id: int, from_revision: int, to_revision: int
    ) -> AsyncIterator[list[bytes]]:
        """Yield messages of a range of revisions, a page at a time, starting with `first`."""
        page = first
        while page:
            yield [self._encode.message(message_body(message)) for message in page]
            if len(page) < MAX_FRAME_EVENTS:
                return
            page = await in_database_thread(
                _read_messages, self.chat_id, page[-1].pk, from_revision, to_revision
            )

    async def on_notification(self, notification: Notification) -> AsyncIterator[list[bytes]]:
        """Yield what a notification changes; nothing for one that was shown already."""
        if notification.snapshot_version <= self.version:
            return
        if notification.snapshot_version != self.version + 1:
            async for batch in self.catch_up():
                yield batch
            return
        async for batch in self._apply(notification):
            yield batch

    async def _apply(self, n: Notification) -> AsyncIterator[list[bytes]]:
        encode = self._encode
        if n.first_status:
            yield [encode.status(n.first_status)]
        if n.full_refresh or n.after_message_id or n.queue_update or n.action_required:
            async for batch in self._apply_rows(n):
                yield batch
        tail = []
        if n.retry is not None:
            tail.append(encode.retry(n.retry))
        if n.error_payload is not None:
            tail.append(encode.error(n.error_payload))
        if n.status:
            tail.append(encode.status(n.status))
        if n.action_required:
            calls = await in_database_thread(_read_calls, self.chat_id)
            tail.append(encode.action_required(calls))
        self._remember(
            n.snapshot_version,
            n.queue_version,
            n.status or self._shown.status,
            Episode(n.history_version, n.attempt),
        )
        if tail:
            yield tail

    async def _apply_rows(self, n: Notification) -> AsyncIterator[list[bytes]]:
        """Yield the messages of this revision, or all after a cut, and the queue."""
        after_id = 0 if n.full_refresh else self._after_id
        from_revision = 0 if n.full_refresh else self.version
        if n.full_refresh or n.after_message_id:
            first = await in_database_thread(
                _read_messages, self.chat_id, after_id, from_revision, n.snapshot_version
            )
            async for batch in self._messages(first, after_id, from_revision, n.snapshot_version):
                yield batch
        if n.queue_update:
            queue = await in_database_thread(_read_queue, self.chat_id)
            yield [self._encode.queue(queue)]

    async def catch_up(self) -> AsyncIterator[list[bytes]]:
        """Yield everything that changed since what was shown, from the database and the log."""
        shown = self._shown
        read = await in_database_thread(
            _read, self.chat_id, self._after_id, shown.snapshot_version, shown
        )
        chat = read.chat
        if chat.snapshot_version > shown.snapshot_version:
            cut = chat.refresh_version > shown.snapshot_version
            after_id, from_revision = (0, 0) if cut else (self._after_id, shown.snapshot_version)
            notice = self._missed_retry(chat, read.messages)
            if notice is not None:
                yield [self._encode.retry(notice)]
            pages = self._messages(read.messages, after_id, from_revision, chat.snapshot_version)
            async for batch in pages:
                yield batch
            yield self._changes(read, shown)
            self._show(chat)
        async for batch in self.peek():
            yield batch

    def _missed_retry(self, chat: Chat, new: list[ChatMessage]) -> shapes.Retry | None:
        """Return the retry notice that was missed: parts that were shown are void.

        They are void too when the history went on without an answer that stands for them.
        """
        retried = chat.retry_version > self.version
        if retried and chat.retry and chat.retry_version > chat.history_version:
            stored: shapes.Retry = chat.retry
            return stored
        moved = chat.history_version != self._shown.episode.history_version
        answered = any(message.role == Role.ASSISTANT for message in new)
        void = self._last_seq and (retried or (moved and not answered))
        return _restarted(chat.attempt) if void else None

    def _changes(self, read: _Read, shown: _Shown) -> list[bytes]:
        chat, encode = read.chat, self._encode
        events = []
        if chat.queue_version > shown.queue_version:
            events.append(encode.queue(read.queue))
        error = error_body(chat.last_error)
        if error is not None:
            events.append(encode.error(error))
        events.append(encode.status(str(chat.status)))
        if read.calls:
            events.append(encode.action_required(read.calls))
        return events

    async def on_parts(self, entry: PartEntry) -> AsyncIterator[list[bytes]]:
        """Yield the parts of an entry unless they were shown or belong to another episode."""
        if entry.episode != self._shown.episode or self._shown.status != Status.RUNNING:
            if _is_newer(entry.episode, self._shown.episode):
                async for batch in self.catch_up():
                    yield batch
            return
        if entry.seq == self._last_seq + 1:
            self._last_seq = entry.seq
            if entry.parts:
                yield [self._encode.part(raw) for raw in entry.parts]
        elif entry.seq > self._last_seq and (events := await self._logged_parts()):
            yield events

    async def peek(self) -> AsyncIterator[list[bytes]]:
        """Yield parts that are in the log and went unheard."""
        parts = await self._logged_parts()
        if parts:
            yield parts

    async def _logged_parts(self) -> list[bytes]:
        """Return parts of the running episode that were not shown yet, up to a hole in the log.

        A folded entry cannot be split: when some of it was shown, the client is told to drop
        that and gets all of it.
        """
        if self._shown.status != Status.RUNNING:
            return []
        events: list[bytes] = []
        for entry in await self._backend.read(self.chat_id, self._shown.episode):
            if entry.seq <= self._last_seq:
                continue
            if entry.seq > self._last_seq + 1 and not entry.folded:
                break  # a worker is about to write the log anew
            if entry.folded and self._last_seq:
                events.append(self._encode.retry(_restarted(entry.episode.attempt)))
            events += [self._encode.part(raw) for raw in entry.parts]
            self._last_seq = entry.seq
        return events

    def _show(self, chat: Chat) -> None:
        self._remember(
            chat.snapshot_version,
            chat.queue_version,
            str(chat.status),
            Episode(chat.history_version, chat.attempt),
        )

    def _remember(self, version: int, queue_version: int, status: str, episode: Episode) -> None:
        if episode != self._shown.episode:
            self._last_seq = 0
        self._shown = _Shown(version, queue_version, status, episode)


def _restarted(attempt: int) -> shapes.Retry:
    """Return a retry payload that has clients drop the parts they show and take them anew."""
    return {
        "attempt": max(attempt, 1),
        "delay_ms": 0,
        "error": "The answer is sent again.",
        "kind": "generic",
        "retrying_at": rfc3339(now()),
    }


def _is_newer(episode: Episode, than: Episode) -> bool:
    return (episode.history_version, episode.attempt) > (than.history_version, than.attempt)


def _read(chat_id: UUID, after_id: int, from_revision: int, shown: _Shown | None) -> _Read:
    """Read a chat, the first page of its messages of newer revisions, and its queue.

    The chat row comes first and bounds the messages: what is newer has a doorbell of its own.
    """
    chat = get_chat_unscoped(chat_id)
    if chat is None:
        raise ChatGoneError
    if shown is not None and chat.refresh_version > shown.snapshot_version:
        after_id, from_revision = 0, 0
    messages = _read_messages(chat_id, after_id, from_revision, chat.snapshot_version)
    waits = shown is not None and chat.status == Status.REQUIRES_ACTION
    calls = client_call_bodies(open_client_calls(chat)) if waits else []
    return _Read(chat, messages, _read_queue(chat_id), calls)


def _read_messages(
    chat_id: UUID, after_id: int, from_revision: int, to_revision: int
) -> list[ChatMessage]:
    return _NEWER.all(
        chat_id=chat_id, after_id=after_id, from_revision=from_revision, to_revision=to_revision
    )


_NEWER = Select(
    lambda: (
        visible_messages(Parameter("chat_id", UUIDField()))
        .filter(
            pk__gt=Parameter("after_id", BigIntegerField()),
            revision__gt=Parameter("from_revision", BigIntegerField()),
            revision__lte=Parameter("to_revision", BigIntegerField()),
        )
        .order_by("id")[:MAX_FRAME_EVENTS]
    )
)
"""Revisions begin at 1: those after 0 are all of them."""


def _read_queue(chat_id: UUID) -> list[shapes.ChatQueuedMessage]:
    return [queued_body(queued) for queued in list_queue(chat_id)]


def _read_calls(chat_id: UUID) -> list[shapes.ClientToolCall]:
    chat = get_chat_unscoped(chat_id)
    return client_call_bodies(open_client_calls(chat)) if chat else []
