"""One tick of what time does: retention of chats, files and debug runs, then auto-archive.

The order gives chats that were just archived the whole of the retention. A setting that cannot be
read stops what goes by it in this tick, and nothing else.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from django.db import DatabaseError

from chatd.chats.digests import store_digests
from chatd.chats.retention import (
    Archived,
    archive_forgotten,
    purge_chats,
    purge_debug_runs,
    purge_files,
)
from chatd.core import metrics
from chatd.core.clock import now
from chatd.preferences.registry import AUTO_ARCHIVE_DAYS, DEBUG_RETENTION_DAYS, RETENTION_DAYS
from chatd.preferences.selectors import site_values
from chatd.preferences.setting import Setting

log = structlog.get_logger(__name__)


def purge() -> None:
    """Delete and archive what is due, at most a thousand of each."""
    with metrics.purge_round():
        _purge()


def _purge() -> None:
    days = _read(RETENTION_DAYS, AUTO_ARCHIVE_DAYS)
    if days is not None:
        retention, idle = days
        if retention:
            before = now() - timedelta(days=retention)
            _run("chats deleted", "chats", purge_chats, before)
            _run("files deleted", "chat_files", purge_files, before)
        if idle:
            _archive(idle, retention)
    debug = _read(DEBUG_RETENTION_DAYS)
    if debug and debug[0]:
        before = now() - timedelta(days=debug[0])
        _run("debug runs deleted", "chat_debug_runs", purge_debug_runs, before)


def archive_cutoff(idle_days: int, at: datetime) -> datetime:
    """Return the midnight (UTC) before which nobody may have written in a forgotten chat."""
    day = (at - timedelta(days=idle_days)).astimezone(UTC)
    return day.replace(hour=0, minute=0, second=0, microsecond=0)


def _archive(idle_days: int, retention_days: int) -> None:
    archived: list[Archived] = []
    try:
        # One by one, so that those before something went wrong are told of, too.
        archived.extend(archive_forgotten(archive_cutoff(idle_days, now())))
    finally:
        store_digests(archived, idle_days=idle_days, retention_days=retention_days)
    if archived:
        metrics.count_archived(sum(each.chats for each in archived))
        log.info("chats archived", count=len(archived))


def _run(
    what: str, record_type: str, purge_due: Callable[[datetime], int], before: datetime
) -> None:
    count = purge_due(before)
    metrics.count_purged(record_type, count)
    if count:
        log.info(what, count=count, before=before.isoformat())


def _read(*settings: Setting[int]) -> list[int] | None:
    """Return settings, None where one cannot be read: nothing is deleted by a guess."""
    try:
        values = site_values(*settings)
    except DatabaseError:
        log.exception("retention settings not read")
        return None
    stored = [values.stored(setting) for setting in settings]
    if any(each.is_malformed for each in stored):
        log.error("retention settings malformed", keys=[each.key for each in settings])
        return None
    return [each.value for each in stored]
