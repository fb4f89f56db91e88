"""Database work from asyncio code: a dedicated pool of threads, never the async ORM.

Each call runs on one of `CHATD_DATABASE_THREADS` threads and gives its connection back when it
is done: on PostgreSQL to Django's pool; on SQLite the thread keeps its own, which costs nothing
and holds no lock between transactions.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from django.db import connections

from config.env import env

P = ParamSpec("P")
T = TypeVar("T")

_PATIENT_THREADS = 8


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(env.database_threads, thread_name_prefix="chatd-db")


@lru_cache(maxsize=1)
def _patient_executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_PATIENT_THREADS, thread_name_prefix="chatd-wait")


async def in_database_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` on a database thread and return its result; exceptions pass through."""
    call = partial(copy_context().run, partial(_with_connection, function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_executor(), call)


async def in_patient_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run database work that also waits for other servers, like `in_database_thread`.

    It has threads of its own, so that a server that hangs keeps nobody from the database.
    """
    call = partial(copy_context().run, partial(_with_connection, function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_patient_executor(), call)


def _with_connection(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite":
            connection.close_if_unusable_or_obsolete()
    try:
        return function(*args, **kwargs)
    finally:
        give_back_connections()


def give_back_connections() -> None:
    """Return this thread's pooled connections; keep SQLite's open."""
    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite" and not connection.in_atomic_block:
            connection.close()


def close_connections() -> None:
    """End this thread's connections, because the thread ends."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
