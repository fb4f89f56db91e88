"""One event loop per worker process, on a thread of its own, that all turns share.

Celery threads hand a chat over and block until its turn has ended. The loop also renews the
leases of its turns in one statement, hears about interrupts, and sweeps for chats that were
forgotten: pending without a broker message, running without a live lease, waiting too long for
a client.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import structlog
import uvloop

from chatd.chats import runs
from chatd.core import metrics
from chatd.core.outages import DATABASE_AWAY, report_outage
from chatd.core.threads import in_database_thread
from chatd.live.backend import live_backend
from chatd.llm.client import create_session
from chatd.turns.debug_thread import debug_thread
from chatd.turns.fairness import FairShares, who_waits
from chatd.turns.runner import StopCause, TurnRunner
from chatd.turns.side_calls import SideCalls
from chatd.turns.sweep import sweep
from config.env import env

log = structlog.get_logger(__name__)

_RELEASE_SECONDS = 20.0
_STOP_SECONDS = _RELEASE_SECONDS + 5
_SETTLE_SECONDS = 5.0
_GAUGE_SECONDS = 5.0
"""How old gauges of this process may be where another one shows them."""


class Runtime:
    """The turns of this process. `start` and `stop` are called once each, from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="chatd-turns", daemon=True)
        self._stopping = False
        self._guard = threading.Lock()
        self._running: set[Future[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._side_calls: SideCalls | None = None
        self._resources = AsyncExitStack()
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._leased: dict[UUID, TurnRunner] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._shares = FairShares(per_person=env.turn_slots_per_person)
        self._busy = 0
        self._somebody_waits = False

    def start(self) -> None:
        self._thread.start()
        self._submit(self._open()).result()

    def run_turn(self, chat_id: UUID, owner_id: UUID) -> bool:
        """Run the turn of a pending chat, or of others that are to start first, to their ends.

        Returns False when the process is stopping and took nothing.
        """
        with self._guard:
            if self._stopping:
                return False
            running = self._submit(self._serve(chat_id, owner_id))
            self._running.add(running)
        try:
            running.result()
        except (FutureCancelledError, asyncio.CancelledError):
            pass  # the loop has ended
        finally:
            self._running.discard(running)
        return True

    def stop(self) -> None:
        """Give running turns back to pending, then end the loop. Safe to call twice."""
        with self._guard:
            if self._stopping:
                return
            self._stopping = True
        try:
            self._submit(self._close()).result(_STOP_SECONDS)
        except TimeoutError:
            log.error("turns did not stop in time; their leases will expire")
        for running in list(self._running):
            running.cancel()  # nobody may wait for a loop that has ended
        debug_thread.settle(_SETTLE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)

    # on the loop

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _submit(self, coroutine: Coroutine[Any, Any, None]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _open(self) -> None:
        self._session = await self._resources.enter_async_context(create_session())
        self._side_calls = SideCalls(self._session)
        await self._resources.enter_async_context(
            live_backend().listen_for_cancels(self._hear_cancel)
        )
        self._loops = [
            asyncio.create_task(self._every(env.lease_renew_seconds, self._renew)),
            asyncio.create_task(self._every(env.sweep_seconds, partial(in_database_thread, sweep))),
            asyncio.create_task(self._every(_GAUGE_SECONDS, _refresh_gauges)),
        ]

    async def _close(self) -> None:
        for task in self._loops:
            task.cancel()
        turns = dict(self._tasks)
        for runner_id in turns:
            self._stop_turn(runner_id, StopCause.SHUTDOWN)
        if self._side_calls is not None:
            await self._side_calls.stop()
        if turns:
            await asyncio.wait(turns.values(), timeout=_RELEASE_SECONDS)
        await self._resources.aclose()

    async def _serve(self, chat_id: UUID, owner_id: UUID) -> None:
        """Use one slot: for the chat at hand if that is fair, then for those who wait."""
        shares = self._shares
        self._busy += 1
        try:
            is_free = self._busy < env.turn_slots and not self._somebody_waits
            if is_free and shares.has_room_for(owner_id):
                await self._run_one(chat_id, owner_id)
            else:
                self._somebody_waits = True
            while self._somebody_waits and not self._stopping:
                waiting = await in_database_thread(who_waits)
                self._somebody_waits = bool(waiting)
                chosen = shares.choose(waiting)
                if chosen is None:
                    return  # who waits holds what one may hold: the end of such a turn looks again
                await self._run_one(chosen[1], chosen[0])
        except DATABASE_AWAY as error:
            report_outage(error, during="taking a turn")  # sweeps find it again
        finally:
            self._busy -= 1

    async def _run_one(self, chat_id: UUID, owner_id: UUID) -> None:
        """Run a turn as a task of its own: cancelling it must not end the slot."""
        self._shares.start(owner_id)
        turn = asyncio.create_task(self._run_turn(chat_id))
        try:
            await asyncio.wait({turn})
            if not turn.cancelled():
                turn.result()
        finally:
            self._shares.end(owner_id)

    async def _run_turn(self, chat_id: UUID) -> None:
        runner_id = uuid4()
        task = asyncio.current_task()
        assert task is not None
        self._tasks[runner_id] = task
        try:
            await self._acquire_and_run(chat_id, runner_id)
        finally:
            self._leased.pop(runner_id, None)
            self._tasks.pop(runner_id, None)

    async def _acquire_and_run(self, chat_id: UUID, runner_id: UUID) -> None:
        assert self._session is not None
        assert self._side_calls is not None
        runner = TurnRunner(chat_id, runner_id, live_backend(), self._session)
        self._leased[runner_id] = runner
        acquiring = asyncio.ensure_future(
            in_database_thread(runs.acquire, chat_id, runner_id, lease_seconds=env.lease_seconds)
        )
        try:
            chat = await asyncio.shield(acquiring)
            if chat is not None:
                self._side_calls.turn_began(chat)
                with metrics.running_turn():
                    await runner.run(chat)
                self._side_calls.turn_ended(chat, runner.latest)
        except asyncio.CancelledError:
            # A transaction that is under way ends on its own; what it took is given back.
            await asyncio.gather(acquiring, return_exceptions=True)
            await self._give_back(runner)
            raise

    async def _give_back(self, runner: TurnRunner) -> None:
        log.info("turn stopped", chat_id=str(runner.chat_id), cause=str(runner.stop_cause))
        if runner.stop_cause is StopCause.SHUTDOWN:
            await in_database_thread(runs.release, runner.chat_id, runner.runner_id)

    # control

    def _hear_cancel(self, runner_id: UUID) -> None:
        self._loop.call_soon_threadsafe(self._stop_turn, runner_id, StopCause.INTERRUPTED)

    def _stop_turn(self, runner_id: UUID, cause: StopCause) -> None:
        task, runner = self._tasks.get(runner_id), self._leased.get(runner_id)
        if task is not None and runner is not None and runner.stop_cause is None:
            runner.stop_cause = cause
            task.cancel()

    async def _renew(self) -> None:
        held = [runner_id for runner_id, runner in self._leased.items() if runner.is_running]
        if not held:
            return
        alive = await in_database_thread(runs.renew_leases, held, lease_seconds=env.lease_seconds)
        for runner_id in set(held) - alive:
            runner = self._leased.get(runner_id)
            if runner is not None and runner.is_running:
                self._stop_turn(runner_id, StopCause.LEASE_LOST)

    async def _every(self, seconds: float, work: Any) -> None:
        """Do `work` at once and again and again; a failure is logged and the next round tries."""
        while True:
            try:
                await work()
            except DATABASE_AWAY as error:
                report_outage(error, during="periodic work")
            except Exception:
                log.exception("periodic work failed", work=getattr(work, "__name__", "sweep"))
            await asyncio.sleep(seconds)


async def _refresh_gauges() -> None:
    metrics.refresh()


_runtime: Runtime | None = None
_guard = threading.Lock()


def process_runtime() -> Runtime:
    """Return the runtime of this process, started."""
    global _runtime
    with _guard:
        if _runtime is None:
            started = Runtime()
            started.start()
            _runtime = started
        return _runtime


def stop_process_runtime() -> None:
    """Stop the runtime of this process, if it was started; it takes no turns any more."""
    runtime = _runtime
    if runtime is not None:
        runtime.stop()
