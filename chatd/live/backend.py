"""The interface of the live layer, and the backend of this process.

Two interfaces in one: doorbells (`publish`, `listen_for_cancels`) and the part log (`append`,
`fold`, `read`, `retire`). Consumers receive through Channels groups, as messages of type
`live.notification`, `live.parts` and `live.watch` whose `payload` is JSON, and `live.access`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from chatd.live.messages import Episode, Notice, PartEntry

PART_LOG_SECONDS = 3600
"""How long the parts of an episode are kept after the last one."""

RETIRED_SECONDS = 60
"""How long they are kept once a stored message stands for them."""


class LiveBackend(Protocol):
    """Redis or in-process. A doorbell that cannot be rung is logged, never raised."""

    def publish(self, notices: Sequence[Notice]) -> None:
        """Ring doorbells, in order. Called after a commit, from any thread."""

    async def append(self, chat_id: UUID, entry: PartEntry) -> bool:
        """Append an entry to its episode's log and send it to the chat's group.

        Returns False when that failed; the entry may have been appended, even twice. Only the
        first entry begins a log: where that of a later one is gone, it is sent to the group alone.
        """

    async def fold(self, chat_id: UUID, entry: PartEntry) -> bool:
        """Replace the log of an episode by one entry that stands for all of it."""

    async def read(self, chat_id: UUID, episode: Episode) -> list[PartEntry]:
        """Return the entries of an episode in order; none when it is unknown."""

    def read_blocking(self, chat_id: UUID, episode: Episode) -> list[PartEntry]:
        """As `read`, for synchronous code. Raises PartLogUnavailableError."""

    async def retire(self, chat_id: UUID, episode: Episode) -> None:
        """Let the log of an episode expire soon: a stored message stands for it."""

    def listen_for_cancels(
        self, on_cancel: Callable[[UUID], None]
    ) -> AbstractAsyncContextManager[None]:
        """While open, call `on_cancel` (from any thread) with the runner id of each cancel."""

    def ping(self) -> None:
        """Return when the backend answers. Raises an exception when it does not."""


class PartLogUnavailableError(Exception):
    """The part log cannot be read right now."""


@lru_cache(maxsize=1)
def live_backend() -> LiveBackend:
    """Return the backend of this process (`LIVE_BACKEND`)."""
    backend: LiveBackend = import_string(settings.LIVE_BACKEND)()
    return backend
