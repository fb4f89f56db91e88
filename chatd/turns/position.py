"""Where a runner stands: the episode it streams into, and the fence of its next write."""

from dataclasses import dataclass
from uuid import UUID

from chatd.chats.runs import Fence, Progress
from chatd.live.backend import LiveBackend
from chatd.live.messages import Episode
from chatd.live.writer import PartWriter
from config.env import env


@dataclass(slots=True)
class Position:
    """Moves on with every write of the runner; nothing else changes it."""

    chat_id: UUID
    runner_id: UUID
    history_version: int
    attempt: int

    @property
    def fence(self) -> Fence:
        return Fence(
            chat_id=self.chat_id, runner_id=self.runner_id, history_version=self.history_version
        )

    def advance(self, progress: Progress) -> None:
        self.history_version, self.attempt = progress.history_version, progress.attempt

    def writer(self, backend: LiveBackend) -> PartWriter:
        """Return a writer of parts of the current episode."""
        return PartWriter(
            backend,
            self.chat_id,
            Episode(self.history_version, self.attempt),
            window_seconds=env.flush_window_seconds,
        )
