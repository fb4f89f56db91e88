"""Where a runner stands: the episode it streams into, and the fence of its next write."""

from dataclasses import dataclass, field
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
    latest: Progress | None = None
    """What the last write came to; None before the first one."""
    _writer: PartWriter | None = field(default=None, init=False, repr=False)

    @property
    def fence(self) -> Fence:
        return Fence(
            chat_id=self.chat_id, runner_id=self.runner_id, history_version=self.history_version
        )

    def advance(self, progress: Progress) -> None:
        self.history_version, self.attempt = progress.history_version, progress.attempt
        self.latest = progress

    def writer(self, backend: LiveBackend) -> PartWriter:
        """Return the writer of the current episode: one, because it numbers what it sends."""
        episode = Episode(self.history_version, self.attempt)
        if self._writer is None or self._writer.episode != episode:
            self._writer = PartWriter(
                backend, self.chat_id, episode, window_seconds=env.flush_window_seconds
            )
        return self._writer
