"""The limit on how long a provider may say nothing in the middle of an answer."""

import asyncio

import aiohttp


class SilenceGuard:
    """Reads a body, and gives up when nothing was heard for too long.

    There is one timer for the whole body: one per read would cost more than the read. Only waiting
    counts, the time that the consumer takes does not.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, *, deadline: float, seconds: float
    ) -> None:
        self.has_expired = False
        self._content = response.content
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._seconds = seconds
        self._is_waiting = False
        self._timer = self._loop.call_at(deadline, self._check)

    async def read(self) -> bytes:
        """Return what came; empty at the end. Raises TimeoutError when nothing comes."""
        self._is_waiting = True
        try:
            return await self._content.readany()
        finally:
            self._is_waiting = False

    def heard(self) -> None:
        """Begin anew to count: the provider said something, and it was dealt with."""
        self._deadline = self._loop.time() + self._seconds

    def stop(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._check)
        elif self._is_waiting:
            self.has_expired = True
            self._content.set_exception(TimeoutError("the provider is silent"))
        else:  # the consumer is at work; what it does not hear is not counted
            self._timer = self._loop.call_later(self._seconds, self._check)
