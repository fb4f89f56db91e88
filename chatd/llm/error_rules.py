"""The rules behind the error kinds: what texts and statuses mean, and what people are told.

Belongs here: kinds, words to look for, their order, sentences. Does not belong here: exceptions,
HTTP bodies, where a call went.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class ErrorKind(StrEnum):
    GENERIC = "generic"
    OVERLOADED = "overloaded"
    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    STARTUP_TIMEOUT = "startup_timeout"
    AUTH = "auth"
    CONFIG = "config"
    USAGE_LIMIT = "usage_limit"
    MISSING_KEY = "missing_key"
    PROVIDER_DISABLED = "provider_disabled"


_INTERRUPTED = ("chat interrupted", "request interrupted", "operation interrupted")
_MISMATCH = (
    "no tool output found for function call",
    "was provided without its required 'reasoning' item",
)
_CLOSED_EARLY = (
    "anthropic stream closed before message_stop",
    "openai responses stream closed before terminal event",
)
_KEPT = ("previous response with id", "item with id")
_FORGOTTEN = (
    "previous_response_not_found",
    "invalid_encrypted_content",
    "previous response cannot be used",
)
_QUOTA = ("quota", "billing", "insufficient_quota", "payment required")
_UNAUTHORIZED = (
    "authentication",
    "unauthorized",
    "invalid api key",
    "invalid_api_key",
    "api key not valid",
)
_RATE_LIMIT = ("rate limit", "rate_limit", "rate-limit", "ratelimit", "too many requests")
_DEADLINE = "deadline exceeded"
_UNAVAILABLE_STATUS = frozenset({408, 502, 503, 504})
_UNAVAILABLE = (
    _DEADLINE,
    "timeout",
    "timed out",
    "unavailable",
    "connection reset",
    "connection refused",
    "broken pipe",
    "bad gateway",
    "client conn",
    "goaway",
    "http2: stream closed",
    "use of closed network connection",
    "no_error; received from peer",
    "internal_error; received from peer",
    "refused_stream; received from peer",
    "cancel; received from peer",
    "enhance_your_calm; received from peer",
)
_SERVER_ERROR = ("server error", "server_error")
_CONFIG = (
    "invalid model",
    "model not found",
    "model_not_found",
    "unsupported model",
    "context length exceeded",
    "context_length_exceeded",
    "context_exceeded",
    "maximum context length",
    "malformed config",
)
_END_OF_FILE = re.compile(r"(?<![a-z])eof(?![a-z])")  # not the end of "typeof"
_LABELLED_STATUS = re.compile(r"\b(?:status(?: code)?|http)[ :=]{0,2}([1-5]\d\d)\b", re.IGNORECASE)
_BARE_STATUS = re.compile(
    r"(?<![:\w.])(?<!stream id )(401|403|408|429|500|502|503|504|529)(?![\w.]\w)\b",
    re.IGNORECASE,
)

_PROVIDER_NAMES = (
    ("openai-compat", ("openai-compat",)),
    ("azure", ("azure",)),
    ("openrouter", ("openrouter",)),
    ("bedrock", ("bedrock",)),
    ("vercel", ("vercel",)),
    ("anthropic", ("anthropic", "claude")),
    ("google", ("google", "gemini", "vertex")),
    ("openai", ("openai",)),
)

UNNAMED = "the AI provider"
"""What sentences call a provider that is not known."""

CANCELED = "The request was canceled before it completed."
MISMATCH = (
    "The chat continuation failed due to an internal state mismatch. "
    "This is not a configuration or billing issue."
)
MISMATCH_DETAIL = "The provider did not accept the tool calls and results of this chat."
CLOSED_EARLY = "{name} stream closed unexpectedly before the response completed."
TIMED_OUT = "The request timed out before it completed."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means. `sentence` takes the place of the standard one of the kind.

    It is meant for the provider that the text itself names (`own`), or for every one. `{name}`
    stands for the provider. `chain_broken`: the provider has forgotten, or cannot read, what this
    call refers to.
    """

    kind: ErrorKind
    retryable: bool
    sentence: str = ""
    own: bool = False
    detail: str = ""
    chain_broken: bool = False


