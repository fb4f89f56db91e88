"""The real server on a thread of this process, and clients that check every frame."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from chatd.chats.models import Chat
from chatd.live.backend import live_backend
from chatd.live.messages import Episode
from chatd.live.writer import PartWriter
from chatd.sockets.server import ChatdServer, server_config
from tests.api.client import API, HEADER
from tests.api.documented import check_frame
from tests.support.threads import close_database_threads

MAX_FRAME = 4 * 2**20
"""What a client reads at most."""

SECONDS = 120.0
"""A wait that ends a hanging test; nothing waits this long."""


class LiveServer:
    """A ChatdServer that listens while the `with` block runs."""

    def __init__(self, **settings: Any) -> None:
        config = server_config(host="127.0.0.1", port=0)
        for name, value in settings.items():
            assert hasattr(config, name)
            setattr(config, name, value)
        self._ready = threading.Event()
        self.server = ChatdServer(config, announce=self._ready.set)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self.server.config.get_loop_factory()) as runner:
            runner.run(self.server.serve())

    def __enter__(self) -> "LiveServer":
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        close_database_threads()

    def stop(self) -> None:
        """Shut down as a signal would; returns when every socket has ended."""
        self.server.should_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    def connect(self, path: str, token: str = "", **headers: str) -> ClientConnection:
        sent = {HEADER: token, **headers} if token else headers
        # Entered here: a test closes it, or watches how the server does.
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers=sent,
            compression=None,
            proxy=None,
            max_size=MAX_FRAME,
            ping_interval=None,
            open_timeout=SECONDS,
            close_timeout=SECONDS,
        ).__enter__()

    def follow(self, chat: Chat, token: str, query: str = "") -> "Follower":
        return Follower(self.connect(f"{API}/chats/{chat.pk}/stream{query}", token))

    def watch(self, token: str) -> "Watcher":
        return Watcher(self.connect(f"{API}/chats/watch", token))


class _Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def frame(self) -> str:
        text = self.socket.recv(timeout=SECONDS)
        assert isinstance(text, str)
        assert text.endswith("\n")
        assert len(text.encode()) < MAX_FRAME
        return text

    def closed(self) -> tuple[int, str]:
        """Read until the server closes; return code and reason."""
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                self.frame()
        close = caught.value.rcvd
        assert close is not None
        return close.code, close.reason

    def drop(self) -> None:
        """End like a process that was killed: no close frame."""
        self.socket.socket.close()


class Follower(_Client):
    """Reads the events of a stream one by one."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.frames: list[list[dict[str, Any]]] = []
        self._waiting: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """Return the events of the next frame."""
        events = json.loads(self.frame())
        assert isinstance(events, list)
        assert 1 <= len(events) <= 256
        check_frame("streamChat", events)
        self.frames.append(events)
        return events

    def next(self) -> dict[str, Any]:
        while not self._waiting:
            self._waiting = self.read()
        return self._waiting.pop(0)

    def take(self, count: int) -> list[dict[str, Any]]:
        return [self.next() for _ in range(count)]

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Return the events up to and with the first that is wanted."""
        found = [self.next()]
        while not wanted(found[-1]):
            found.append(self.next())
        return found

    def until_status(self, status: str) -> list[dict[str, Any]]:
        return self.until(lambda event: event.get("status") == {"status": status})


class Watcher(_Client):
    """Reads watch events: one JSON object per frame."""

    def next(self) -> dict[str, Any]:
        event = json.loads(self.frame())
        assert isinstance(event, dict)
        check_frame("watchChats", event)
        return event

    def take(self, count: int) -> list[dict[str, Any]]:
        return [self.next() for _ in range(count)]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Return the types, statuses by their value."""
    return [
        event["status"]["status"] if event["type"] == "status" else event["type"]
        for event in events
    ]


def texts(events: list[dict[str, Any]]) -> list[str]:
    """Return what the messages say."""
    return [
        event["message"]["content"][0]["text"] for event in events if event["type"] == "message"
    ]


def said(events: list[dict[str, Any]]) -> str:
    """Return what the parts say together."""
    return "".join(
        event["message_part"]["part"]["text"] for event in events if event["type"] == "message_part"
    )


def write_parts(chat: Chat, episode: Episode, *flushes: list[dict[str, Any]]) -> None:
    """Stream parts as a worker does: one entry per flush."""

    async def write() -> None:
        writer = PartWriter(live_backend(), chat.pk, episode, window_seconds=0)
        for parts in flushes:
            for part in parts:
                writer.add("assistant", part)
            await writer.flush()

    asyncio.run(write())


def delta(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}
