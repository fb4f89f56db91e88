"""A database that is away: what counts as that, what is answered, and saying so once.

Everything that works by itself (turns, sweeps, sockets) tries again later; its log says in one line
every few seconds that it could not, instead of one traceback for each try.
"""

import threading
import time

import structlog
from django.db import InterfaceError, OperationalError, connection

from chatd.core.errors import ChatdError, ErrorCode

log = structlog.get_logger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)
"""What Django raises for a connection that cannot be had, or is lost in the middle of something."""

RETRY_AFTER_SECONDS = 1
QUIET_SECONDS = 5.0

_guard = threading.Lock()
_quiet_until = 0.0
_unsaid = 0


def database_unavailable() -> ChatdError:
    """Return the refusal of whatever needs the database now."""
    return ChatdError(
        ErrorCode.UNAVAILABLE,
        "The database is not available right now. Try again.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def report_outage(error: BaseException, *, during: str) -> None:
    """Log that the database could not be used; what follows within seconds is only counted."""
    global _quiet_until, _unsaid
    instant = time.monotonic()
    with _guard:
        if instant < _quiet_until:
            _unsaid += 1
            return
        _quiet_until, unsaid, _unsaid = instant + QUIET_SECONDS, _unsaid, 0
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    log.warning("database unavailable", during=during, error=reason, unsaid=unsaid)


def is_database_answering() -> bool:
    """Tell whether a new connection of this thread answers. Not inside of a transaction."""
    try:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DATABASE_AWAY:
        return False
    return True
