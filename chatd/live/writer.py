"""Streaming parts into the log: coalesced, numbered, bounded.

The first delta goes out at once; after that at most one flush per window, carrying whatever came
meanwhile in one entry, adjacent deltas of one kind joined. Windows end at beats that the turns of a
process share. `flush()` sends the rest at once.
When an append fails, the log is written anew as soon as that works, so that it has no hole.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from chatd.core import metrics
from chatd.core.clock import now, rfc3339
from chatd.live.backend import LiveBackend
from chatd.live.messages import BlockEnd, BlockStart, Episode, PartEntry, encode

log = structlog.get_logger(__name__)

MAX_ENTRIES = 10_000
MAX_BYTES = 1024 * 1024

_JOINABLE = {"text": "text", "reasoning": "text", "tool-call": "args_delta"}
BEAT_SECONDS = 0.02
"""Later flushes of all turns of a loop come together at these beats, and go to Redis together."""

_LATENESS_SECONDS = 0.002
"""How late a timer may be without costing a beat."""

_START: Final = "block-start"
_END: Final = "block-end"
_TIMED: Final = "reasoning"


Streamed = tuple[str, dict[str, Any]]
"""A role and a part as clients see it, or the start or end of a block, which they do not see."""


def fold_parts(streamed: Iterable[Streamed]) -> list[Streamed]:
    """Return the same parts with adjacent deltas of one thing joined, in linear time."""
    folded: list[Streamed] = []
    pieces: list[str] = []
    for role, part in streamed:
        if folded and _continues(folded[-1], role, part):
            pieces.append(part[_JOINABLE[part["type"]]])
            continue
        _join(folded, pieces)
        folded.append((role, dict(part)))
        pieces = []
    _join(folded, pieces)
    return folded


def _join(folded: list[Streamed], pieces: list[str]) -> None:
    if folded and pieces:
        part = folded[-1][1]
        field = _JOINABLE[part["type"]]
        part[field] = "".join([part[field], *pieces])


def _continues(last: Streamed, role: str, part: dict[str, Any]) -> bool:
    last_role, last_part = last
    field = _JOINABLE.get(part["type"])
    return (
        field is not None
        and last_role == role
        and last_part["type"] == part["type"]
        and field in last_part
        and field in part
        and last_part.get("tool_call_id") == part.get("tool_call_id")
    )


class PartWriter:
    """Writes the parts of one episode. Used from one event loop; not re-entrant across loops."""

    def __init__(
        self, backend: LiveBackend, chat_id: UUID, episode: Episode, *, window_seconds: float
    ) -> None:
        self._backend = backend
        self._chat_id = chat_id
        self._episode = episode
        self._window = window_seconds
        self._seq = 0
        self._open_type = ""
        self._waiting: list[Streamed] = []
        self._all: list[Streamed] = []
        self._new_entries = 0
        self._new_bytes = 0
        self._folded_bytes = 0
        self._has_hole = False
        self._stopped = False
        self._quiet_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    @property
    def episode(self) -> Episode:
        return self._episode

    @property
    def entries(self) -> int:
        """How many entries the log has by now; folding makes one of all."""
        return self._new_entries

    def add(self, role: str, part: dict[str, Any]) -> None:
        """Queue a part; it is sent now, or with the next flush of the window."""
        if part["type"] != self._open_type:
            if _TIMED in (part["type"], self._open_type):
                self._waiting.append((role, {"type": _START, "at": rfc3339(now())}))
            self._open_type = part["type"]
        self._waiting.append((role, part))
        self._start_soon()

    def end_block(self, role: str, metadata: Any = None) -> None:
        """Queue the end of the block that was streamed last, with what its provider wants back."""
        at = rfc3339(now()) if self._open_type == _TIMED else ""
        self._open_type = ""
        self._waiting.append((role, {"type": _END, "metadata": metadata, "at": at}))
        self._start_soon()

    def _start_soon(self) -> None:
        if self._timer is None and self._flushing is None:
            self._start_in_time()

    def _start_in_time(self) -> None:
        """Flush now, or at the beat at which the window ends."""
        loop = asyncio.get_running_loop()
        if self._quiet_until <= loop.time():
            self._start_flush()
        else:
            self._timer = loop.call_at(_next_beat(self._quiet_until), self._start_flush)

    async def flush(self) -> None:
        """Send what is waiting and return when it, and all before it, has been sent."""
        while self._waiting or self._flushing is not None:
            if self._flushing is None:
                self._start_flush()
            flushing = self._flushing
            if flushing is not None:
                await asyncio.wait({flushing})  # neither cancels it nor raises what it raised

    async def retire(self) -> None:
        """Flush, then let the log expire: a stored message stands for it."""
        await self.flush()
        if self._seq:
            await self._backend.retire(self._chat_id, self._episode)

    def stop_timer(self) -> None:
        """Send nothing more on its own: the attempt has ended."""
        self._stopped = True
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_flush(self) -> None:
        self._cancel_timer()
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        self._quiet_until = loop.time() + self._window
        self._flushing = loop.create_task(self._send())
        self._flushing.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._flushing = None
        if not task.cancelled() and (error := task.exception()):
            log.warning("parts not sent", chat_id=str(self._chat_id), error=str(error))
        if self._waiting and self._timer is None and not self._stopped:
            self._start_in_time()

    async def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        parts = fold_parts(waiting)
        self._all.extend(parts)
        self._seq += 1
        entry = self._entry(parts)
        self._new_entries += 1
        self._new_bytes += _size(entry)
        had_hole, self._has_hole = self._has_hole, True
        appended = await self._backend.append(self._chat_id, entry)
        if not appended:
            metrics.count_dropped(1)
        self._has_hole = had_hole or not appended
        # Folding rewrites everything, so the text must have doubled before it is done again.
        full = self._new_bytes >= max(MAX_BYTES, self._folded_bytes)
        if full or self._new_entries >= MAX_ENTRIES or self._has_hole:
            await self._fold()

    async def _fold(self) -> None:
        self._all = fold_parts(self._all)
        folded = self._entry(self._all, folded=True)
        self._new_entries, self._new_bytes, self._folded_bytes = 0, 0, _size(folded)
        self._has_hole = not await self._backend.fold(self._chat_id, folded)

    def _entry(self, parts: list[Streamed], *, folded: bool = False) -> PartEntry:
        encoded: list[msgspec.Raw] = []
        ends: list[BlockEnd] = []
        starts: list[BlockStart] = []
        for role, part in parts:
            if part["type"] == _START:
                starts.append(BlockStart(len(encoded), part["at"]))
            elif part["type"] == _END:
                ends.append(BlockEnd(len(encoded), part["metadata"], part["at"]))
            else:
                encoded.append(msgspec.Raw(encode({"role": role, "part": part})))
        return PartEntry(
            episode=self._episode,
            seq=self._seq,
            parts=encoded,
            folded=folded,
            ends=ends,
            starts=starts,
        )


def _next_beat(instant: float) -> float:
    """Return the beat, of a loop's clock, at which a window ends that ends at `instant`."""
    return math.ceil((instant - _LATENESS_SECONDS) / BEAT_SECONDS) * BEAT_SECONDS


_streaming: set[PartWriter] = set()


@contextmanager
def streaming(writer: PartWriter) -> Iterator[None]:
    """Have the metrics show a writer while a model call is streamed through it."""
    _streaming.add(writer)
    try:
        yield
    finally:
        _streaming.discard(writer)


def _show_streams() -> None:
    metrics.show_streams([writer.entries for writer in list(_streaming)])


metrics.looked_at.append(_show_streams)


def _size(entry: PartEntry) -> int:
    return sum(len(bytes(raw)) for raw in entry.parts) + len(encode(entry.ends))
