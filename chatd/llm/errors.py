"""Everything that can go wrong in a model call, as one error type with a kind.

Belongs here: the exception, reading provider errors and transport exceptions. Does not belong
here: the rules (`error_rules`), retry loops, HTTP answers of our own API, logging.
"""

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp

from chatd.llm import providers
from chatd.llm.error_answers import read_error_body, retry_after_seconds
from chatd.llm.error_rules import (
    CLOSED_EARLY,
    TIMED_OUT,
    UNNAMED,
    ErrorKind,
    capitalised,
    has,
    provider_in,
    sentences,
    status_in,
    verdict_of,
)
from chatd.llm.types import Provider

__all__ = [
    "ErrorKind",
    "LLMError",
    "blocked_answer",
    "broken_stream",
    "classify",
    "error_of",
    "redact",
    "unreadable_answer",
]

MAX_DETAIL_CHARS = 500

REDIRECTED = "The provider redirects to another address, and redirects are not followed."

HttpFailure = tuple[int, bytes | str, Mapping[str, str]]

_RETRYABLE = frozenset(
    {ErrorKind.OVERLOADED, ErrorKind.RATE_LIMIT, ErrorKind.TIMEOUT, ErrorKind.STARTUP_TIMEOUT}
)


class LLMError(Exception):
    """A failed model call: what to tell people, and whether trying again can help.

    `message` is for users, `detail` (at most 500 characters) is the provider's own text,
    `retry_message` is the shorter text of retry notices, `provider` is the name of a kind.
    `chain_broken`: what the call refers to is gone at the provider; a next one sends it all.
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
        chain_broken: bool = False,
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
        self.chain_broken = chain_broken

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
    """Return `text` without the provider's secrets and without values of secret-looking headers."""
    if provider is None:
        return text
    secrets = list(provider.secrets)
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
    chain_broken: bool = False,
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
        chain_broken=chain_broken,
    )


def broken_stream(provider: Provider | None, detail: str = "") -> LLMError:
    """Return the error of a stream that ended before the answer did; retryable."""
    message = _named(CLOSED_EARLY, provider)
    return error_of(ErrorKind.TIMEOUT, provider, detail=detail, message=message)


def blocked_answer(provider: Provider | None) -> LLMError:
    """Return the error of an answer of which a content filter let nothing through."""
    message = (
        f"The content filter of {_display_name(provider)} let nothing of the answer through."
        " Put it in other words and try again."
    )
    return error_of(ErrorKind.GENERIC, provider, message=message)


def unreadable_answer(provider: Provider | None, detail: str = "") -> LLMError:
    """Return the error of an answer that is none of this wire; trying again would not help."""
    message = f"{capitalised(_display_name(provider))} sent an answer that cannot be read."
    return error_of(ErrorKind.GENERIC, provider, detail=detail, message=message)


def classify(failure: BaseException | HttpFailure, provider: Provider | None = None) -> LLMError:
    """Return the error for an exception or an HTTP failure `(status, body, headers)`.

    A status of 0 means none is known, as for errors inside a stream. The first matching rule of
    `error_rules` wins; an LLMError is returned as it is. Without a `provider` the text may name
    one. A cancellation is taken for one that the transport made up.
    """
    if isinstance(failure, LLMError):
        return failure
    if isinstance(failure, BaseException):
        return _classify_exception(failure, provider)
    status, body, headers = failure
    said = read_error_body(body)
    detail = said.message or (REDIRECTED if 300 <= status < 400 else "")
    return _classify_text(
        said.words,
        provider,
        status=status or said.status or status_in(said.words),
        detail=detail,
        retry_after=retry_after_seconds(headers),
    )


def _classify_exception(exc: BaseException, provider: Provider | None) -> LLMError:
    match exc:
        case asyncio.CancelledError():
            return error_of(ErrorKind.TIMEOUT, provider)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            # no detail: the address may carry credentials
            return error_of(ErrorKind.CONFIG, provider)
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return error_of(ErrorKind.GENERIC, provider, detail=str(exc))
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
            return error_of(ErrorKind.TIMEOUT, provider, detail=str(exc))
        case aiohttp.ClientResponseError(message=words):  # what came is not HTTP
            return _classify_text(words, provider, status=0, detail=words)
        case TimeoutError(errno=None):
            return error_of(ErrorKind.TIMEOUT, provider, retryable=False, message=TIMED_OUT)
        case OSError():
            return error_of(ErrorKind.TIMEOUT, provider, detail=str(exc))
    text = str(exc)
    return _classify_text(text, provider, status=status_in(text), detail=text)


def _classify_text(
    words: str,
    provider: Provider | None,
    *,
    status: int,
    detail: str,
    retry_after: float | None = None,
) -> LLMError:
    """Judge the words of a failure, and stamp the provider that was called on what comes out.

    Sentences that are meant for the provider that the words name are lost under another one.
    """
    text = words.lower()
    verdict = verdict_of(text, status)
    named = provider_in(text)
    provider = provider or (Provider(kind=named, base_url="") if named else None)
    is_same = (provider.kind if provider else "") == named
    sentence = verdict.sentence if is_same or not verdict.own else ""
    return error_of(
        verdict.kind,
        provider,
        detail=verdict.detail or detail,
        status_code=status,
        retryable=verdict.retryable,
        retry_after_seconds=retry_after,
        message=_named(sentence, provider),
        chain_broken=verdict.chain_broken,
    )


def _named(sentence: str, provider: Provider | None) -> str:
    return sentence.format(name=capitalised(_display_name(provider)))


def _display_name(provider: Provider | None) -> str:
    known = provider and (provider.display_name or providers.display_name(provider.kind))
    return known or UNNAMED


def _looks_secret(header: str) -> bool:
    return has(header.lower(), ("authorization", "key", "token", "secret", "cookie"))
