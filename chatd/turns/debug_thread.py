"""The thread that writes debug runs: turns hand their writes over, and never wait for one.

Writes are done in the order they came in. One that fails or takes too long is given up; when too
many wait, new ones are dropped. Between writes the runs that go on are marked as alive.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import UUID

import structlog
from django.db import connection, connections

from chatd.chats.debug_writes import WRITE_SECONDS, touch

log = structlog.get_logger(__name__)

MOST_WAITING = 500
TOUCH_SECONDS = 60.0

Write = Callable[[], object]


class DebugThread:
    """Starts with its first write; it is a daemon, so it keeps no process from ending."""

    def __init__(self, *, most_waiting: int = MOST_WAITING) -> None:
        self._writes: queue.Queue[Write | threading.Event] = queue.Queue(most_waiting)
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._alive: set[UUID] = set()
        self._touched_at = time.monotonic()

    def hand_over(self, write: Write) -> bool:
        """Have something written soon; False when it was dropped. Never waits, never raises."""
        return self._put(write)

    def keep_alive(self, run_id: UUID) -> None:
        self._alive.add(run_id)

    def let_go(self, run_id: UUID) -> None:
        self._alive.discard(run_id)

    def settle(self, seconds: float) -> bool:
        """Wait until all that was handed over so far is done; False when that took too long."""
        if self._thread is None:
            return True
        done = threading.Event()
        return self._put(done) and done.wait(seconds)

    def _put(self, item: Write | threading.Event) -> bool:
        try:
            self._writes.put_nowait(item)
        except queue.Full:
            log.warning("debug write dropped", waiting=self._writes.qsize())
            return False
        self._start()
        return True

    def _start(self) -> None:
        with self._guard:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="chatd-debug-runs", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            with suppress(queue.Empty):
                match self._writes.get(timeout=TOUCH_SECONDS):
                    case threading.Event() as done:
                        done.set()
                    case write:
                        _attempt(write)
            if time.monotonic() - self._touched_at >= TOUCH_SECONDS:
                self._touched_at = time.monotonic()
                if self._alive:
                    _attempt(partial(touch, list(self._alive)))


def _attempt(write: Write) -> None:
    try:
        _limit_waiting()
        write()
    except Exception as error:  # noqa: BLE001 - nothing of a recording may hurt a turn
        # not the text of the error: databases quote the row there
        log.warning("debug run not recorded", error=type(error).__name__)
    finally:
        connections.close_all()  # to the pool, where there is one


def _limit_waiting() -> None:
    """Have this thread's connection wait no longer for a lock; PostgreSQL is told by the write."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {WRITE_SECONDS * 1000}")


debug_thread = DebugThread()
"""The one of this process."""
