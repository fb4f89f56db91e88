"""Two transactions at once, in an order that is chosen and not left to luck.

`overlap(first, second)` runs each on a thread and connection of its own: `first` takes its lock
and stops there; only then does `second` start, and `first` goes on when `second` has come to
where it waits. So `second` always decides on what `first` left behind.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from chatd.chats import properties, states, titles, transition

SECONDS = 60.0


class Overlap:
    """The outcome of both: what was returned, or the exception that was raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._locked = threading.Event()
        self._second_comes = threading.Event()
        self._first_thread: int | None = None
        self._holds = False
        lock_chat = self.holding(transition.lock_chat)
        for module in (transition, states, properties, titles):
            monkeypatch.setattr(module, "lock_chat", lock_chat)

    def holding(self, lock: Callable[..., Any]) -> Callable[..., Any]:
        """Return what takes a lock and, in the first transaction, stops there."""

        def take(*args: Any, **kwargs: Any) -> Any:
            taken = lock(*args, **kwargs)
            if threading.get_ident() == self._first_thread and not self._holds:
                self._holds = True
                self._locked.set()
                assert self._second_comes.wait(SECONDS)
                wait_until_somebody_waits()
            return taken

        return take

    def run(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        outcomes: dict[str, Any] = {}

        def run_first() -> None:
            self._first_thread = threading.get_ident()
            outcomes["first"] = _outcome(first)
            self._locked.set()

        def run_second() -> None:
            assert self._locked.wait(SECONDS)
            assert self._holds, "the first never took the lock"
            self._second_comes.set()
            outcomes["second"] = _outcome(second)

        threads = [threading.Thread(target=run_first), threading.Thread(target=run_second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS * 2)
            assert not thread.is_alive()
        return outcomes["first"], outcomes["second"]


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return error
    finally:
        connections.close_all()


def wait_until_somebody_waits() -> None:
    """Return when another transaction waits for a lock of this one.

    SQLite cannot tell, and need not: its only write lock is held from the first statement on, so
    whoever comes later sees what this transaction leaves.
    """
    if connection.vendor == "sqlite":
        return
    pause = threading.Event()
    for _ in range(int(SECONDS * 100)):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return
        pause.wait(0.01)
    raise AssertionError("the second transaction never came to the lock")


@contextmanager
def once_before(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, change: Callable[[], Any]
) -> Iterator[list[int]]:
    """Make `change` happen right before the next call of a function, and count its calls."""
    real = getattr(module, name)
    calls: list[int] = []

    def hooked(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            change()
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, hooked)
        yield calls
