"""Time: one source for "now", and the text form that goes on the wire."""

import re
from datetime import UTC, datetime, timedelta

ZERO_TIME = "0001-01-01T00:00:00Z"
"""What Go clients send and expect for a time that is not set."""


def now() -> datetime:
    """Return the current instant, aware, in UTC, with microseconds."""
    return datetime.now(UTC)


def rfc3339(instant: datetime) -> str:
    """Return `instant` as RFC 3339 text in UTC with a `Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:[0-5]\d)", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)


def parse_rfc3339(text: str) -> datetime:
    """Return the instant of a text, rounded up to microseconds. Raises ValueError.

    What is stored has microseconds: the same rows are before an instant and before it rounded up.
    """
    found = _RFC3339.fullmatch(text.upper())
    if not found:
        raise ValueError("no instant of RFC 3339")
    seconds, fraction, offset = found.groups("")
    whole, finer = fraction[:6].ljust(6, "0"), fraction[6:]
    try:
        instant = datetime.fromisoformat(f"{seconds}.{whole}{offset}").astimezone(UTC)
        return instant + _MICROSECOND if finer.strip("0") else instant
    except OverflowError:
        raise ValueError("an instant beyond the ends of time") from None
