"""Storing what a model call produced: it is paid for, so a database that is away is waited for."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from chatd.core.outages import DATABASE_AWAY
from chatd.core.threads import in_database_thread

T = TypeVar("T")

log = structlog.get_logger(__name__)

_PAUSES = (0.5, 1, 2, 4)
"""Seconds between tries; together well within a lease."""


async def stored(change: Callable[..., T], *args: Any) -> T:
    """Make a fenced write, again while the database is away. Raises what the last try raises.

    Doing it twice is safe: after a write that did succeed the fence refuses the next one.
    """
    for pause in _PAUSES:
        try:
            return await in_database_thread(change, *args)
        except DATABASE_AWAY as error:
            log.warning("step not stored yet", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
    return await in_database_thread(change, *args)
