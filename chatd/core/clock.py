"""Time: one source for "now", and the text form that goes on the wire."""

from datetime import UTC, datetime

ZERO_TIME = "0001-01-01T00:00:00Z"
"""What Go clients send and expect for a time that is not set."""


def now() -> datetime:
    """Return the current instant, aware, in UTC, with microseconds."""
    return datetime.now(UTC)


def rfc3339(instant: datetime) -> str:
    """Return `instant` as RFC 3339 text in UTC with a `Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
