"""What a provider's HTTP answer says about a failure: its words, its status, how long to wait.

Belongs here: reading bodies and headers, in any of the shapes that servers use. Does not belong
here: what the words mean (`error_rules`), the error type (`errors`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

MAX_BODY_BYTES = 64 * 1024
"""A longer body is not read: no error takes so much."""

MAX_RETRY_AFTER_SECONDS = 3600.0
"""A turn that waits longer would only hold a slot: failing tells people more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """`message` is for people, `words` is all that is worth matching, `status` 0 if not told."""

    message: str = ""
    words: str = ""
    status: int = 0


def read_error_body(body: bytes | str) -> ErrorBody:
    """Return what a body says; nothing for HTML and for more than `MAX_BODY_BYTES`."""
    raw = body.encode() if isinstance(body, str) else body
    if len(raw) > MAX_BODY_BYTES:
        return ErrorBody()
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        plain = raw.decode("utf-8", "replace").strip()
        return ErrorBody() if plain.startswith("<") else ErrorBody(message=plain, words=plain)
    fields = _error_fields(document)
    texts = (fields.get(key) for key in ("message", "detail", "error"))
    message = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    extra = [str(fields[key]) for key in ("type", "code", "status") if fields.get(key)]
    return ErrorBody(
        message=message, words=" ".join([message, *extra]), status=_status(fields.get("code"))
    )


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return how long the provider asks to wait, in seconds, or None; an hour at the most.

    `retry-after-ms` wins over `retry-after`, which holds seconds or an HTTP date.
    """
    found = {name.lower(): value for name, value in headers.items()}
    millis = _number(found.get("retry-after-ms", ""))
    if millis is not None:
        return min(millis / 1000, MAX_RETRY_AFTER_SECONDS)
    value = found.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None:
        return min(seconds, MAX_RETRY_AFTER_SECONDS)
    at = _date(value)
    if at is None:
        return None
    asked = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, asked), MAX_RETRY_AFTER_SECONDS)


def _error_fields(document: Any) -> dict[str, Any]:
    """Find the object that describes the error: servers wrap it in `error`, a list, or nothing."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return {}
    inner = document.get("error")
    return inner if isinstance(inner, dict) else document


def _status(code: Any) -> int:
    return code if isinstance(code, int) and 400 <= code <= 599 else 0


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # years with many digits do not fit
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
