"""Running an aiohttp application beside a test, on its loop or in a thread of its own.

Belongs here: starting, stopping, counting connections that clients drop. Does not belong here:
what any fake answers.
"""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

START_SECONDS = 10.0
_GRACE_SECONDS = 0.05  # for handlers still running at the end of a test


class LoopbackServer:
    """Serve `app()` on `host:port` (port 0 picks a free one).

    As `with` it runs in a thread, for synchronous tests and other processes' clients. As
    `async with` it runs on the current loop, so that handlers can await the test's own events.
    """

    def __init__(
        self, app: Callable[[], web.Application], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._dropped = 0
        self._dropped_changed = threading.Condition()

    @property
    def base_url(self) -> str:
        """The address clients are given, without a trailing slash."""
        return f"http://{self._host}:{self._port}"

    @property
    def disconnects(self) -> int:
        """How many requests ended because the client went away."""
        return self._dropped

    def wait_for_disconnects(self, count: int = 1, *, timeout_seconds: float = 60.0) -> bool:
        """Block until `count` clients have gone away; False if the time runs out first."""
        with self._dropped_changed:
            return self._dropped_changed.wait_for(lambda: self._dropped >= count, timeout_seconds)

    async def disconnected(self, count: int = 1, *, timeout_seconds: float = 60.0) -> bool:
        """Wait like `wait_for_disconnects` without blocking the loop."""
        return await asyncio.to_thread(
            self.wait_for_disconnects, count, timeout_seconds=timeout_seconds
        )

    def start(self) -> Self:
        """Serve from a daemon thread.

        Raises: OSError when the address is taken.
        """
        ready, failures = threading.Event(), list[BaseException]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready, failures), daemon=True)
        self._thread.start()
        ready.wait(START_SECONDS)
        if failures:
            self._thread.join()
            raise failures[0]
        return self

    def stop(self) -> None:
        """End the thread; connections still open are cut."""
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    def client_dropped(self) -> None:
        """Count a client that went away; called by handlers."""
        if self._closing:
            return
        with self._dropped_changed:
            self._dropped += 1
            self._dropped_changed.notify_all()

    def _run(self, ready: threading.Event, failures: list[BaseException]) -> None:
        assert self._loop is not None
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._open())
        except OSError as exc:
            failures.append(exc)
        finally:
            ready.set()
        if not failures:
            loop.run_forever()
        loop.run_until_complete(self._close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    async def _open(self) -> None:
        # cancelling handlers makes a dropped connection visible while a handler waits
        self._runner = web.AppRunner(
            self._app(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=_GRACE_SECONDS,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        self._closing = True
        if self._runner:
            await self._runner.cleanup()
