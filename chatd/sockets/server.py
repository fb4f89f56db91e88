"""The ASGI server: uvicorn, with the close codes that clients of the stream rely on.

Clients treat 1000 and 1001 as a normal end and everything else as a failure. So a shutdown closes
sockets with 1001 before the server goes, and a peer that stops answering pings is closed with
1001 `Ping failed`.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog
import uvicorn
from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import RedisError
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from chatd.core.garbage import settle_heap
from chatd.sockets import registry
from chatd.sockets.consumer import GOING_AWAY
from config.env import env

log = structlog.get_logger(__name__)

_FLUSH_SECONDS = 5.0
_GRACE_SECONDS = 10


class ChatdWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with this product's close code for a lost peer."""

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(GOING_AWAY, "Ping failed")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        # A peer that does not read would keep the transport waiting for its buffer to drain.
        self.loop.call_later(_FLUSH_SECONDS, self.transport.abort)


class ChatdServer(uvicorn.Server):
    """uvicorn's server that says good-bye to sockets first.

    `announce` is called once when it listens; `before_close` (blocking, on a thread) before the
    sockets are closed.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        announce: Callable[[], None] | None = None,
        before_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._before_close = before_close

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await _keep_receiving()
        settle_heap()
        if self.started and self._announce is not None:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        if self._before_close is not None:
            await asyncio.to_thread(self._before_close)
        await registry.close_all(GOING_AWAY, "server is shutting down")
        await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            # What it was sent stays unread, so its transport would never close by itself.
            connection.transport.abort()


async def _keep_receiving() -> None:
    """Hold one subscription for as long as the process lives.

    The Redis layer looks for messages every 100 ms while nobody is subscribed, which would delay
    what the first of several sockets gets.
    """
    layer = get_channel_layer()
    if isinstance(layer, RedisPubSubChannelLayer):
        try:
            await layer.new_channel("awake.")
        except (RedisError, OSError) as error:
            log.warning("live layer is not reachable yet", error=str(error))


def server_config(*, host: str, port: int) -> uvicorn.Config:
    """Return the configuration of a web process."""
    return uvicorn.Config(
        "config.asgi:application",
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws=ChatdWebSocketProtocol,
        ws_ping_interval=env.ping_seconds,
        ws_ping_timeout=env.ping_seconds,
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        forwarded_allow_ips=list(env.trusted_proxies),
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
    )
