"""Stream events as encoded JSON, and frames made of them.

A frame is a JSON array of 1 to 256 events and a newline; it stays well below the 4 MiB that
clients read at most.
"""

from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec

from chatd.api.rendering import encode_json
from chatd.chats import shapes
from config.env import env

MAX_FRAME_EVENTS = 256
MAX_FRAME_BYTES = 1024 * 1024


class EventEncoder:
    """Encodes the events of one chat."""

    def __init__(self, chat_id: UUID) -> None:
        self._chat_id = str(chat_id)
        self._part_head = (
            b'{"type":"message_part","chat_id":"' + self._chat_id.encode() + b'","message_part":'
        )

    def status(self, status: str) -> bytes:
        return _encoded({"type": "status", "chat_id": self._chat_id, "status": {"status": status}})

    def message(self, body: shapes.ChatMessage) -> bytes:
        return _encoded({"type": "message", "chat_id": self._chat_id, "message": body})

    def part(self, raw: msgspec.Raw) -> bytes:
        """`raw` is `{role, part}`, encoded by the worker that streamed it."""
        return self._part_head + bytes(raw) + b"}"

    def queue(self, bodies: list[shapes.ChatQueuedMessage]) -> bytes:
        """The whole queue; the field is absent when it is empty."""
        event: shapes.StreamEvent = {"type": "queue_update", "chat_id": self._chat_id}
        if bodies:
            event["queued_messages"] = bodies
        return _encoded(event)

    def retry(self, payload: shapes.Retry) -> bytes:
        return _encoded({"type": "retry", "chat_id": self._chat_id, "retry": payload})

    def error(self, body: shapes.ChatError) -> bytes:
        return _encoded({"type": "error", "chat_id": self._chat_id, "error": body})

    def action_required(self, calls: list[shapes.ClientToolCall]) -> bytes:
        required: shapes.ActionRequired = {"tool_calls": calls}
        return _encoded(
            {"type": "action_required", "chat_id": self._chat_id, "action_required": required}
        )


def _encoded(event: shapes.StreamEvent) -> bytes:
    return encode_json(event)


def frames(events: Iterable[bytes]) -> Iterator[str]:
    """Return frames for events, in order, split by count and by size.

    Older clients (CHATD_OLDER_CLIENTS) get each array inside an object `{type, data}`.
    """
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and (len(batch) == MAX_FRAME_EVENTS or size + len(event) > MAX_FRAME_BYTES):
            yield _frame(batch)
            batch, size = [], 0
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield _frame(batch)


def _frame(batch: list[bytes]) -> str:
    array = b"[" + b",".join(batch) + b"]"
    if env.older_clients:
        array = b'{"type":"data","data":' + array + b"}"
    return (array + b"\n").decode()
