"""The base of all one-way sockets: refuse before the upgrade, then only send.

A socket lives no longer than the access it was opened with. When something about a person's access
has changed, all of their sockets authenticate and authorise once more, as for a new one.

Messages of the live layer go at once into a bounded inbox, so that a slow client never fills the
channel layer; a pump task works the inbox and sends. When the inbox overflows it is emptied and
the consumer resynchronises from the database instead.
"""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import structlog
from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from chatd.accounts.actor import Actor
from chatd.api.errors import as_chatd_error
from chatd.core.clock import now
from chatd.core.context import bind_correlation
from chatd.core.errors import ChatdError
from chatd.core.gate import busy
from chatd.core.metrics import count_dropped
from chatd.core.outages import DATABASE_AWAY, report_outage
from chatd.core.threads import in_database_thread
from chatd.live.messages import access_group
from chatd.sockets import registry
from chatd.sockets.handshake import admit, authenticate_scope, raw_headers, refuse

log = structlog.get_logger(__name__)

INBOX_LIMIT = 2000

NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL = 1000, 1001, 1008, 1011

_EXPIRY_SLACK_SECONDS = 0.05
"""So that what is looked at when a token expires has expired on every clock."""


class OneWaySocket(AsyncConsumer):  # type: ignore[misc]
    """A socket that sends and never listens. Subclasses join groups and yield frames."""

    actor: Actor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inbox: deque[Any] = deque()
        self._overflowed = False
        self._arrived = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None
        self._closed = False
        self._expiry: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._must_look = False

    # what subclasses do

    @abstractmethod
    async def subscribe(self) -> list[str]:
        """Check rights and return the groups to follow. Raises ChatdError."""

    async def opening(self) -> AsyncIterator[str]:
        """Yield the first frames; by default there are none."""
        nothing: list[str] = []
        for frame in nothing:
            yield frame

    @abstractmethod
    def frames_for(self, items: list[Any], *, resync: bool) -> AsyncIterator[str]:
        """Yield frames for what arrived; `resync` when something was dropped."""

    async def left(self) -> None:
        """Do what is due when the socket has ended."""

    # ASGI

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket. Its channel is asked for before it is connected: that may fail too."""
        self.scope, self.base_send = scope, send
        self.channel_layer = get_channel_layer()
        try:
            self.channel_name = await self.channel_layer.new_channel()
        except RedisError as error:
            refusal = as_chatd_error(error)
            await refuse(send, refusal.http_status, refusal.body(), refusal.headers)
            return
        hearing = asyncio.create_task(self._hear())
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass  # the normal end
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self) -> None:
        """Take what the live layer says. Channels' own loop makes two tasks for each message."""
        try:
            while True:
                await self.dispatch(await self.channel_layer.receive(self.channel_name))
        except Exception:
            log.exception("socket failed")
            await self.close(INTERNAL, "internal error")

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand a message to its method.

        Channels' own goes to a thread first, for each message, to close old connections to the
        database. A socket holds none between its visits (`in_database_thread`).
        """
        await getattr(self, get_handler_name(message))(message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        bind_correlation(socket=type(self).__name__)
        headers: dict[str, str] = {}
        try:
            if registry.is_full():
                raise busy()
            self.actor, headers = await in_database_thread(admit, self.scope)
            self.groups = [*await self.subscribe(), access_group(self.actor.user.pk)]
            for group in self.groups:
                await self.channel_layer.group_add(group, self.channel_name)
            await self.prepare()
        except Exception as error:  # noqa: BLE001 - logged, and told as an HTTP answer
            refusal = as_chatd_error(error)
            headers |= refusal.headers
            await refuse(self.send, refusal.http_status, refusal.body(), headers)
            await self._leave_groups()
            raise StopConsumer from None
        await self.send({"type": "websocket.accept", "headers": raw_headers(headers)})
        registry.add(self)
        self._look_at_expiry()
        self._pump_task = asyncio.create_task(self._pump())

    async def prepare(self) -> None:
        """Read what must not fail after the upgrade, once the groups are joined."""

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        await self.close(POLICY_VIOLATION, "this socket is one-way")

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self._closed = True
        registry.discard(self)
        if self._expiry is not None:
            self._expiry.cancel()
        for task in (self._pump_task, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._leave_groups()
        await self.left()
        raise StopConsumer

    # access

    def _look_at_expiry(self) -> None:
        """Look again at the instant at which the token expires."""
        if self.actor.api_key is not None:
            seconds = (self.actor.api_key.expires_at - now()).total_seconds()
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(seconds + _EXPIRY_SLACK_SECONDS, self.look_again)

    async def live_access(self, message: dict[str, Any]) -> None:
        self.look_again()

    def look_again(self) -> None:
        """Close the socket if it would not be opened now; never blocks.

        A look that is under way may have read what has changed since, so another one follows it.
        """
        self._must_look = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while self._must_look and not self._closed:
            self._must_look = False
            await self._look_once()

    async def _look_once(self) -> None:
        try:
            self.actor = await in_database_thread(authenticate_scope, self.scope)
            await self.subscribe()
        except ChatdError as refusal:
            await self.close(POLICY_VIOLATION, f"access ended ({refusal.http_status})")
        except DATABASE_AWAY as error:
            report_outage(error, during="checking access")  # the next round of healing tries again
        except Exception:
            log.exception("access could not be checked")

    async def close(self, code: int, reason: str = "") -> None:
        """Send a close frame once; the client's disconnect ends the consumer."""
        if not self._closed:
            self._closed = True
            await self._emit({"type": "websocket.close", "code": code, "reason": reason})

    async def _emit(self, message: dict[str, Any]) -> None:
        """Send to the server, unless the peer is gone: its abrupt end is a normal one."""
        try:
            await self.send(message)
        except (OSError, RuntimeError):  # disconnected, or closed by the server meanwhile
            self._closed = True

    async def _leave_groups(self) -> None:
        for group in getattr(self, "groups", ()):
            try:
                await self.channel_layer.group_discard(group, self.channel_name)
            except (RedisError, OSError) as error:  # it has forgotten the groups by itself
                log.debug("group not left", error=str(error))

    # the pump

    def deliver(self, item: Any) -> None:
        """Queue an item for the pump; never blocks."""
        if len(self._inbox) >= INBOX_LIMIT:
            count_dropped(len(self._inbox) + 1)
            self._inbox.clear()
            self._overflowed = True
        else:
            self._inbox.append(item)
        self._arrived.set()

    def request_resync(self) -> None:
        """Have the pump compare with the database: a doorbell may have been lost."""
        self._overflowed = True
        self._arrived.set()

    async def _pump(self) -> None:
        try:
            async for frame in self.opening():
                await self._send_frame(frame)
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                items, self._inbox = list(self._inbox), deque()
                resync, self._overflowed = self._overflowed, False
                async for frame in self.frames_for(items, resync=resync):
                    await self._send_frame(frame)
        except DATABASE_AWAY as error:
            report_outage(error, during="a socket")
            await self.close(GOING_AWAY, "connect again in a moment")
        except Exception:
            log.exception("socket failed")
            await self.close(INTERNAL, "internal error")

    async def _send_frame(self, frame: str) -> None:
        if not self._closed:
            await self._emit({"type": "websocket.send", "text": frame})
