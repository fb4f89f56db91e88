"""Everything that can go wrong in a model call, as one error type with a kind.

Belongs here: the exception, reading provider errors and transport exceptions. Does not belong
here: the rules (`error_rules`), retry loops, HTTP answers of our own API, logging.
"""

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from chatd.llm import providers
from chatd.llm.error_rules import ErrorKind, capitalised, has, kind_of, sentences, status_in
from chatd.llm.types import Provider

__all__ = [
    "ErrorKind",
    "LLMError",
    "broken_stream",
    "classify",
    "error_of",
    "redact",
    "retry_after_seconds",
    "unreadable_answer",
]

MAX_DETAIL_CHARS = 500
MAX_BODY_BYTES = 64 * 1024

_CANCELED = "The request was canceled before it completed."
_MISMATCH_MESSAGE = (
    "The chat continuation failed due to an internal state mismatch. "
    "This is not a configuration or billing issue."
)
_INTERRUPTED = ("chat interrupted", "request interrupted", "operation interrupted")
_MISMATCH = (
    "no tool output found for function call",
    "was provided without its required 'reasoning' item",
)
_CLOSED_EARLY = (
    "anthropic stream closed before message_stop",
    "openai responses stream closed before terminal event",
)

HttpFailure = tuple[int, bytes | str, Mapping[str, str]]


_RETRYABLE = frozenset(
    {ErrorKind.OVERLOADED, ErrorKind.RATE_LIMIT, ErrorKind.TIMEOUT, ErrorKind.STARTUP_TIMEOUT}
)


class LLMError(Exception):
    """A failed model call: what to tell people, and whether trying again can help.

    `message` is for users, `detail` (at most 500 characters) is the provider's own text,
    `retry_message` is the shorter text of retry notices, `provider` is the name of a kind.
    """

    def __init__(
        self,
        *,
        kind: ErrorKind,
        message: str,
        detail: str = "",
        provider: str = "",
        retryable: bool = False,
        status_code: int = 0,
        retry_after_seconds: float | None = None,
        retry_message: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.detail = shorten(detail)
        self.provider = provider
        self.retryable = retryable
        self.status_code = status_code
        self.retry_after_seconds = retry_after_seconds
        self.retry_message = retry_message or message

    def __repr__(self) -> str:
        return (
            f"LLMError(kind={self.kind.value!r}, message={self.message!r}, "
            f"status_code={self.status_code}, retryable={self.retryable})"
        )


def shorten(text: str, limit: int = MAX_DETAIL_CHARS) -> str:
    """Return `text` cut to `limit` characters, the last one an ellipsis if it was cut."""
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact(text: str, provider: Provider | None) -> str:
    """Return `text` without the provider's key and without values of secret-looking headers."""
    if provider is None:
        return text
    secrets = [provider.api_key.strip()]
    secrets += [value for name, value in provider.headers.items() if _looks_secret(name)]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return text


def error_of(
    kind: ErrorKind,
    provider: Provider | None,
    *,
    detail: str = "",
    status_code: int = 0,
    retryable: bool | None = None,
    retry_after_seconds: float | None = None,
    message: str = "",
) -> LLMError:
    """Return the error of `kind` with its standard sentences, unless `message` overrides them."""
    by_provider = bool(status_code or retryable)
    advice, short = sentences(kind, _display_name(provider), by_provider=by_provider)
    return LLMError(
        kind=kind,
        message=message or advice,
        detail=redact(detail, provider),
        provider=provider.kind if provider else "",
        retryable=kind in _RETRYABLE if retryable is None else retryable,
        status_code=status_code,
        retry_after_seconds=retry_after_seconds,
        retry_message=message or short,
    )


def broken_stream(provider: Provider | None, detail: str = "") -> LLMError:
    """Return the error of a stream that ended before the answer did; retryable."""
    name = capitalised(_display_name(provider))
    message = f"{name} stream closed unexpectedly before the response completed."
    return error_of(ErrorKind.TIMEOUT, provider, detail=detail, message=message)


def unreadable_answer(provider: Provider | None, detail: str = "") -> LLMError:
    """Return the error of an answer that is none of this wire; trying again would not help."""
    message = f"{capitalised(_display_name(provider))} sent an answer that cannot be read."
    return error_of(ErrorKind.GENERIC, provider, detail=detail, message=message)


def classify(failure: BaseException | HttpFailure, provider: Provider | None = None) -> LLMError:
    """Return the error for an exception or an HTTP failure `(status, body, headers)`.

    A status of 0 means none is known, as for errors inside a stream. The first matching rule of
    `error_rules` wins; an LLMError is returned as it is.
    """
    if isinstance(failure, LLMError):
        return failure
    if isinstance(failure, BaseException):
        return _classify_exception(failure, provider)
    status, body, headers = failure
    message, words = read_error_body(body)
    status = status or _embedded_status(body) or status_in(words)
    text = f"{_phrase(status)} {words}".lower()
    return _classify_text(
        text, provider, status=status, detail=message, retry_after=retry_after_seconds(headers)
    )


MAX_RETRY_AFTER_SECONDS = 3600.0
"""A turn that waits longer would only hold a slot: failing tells people more."""


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
    if not value:
        return None
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    asked = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, asked), MAX_RETRY_AFTER_SECONDS)