def verdict_of(text: str, status: int) -> Verdict:
    """Judge an error by its text, in lower case, and status; the order of rules is the contract."""
    if has(text, _INTERRUPTED):
        return Verdict(ErrorKind.GENERIC, False, CANCELED, own=True)
    if has(text, _MISMATCH):
        return Verdict(ErrorKind.GENERIC, False, MISMATCH, own=True, detail=MISMATCH_DETAIL)
    if has(text, _CLOSED_EARLY):
        return Verdict(ErrorKind.TIMEOUT, True, CLOSED_EARLY, own=True)
    if has(text, _FORGOTTEN) or (has(text, _KEPT) and "not found" in text):
        return Verdict(ErrorKind.GENERIC, True, chain_broken=True)
    kind, retryable = _kind_of(text, status)
    if kind is ErrorKind.TIMEOUT and not status and _DEADLINE in text:
        return Verdict(kind, retryable, TIMED_OUT)
    return Verdict(kind, retryable)


def _kind_of(text: str, status: int) -> tuple[ErrorKind, bool]:
    config = has(text, _CONFIG)
    if status == 529 or "overloaded" in text:
        return ErrorKind.OVERLOADED, True
    if status == 402 or has(text, _QUOTA):
        return ErrorKind.USAGE_LIMIT, False
    if status == 401 or has(text, _UNAUTHORIZED):
        return ErrorKind.AUTH, False
    if not config and (status == 403 or "forbidden" in text):
        return ErrorKind.AUTH, False
    if not config and (status == 429 or has(text, _RATE_LIMIT)):
        return ErrorKind.RATE_LIMIT, True
    if "provider_disabled" in text:
        return ErrorKind.PROVIDER_DISABLED, False
    if not config and _is_unavailable(text, status):
        return ErrorKind.TIMEOUT, True
    if config:
        return ErrorKind.CONFIG, False
    if status == 500 or has(text, _SERVER_ERROR):
        return ErrorKind.GENERIC, True
    if not status and "context canceled" in text:  # not by us: our own ends the turn itself
        return ErrorKind.TIMEOUT, True
    return ErrorKind.GENERIC, False


def provider_in(text: str) -> str:
    """Return the kind of provider that a text, in lower case, speaks of, or an empty string."""
    return next((kind for kind, names in _PROVIDER_NAMES if has(text, names)), "")


def sentences(kind: ErrorKind, name: str, *, by_provider: bool = False) -> tuple[str, str]:
    """Return the full sentence of a kind and its short form without advice.

    `by_provider` says that a generic error is known to come from the provider.
    """
    start = capitalised(name)
    match kind:
        case ErrorKind.OVERLOADED:
            short, advice = f"{start} is temporarily overloaded.", ""
        case ErrorKind.RATE_LIMIT:
            short, advice = f"{start} is rate limiting requests.", ""
        case ErrorKind.TIMEOUT:
            short, advice = f"{start} is temporarily unavailable.", ""
        case ErrorKind.STARTUP_TIMEOUT:
            short, advice = f"{start} did not start responding in time.", ""
        case ErrorKind.AUTH:
            short = f"Authentication with {name} failed."
            advice = "Check the API key and permissions."
        case ErrorKind.CONFIG:
            short = f"{start} rejected the model configuration."
            advice = "Check the selected model and provider settings."
        case ErrorKind.USAGE_LIMIT:
            short = f"The usage quota for {name} has been exceeded."
            advice = "Check the billing and quota settings for the provider account."
        case ErrorKind.MISSING_KEY:
            short = "This conversation was started with an API key that is no longer available."
            advice = "Send your message again to continue."
        case ErrorKind.PROVIDER_DISABLED:
            subject = start if name == UNNAMED else f"The {name} provider"
            short = f"{subject} has been disabled."
            advice = "Contact your chatd administrator."
        case ErrorKind.GENERIC:
            unexpected = f"{start} returned an unexpected error."
            short, advice = (
                unexpected if by_provider else "The chat request failed unexpectedly.",
                "",
            )
        case _:
            assert_never(kind)
    return f"{short} {advice}".strip(), short


def capitalised(name: str) -> str:
    """Return the name as a sentence begins with it; brand names stay as they are."""
    return name[:1].upper() + name[1:] if name == UNNAMED else name


def has(text: str, needles: tuple[str, ...]) -> bool:
    """Tell whether one of the needles stands in `text`."""
    return any(needle in text for needle in needles)


def _is_unavailable(text: str, status: int) -> bool:
    by_text = has(text, _UNAVAILABLE) or _END_OF_FILE.search(text) is not None
    return by_text or status in _UNAVAILABLE_STATUS


def status_in(text: str) -> int:
    """Return the HTTP status a text speaks of, or 0."""
    found = _LABELLED_STATUS.search(text) or _BARE_STATUS.search(text)
    return int(found[1]) if found else 0
