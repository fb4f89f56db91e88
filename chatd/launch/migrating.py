"""Migrating a database that several hosts start on: one of them does it, the others wait.

The order of an upgrade is schema first, then code: what runs may meet a schema that is newer than
itself, never one that is older (docs/operating.md).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import structlog
from django.core.management import CommandError
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from psycopg.errors import LockNotAvailable

from chatd.core.threads import give_back_connections
from config.env import env

log = structlog.get_logger(__name__)

_LOCK = crc32(b"chatd migrations")
_POLL_SECONDS = 1.0

_held = False


@contextmanager
def migration_lock() -> Iterator[None]:
    """Hold the one right to migrate this PostgreSQL database; it may be taken again inside.

    A connection of its own holds it, so a process that dies leaves none behind. Inside, no
    statement waits long for a table. Raises CommandError when another process keeps it too long.
    """
    global _held
    if connection.vendor != "postgresql" or _held:
        yield
        return
    holder = connection.copy()
    try:
        with holder.cursor() as cursor:
            _take(cursor)
            _held = True
            try:
                with _short_waits_for_tables():
                    yield
            finally:
                _held = False
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    finally:
        holder.close()


@contextmanager
def _short_waits_for_tables() -> Iterator[None]:
    """Give up on a table that is in use: whoever waits for one keeps all others from it, too."""
    _set_lock_timeout(f"{int(env.migration_lock_seconds * 1000)}ms")
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise CommandError(_TABLE_IN_USE) from None
        raise
    finally:
        if not connection.needs_rollback and connection.connection is not None:
            _set_lock_timeout("0")


def _set_lock_timeout(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [value])


_TABLE_IN_USE = (
    "A table that has to change was in use for too long, by a backup or a long report, say. What"
    " was migrated so far stays, the rest was undone: run it again later."
)


def _take(cursor: Any) -> None:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
    if cursor.fetchone()[0]:
        return
    wait = env.migration_wait_seconds
    log.info("another process migrates the database: waiting for it", at_most_seconds=wait)
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        time.sleep(min(_POLL_SECONDS, wait))
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if cursor.fetchone()[0]:
            return
    raise CommandError(
        f"Another process has been migrating the database for {wait:g} seconds. Look at what it"
        " does, or raise CHATD_MIGRATION_WAIT_SECONDS; then run it again."
    )


def missing_migrations() -> int:
    """Return how many migrations of this version the database lacks. Raises DatabaseError."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def wait_until_migrated() -> None:
    """Return when the database has every migration. Raises SystemExit after a bounded wait."""
    deadline, told = time.monotonic() + env.migration_wait_seconds, ""
    while why := _what_is_missing():
        if why != told:
            log.warning("not started yet: the database is not ready", why=why)
            told = why
        if time.monotonic() > deadline:
            log.error("not started: the database is not ready", why=why)
            raise SystemExit(1)
        time.sleep(_POLL_SECONDS)


def _what_is_missing() -> str:
    try:
        missing = missing_migrations()
    except DatabaseError:
        return "it cannot be reached"
    finally:
        give_back_connections()
    return f"it lacks {missing} migrations: run manage.py prepare" if missing else ""