def read_error_body(body: bytes | str) -> tuple[str, str]:
    """Return the provider's message and all words worth matching; both empty for HTML."""
    raw = body.encode() if isinstance(body, str) else body
    if len(raw) > MAX_BODY_BYTES:
        return "", ""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        plain = raw.decode("utf-8", "replace").strip()
        return ("", "") if plain.startswith("<") else (plain, plain)
    fields = _error_fields(document)
    message = next(
        (fields[key] for key in ("message", "detail", "error") if isinstance(fields.get(key), str)),
        "",
    )
    extra = [str(fields[key]) for key in ("type", "code", "status") if fields.get(key)]
    return message, " ".join([message, *extra])


def _classify_exception(exc: BaseException, provider: Provider | None) -> LLMError:
    if isinstance(exc, asyncio.CancelledError):
        return error_of(ErrorKind.GENERIC, provider, message=_CANCELED)
    if isinstance(exc, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        # no detail: the address may carry credentials
        return error_of(ErrorKind.CONFIG, provider)
    if isinstance(exc, aiohttp.ClientError):
        return error_of(ErrorKind.TIMEOUT, provider, detail=str(exc))
    if isinstance(exc, TimeoutError):
        return error_of(
            ErrorKind.TIMEOUT,
            provider,
            retryable=False,
            message="The request timed out before it completed.",
        )
    if isinstance(exc, OSError):
        return error_of(ErrorKind.TIMEOUT, provider, detail=str(exc))
    text = str(exc)
    return _classify_text(text.lower(), provider, status=status_in(text), detail=text)


def _classify_text(
    text: str,
    provider: Provider | None,
    *,
    status: int,
    detail: str,
    retry_after: float | None = None,
) -> LLMError:
    special = _special_case(text, provider, status, detail)
    if special:
        return special
    kind, retryable = kind_of(text, status)
    return error_of(
        kind,
        provider,
        detail=detail,
        status_code=status,
        retryable=retryable,
        retry_after_seconds=retry_after,
    )


def _special_case(
    text: str, provider: Provider | None, status: int, detail: str
) -> LLMError | None:
    if has(text, _INTERRUPTED):
        return error_of(ErrorKind.GENERIC, provider, status_code=status, message=_CANCELED)
    if has(text, _MISMATCH):
        return error_of(
            ErrorKind.GENERIC,
            provider,
            status_code=status,
            detail="The provider did not accept the tool calls and results of this chat.",
            message=_MISMATCH_MESSAGE,
        )
    if has(text, _CLOSED_EARLY):
        return broken_stream(provider, detail)
    if "previous response with id" in text and "not found" in text:
        name = capitalised(_display_name(provider))
        return error_of(
            ErrorKind.GENERIC,
            provider,
            status_code=status,
            detail=detail,
            retryable=True,
            message=f"{name} returned an unexpected error.",
        )
    return None


def _display_name(provider: Provider | None) -> str:
    known = provider and (provider.display_name or providers.display_name(provider.kind))
    return known or "the AI provider"


def _looks_secret(header: str) -> bool:
    return has(header.lower(), ("authorization", "key", "token", "secret", "cookie"))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _error_fields(document: Any) -> dict[str, Any]:
    """Find the object that describes the error: servers wrap it in `error`, a list, or nothing."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return {}
    inner = document.get("error")
    return inner if isinstance(inner, dict) else document


def _embedded_status(body: bytes | str) -> int:
    try:
        code = _error_fields(msgspec.json.decode(body)).get("code")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    return code if isinstance(code, int) and 400 <= code <= 599 else 0
