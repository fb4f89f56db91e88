"""A bound on what one process does at a time: what is over it waits a while, or is told to.

Without a bound, a thousand requests at once become a thousand threads that all are slow, and
everybody's client gives up. With it the first ones are answered at once, the next ones soon, and
the rest hears `503` with `Retry-After` while the process stays well.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatd.core.errors import ChatdError, ErrorCode

RETRY_AFTER_SECONDS = 2


class Gate:
    """Lets `at_once` through; up to `waiting` more wait for at most `patience_seconds`.

    Used from one event loop.
    """

    def __init__(self, *, at_once: int, waiting: int, patience_seconds: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._most_waiting = waiting
        self._patience = patience_seconds
        self._waiting = 0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Hold a place. Raises ChatdError 503 when there is none, nor one soon."""
        if self._free.locked() and self._waiting >= self._most_waiting:
            raise busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


def busy() -> ChatdError:
    """Return the refusal of one thing too many."""
    return ChatdError(
        ErrorCode.UNAVAILABLE,
        "The server is busy. Try again in a moment.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
