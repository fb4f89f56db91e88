"""What a turn has made in the background: the title of a new chat, the label of its end.

Tasks on the loop that turns share. No turn waits for them, they use no slot, and what goes wrong
in them is logged and forgotten. Belongs here: starting them, how many ask at once, ending them.
Does not belong here: what they do (`first_titles`, `labels`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp
import structlog

from chatd.chats.models import Chat, Status
from chatd.chats.runs import Progress
from chatd.core.context import bind_correlation
from chatd.turns.first_titles import is_new, make_first_title
from chatd.turns.labels import make_label
from chatd.turns.short_calls import Question, Words, first_words
from config.env import env

log = structlog.get_logger(__name__)

AT_ONCE = 32
"""Questions to models that one process has open; the others wait within their time."""

STOP_SECONDS = 3.0

PATIENCE_SECONDS = 5.0
"""How long a title waits for the turn to leave the provider alone: the first words of an answer
come first."""

_GOES_ON = frozenset({Status.REQUIRES_ACTION, Status.PENDING})

Work = Callable[[], Coroutine[Any, Any, None]]


class SideCalls:
    """The background work of one process. All methods are called on its loop."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._free = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._rests: dict[UUID, asyncio.Event] = {}
        self._stopping = False

    def turn_began(self, chat: Chat) -> None:
        """Have a new chat named, if it is one: when it rests, or after `PATIENCE_SECONDS`."""
        if not env.side_calls or not is_new(chat):
            return
        rests = self._rests[chat.pk] = asyncio.Event()
        work = partial(make_first_title, chat, self._ask, partial(_within, PATIENCE_SECONDS, rests))
        task = self._start(work, chat.pk)
        if task is not None:
            task.add_done_callback(lambda _: self._rests.pop(chat.pk, None))

    def turn_ended(self, chat: Chat, outcome: Progress | None) -> None:
        """Have a turn labelled if it ended well and nothing follows; sub-chats have no labels."""
        goes_on = outcome is not None and outcome.status in _GOES_ON
        if chat.pk in self._rests and not goes_on:
            self._rests[chat.pk].set()
        if not env.side_calls or outcome is None or chat.parent_chat_id is not None:
            return
        if outcome.status == Status.WAITING:
            self._start(partial(make_label, chat.pk, outcome.updated_at, self._ask), chat.pk)

    async def stop(self) -> None:
        """Cancel what is under way and start nothing any more; takes at most `STOP_SECONDS`."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            if late:
                log.warning("side calls did not stop in time", count=len(late))

    def _start(self, work: Work, chat_id: UUID) -> asyncio.Task[None] | None:
        if self._stopping:
            return None
        task = asyncio.create_task(_logged(work, chat_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _ask(self, question: Question, *, seconds: float) -> Words:
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except TimeoutError:
            log.warning("too many side calls; this one is left out")
            return Words(text="", costs=())
        try:
            return await first_words(question, deadline=deadline, session=self._session)
        finally:
            self._free.release()


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Return when an event has come, or after `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _logged(work: Work, chat_id: UUID) -> None:
    bind_correlation(chat_id=str(chat_id))
    try:
        await work()
    except Exception:
        log.exception("side call failed")
