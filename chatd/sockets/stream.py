"""`/chats/{chat}/stream`: everything that happens in one chat."""

from collections.abc import AsyncIterator
from typing import Any

import structlog
from django.db import DatabaseError

from chatd.api.parsing import parse_int, path_uuid
from chatd.chats.actions import mark_read
from chatd.chats.models import Chat
from chatd.chats.selectors import get_chat_for
from chatd.core.errors import not_found
from chatd.core.outages import DATABASE_AWAY, report_outage
from chatd.core.threads import in_database_thread
from chatd.live.backend import live_backend
from chatd.live.messages import (
    Notification,
    PartEntry,
    chat_group,
    decode_entry,
    decode_notification,
)
from chatd.sockets import registry
from chatd.sockets.consumer import NORMAL, OneWaySocket
from chatd.sockets.events import frames
from chatd.sockets.feed import ChatGoneError, StreamFeed
from chatd.sockets.handshake import query_of

log = structlog.get_logger(__name__)


class StreamConsumer(OneWaySocket):
    """Sends a snapshot, then every change. Ends when the client speaks or leaves."""

    feed: StreamFeed | None = None
    chat: Chat

    async def subscribe(self) -> list[str]:
        chat_id = path_uuid(self.scope["url_route"]["kwargs"]["chat"])
        self.chat = await in_database_thread(get_chat_for, self.actor.user, chat_id)
        after_id = query_of(self.scope).get("after_id", "")
        self._after_id = parse_int(after_id, "Invalid after_id parameter.") if after_id else 0
        return [chat_group(chat_id)]

    async def prepare(self) -> None:
        """The groups are joined: from here on nothing is missed."""
        feed = StreamFeed(self.chat.pk, self._after_id, live_backend())
        self._snapshot = feed.snapshot()
        try:
            self._head = await anext(self._snapshot)
        except ChatGoneError:
            raise not_found() from None
        self.feed = feed
        await self._mark_read()

    async def opening(self) -> AsyncIterator[str]:
        for frame in frames(self._head):
            yield frame
        async for batch in self._snapshot:
            for frame in frames(batch):
                yield frame

    async def frames_for(self, items: list[Any], *, resync: bool) -> AsyncIterator[str]:
        pending: list[bytes] = []
        try:
            async for batch in self._events(items, resync=resync):
                pending += batch
                if len(pending) >= 64:
                    for frame in frames(pending):
                        yield frame
                    pending = []
        except ChatGoneError:
            await self.close(NORMAL, "chat deleted")
            return
        for frame in frames(pending):
            yield frame

    async def _events(self, items: list[Any], *, resync: bool) -> AsyncIterator[list[bytes]]:
        assert self.feed is not None
        for item in items:
            match item:
                case Notification():
                    batches = self.feed.on_notification(item)
                case PartEntry():
                    batches = self.feed.on_parts(item)
                case registry.PEEK:
                    batches = self.feed.peek()
                case _:
                    raise TypeError(f"unexpected item {item!r}")
            async for batch in batches:
                yield batch
        if resync:
            async for batch in self.feed.catch_up():
                yield batch

    async def live_notification(self, message: dict[str, Any]) -> None:
        self.deliver(decode_notification(message["payload"]))

    async def live_parts(self, message: dict[str, Any]) -> None:
        self.deliver(decode_entry(message["payload"]))

    async def left(self) -> None:
        await self._mark_read()

    async def _mark_read(self) -> None:
        """Move the owner's read cursor; a failure must not cost anybody the stream."""
        try:
            await in_database_thread(mark_read, self.actor, self.chat)
        except DATABASE_AWAY as error:
            report_outage(error, during="moving a read cursor")
        except DatabaseError:
            log.warning("read cursor not moved", chat_id=str(self.chat.pk), exc_info=True)
