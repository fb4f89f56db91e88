"""A client of the chat stream, as the contract describes one, on top of the real feed.

It keeps what it shows: the status, the messages, the queue, and the parts of the running step.
The feed runs without an event loop, so that everything stays inside one transaction.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import orjson

from chatd.live.backend import LiveBackend
from chatd.live.messages import Notification, PartEntry
from chatd.sockets.feed import StreamFeed
from tests.chats.recorder import run_now

P = ParamSpec("P")
T = TypeVar("T")


async def in_this_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Stand in for the database threads, whose connections see only what is committed."""
    return function(*args, **kwargs)


class Follower:
    """What one client shows of one chat."""

    def __init__(self, chat_id: UUID, backend: LiveBackend) -> None:
        self.feed = StreamFeed(chat_id, 0, backend)
        self.status = ""
        self.messages: dict[int, dict[str, Any]] = {}
        self.queue: list[dict[str, Any]] = []
        self.parts: list[dict[str, Any]] = []
        self._opening = True  # the history comes after the parts of the running step
        self._take(self.feed.snapshot())
        self._opening = False

    def hear(self, notification: Notification) -> None:
        self._take(self.feed.on_notification(notification))

    def hear_parts(self, entry: PartEntry) -> None:
        self._take(self.feed.on_parts(entry))

    def catch_up(self) -> None:
        self._take(self.feed.catch_up())

    def truncate(self, message_id: int) -> None:
        """Forget a message and all after it, as a client does when it knows of an edit."""
        self.messages = {key: body for key, body in self.messages.items() if key < message_id}

    def _take(self, batches: AsyncIterator[list[bytes]]) -> None:
        for batch in run_now(_collect(batches)):
            for raw in batch:
                self._show(orjson.loads(raw))

    def _show(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "status":
                self.status = event["status"]["status"]
                if self.status != "running":
                    self.parts = []
            case "message":
                body = event["message"]
                self.messages[body["id"]] = body
                if body["role"] == "assistant" and not self._opening:
                    self.parts = []
            case "message_part":
                self.parts.append(event["message_part"])
            case "retry":
                self.parts = []
            case "queue_update":
                self.queue = event.get("queued_messages", [])
            case "error" | "action_required":
                pass
            case other:
                raise AssertionError(f"unknown event {other}")

    def shown(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "messages": [self.messages[key] for key in sorted(self.messages)],
            "queue": self.queue,
        }


async def _collect(batches: AsyncIterator[list[bytes]]) -> list[list[bytes]]:
    return [batch async for batch in batches]
