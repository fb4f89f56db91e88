"""What transitions announce, recorded in order instead of delivered.

The recorder stands where the live backend of the process does; its part log is the real
in-process one.
"""

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID

from chatd.live.local import LocalBackend
from chatd.live.messages import (
    CancelRunner,
    ChatNotice,
    Notice,
    Notification,
    OwnerNotice,
    PartEntry,
)

T = TypeVar("T")


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("the coroutine waited for something")


class Recorder(LocalBackend):
    """A live backend that keeps what is published, and the chats that were woken."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[Notice] = []
        self.entries: list[tuple[UUID, PartEntry]] = []
        self.woken: list[UUID] = []

    def publish(self, notices: Sequence[Notice]) -> None:
        self.notices += notices

    async def append(self, chat_id: UUID, entry: PartEntry) -> bool:
        self.entries.append((chat_id, entry))
        return await super().append(chat_id, entry)

    def clear(self) -> None:
        self.notices.clear()
        self.entries.clear()
        self.woken.clear()

    @property
    def notifications(self) -> list[Notification]:
        return [n.notification for n in self.notices if isinstance(n, ChatNotice)]

    @property
    def watch_payloads(self) -> list[bytes]:
        return [n.payload for n in self.notices if isinstance(n, OwnerNotice)]

    @property
    def cancelled(self) -> list[UUID]:
        return [n.runner_id for n in self.notices if isinstance(n, CancelRunner)]
