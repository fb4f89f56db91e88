"""Failures of a turn as the ChatError that is stored and shown, and as retry notices."""

from datetime import timedelta
from typing import Any

from chatd.chats import shapes
from chatd.core.clock import now, rfc3339
from chatd.core.shapes import shaped
from chatd.llm.error_rules import UNNAMED, ErrorKind, sentences
from chatd.llm.errors import LLMError
from chatd.providers.selectors import Unusable, UnusableModelError
from chatd.spending.amounts import exact_dollars
from chatd.spending.holds import HoldRefusedError

UNEXPECTED = {
    "message": "The chat request failed unexpectedly.",
    "kind": "generic",
    "retryable": False,
}

OUT_OF_MONEY = "Usage limit reached"
"""What a list of chats says of a turn that a limit ended."""


def error_of_limit(refused: HoldRefusedError) -> dict[str, Any]:
    """Return the ChatError of a turn whose next call does not fit into a limit (engine 22.4)."""
    standing = refused.standing
    spent, limit = exact_dollars(standing.spent_micros), exact_dollars(standing.limit_micros)
    return {
        "message": (
            f"usage limit exceeded: spent ${spent} of ${limit} limit,"
            f" resets at {rfc3339(standing.window.end)}"
        ),
        "kind": str(ErrorKind.USAGE_LIMIT),
        "retryable": False,
        "detail": (
            f"The next step could cost ${exact_dollars(refused.needed_micros)}, and"
            f" ${exact_dollars(max(standing.free_micros, 0))} is left."
            " The chat can go on after the reset, or when the limit is raised."
        ),
    }


def error_of_call(error: LLMError) -> dict[str, Any]:
    """Return the ChatError of a model call that will not be tried again."""
    stored: dict[str, Any] = {
        "message": error.message,
        "kind": str(error.kind),
        "retryable": error.retryable,
    }
    optional = {
        "detail": error.detail,
        "provider": error.provider,
        "status_code": error.status_code,
    }
    stored.update({key: value for key, value in optional.items() if value})
    return stored


def retry_notice(error: LLMError, *, attempt: int, delay_seconds: float) -> shapes.Retry:
    """Return the payload of a `retry` event; `attempt` counts from 1."""
    notice: shapes.Retry = {
        "attempt": attempt,
        "delay_ms": round(delay_seconds * 1000),
        "error": error.retry_message,
        "kind": str(error.kind),
        "retrying_at": rfc3339(now() + timedelta(seconds=delay_seconds)),
        "provider": error.provider,
        "status_code": error.status_code or 0,
    }
    return shaped(shapes.Retry, notice)


def error_of_setup(error: UnusableModelError) -> dict[str, Any]:
    """Return the ChatError of a turn whose model cannot be called; no request was made."""
    provider = error.provider or "AI"
    match error.reason:
        case Unusable.PROVIDER_DISABLED:
            kind = "provider_disabled"
            message, _ = sentences(ErrorKind.PROVIDER_DISABLED, error.provider or UNNAMED)
        case Unusable.NO_ADDRESS:
            kind = "config"
            message = f"The {provider} provider has no base URL. Contact your chatd administrator."
        case Unusable.KEY_MISSING:
            kind = "missing_key"
            message = f"The {provider} provider has no API key. Contact your chatd administrator."
        case Unusable.OWN_KEY_NEEDED:
            kind = "missing_key"
            message = (
                f"The {provider} provider needs an API key of your own. Add it and send again."
            )
        case Unusable.OWN_KEY_UNREADABLE:
            kind = "missing_key"
            message = f"Your own key for the {provider} provider cannot be read. Enter it again."
        case Unusable.KEY_UNREADABLE:
            kind = "config"
            message = (
                f"The key of the {provider} provider cannot be read."
                " An administrator must enter it again, or bring back the encryption key that it"
                " was stored under."
            )
        case Unusable.MODEL_DISABLED:
            kind = "config"
            message = "The model of this chat has been disabled. Choose another one and send again."
        case Unusable.NAMED_BY_SETTING:
            kind = "config"
            message = (
                "The model that is set for this cannot be used. Contact your chatd administrator."
            )
        case Unusable.NO_MODEL:
            kind = "config"
            message = "No model is configured. Contact your chatd administrator."
    return {"message": message, "kind": kind, "retryable": False}
