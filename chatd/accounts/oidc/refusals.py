"""Why a sign-in with an identity provider is refused: a sentence for people, a reason for the log.

Neither holds anything that the provider or the browser sent, but short words of the protocol.
"""

import re

from chatd.accounts.models import User
from chatd.core.errors import ChatdError, ErrorCode

ASK = "Ask an administrator."
AGAIN = "Start again. If it stays like this, tell an administrator: the log has the reason."

_WORD = re.compile(r"[a-z_]{1,40}")


class SignInRefusedError(ChatdError):
    """A sign-in that does not succeed. `reason` is for the log, `person` whom it was about."""

    def __init__(
        self,
        message: str,
        detail: str,
        *,
        reason: str,
        code: ErrorCode = ErrorCode.FORBIDDEN,
        person: User | None = None,
    ) -> None:
        super().__init__(code, message, detail=detail)
        self.reason = reason
        self.person = person

    @property
    def is_outage(self) -> bool:
        """The provider is at fault, nobody was guessing."""
        return self.code is ErrorCode.UNAVAILABLE


def not_begun() -> SignInRefusedError:
    return SignInRefusedError(
        "This sign-in was not begun in this browser, was used already, or took too long.",
        "Start again. The browser has to allow cookies of this site.",
        reason="unknown state",
        code=ErrorCode.BAD_REQUEST,
    )


def ended_there(error: str) -> SignInRefusedError:
    """Refuse what the provider sent back without a code; `error` is its word for why."""
    if error == "access_denied":
        return SignInRefusedError(
            "The identity provider did not let you in, or you cancelled.",
            "Start again, or ask those who look after it whether you may use this site.",
            reason=error,
        )
    return SignInRefusedError(
        "The identity provider ended the sign-in.", AGAIN, reason=f"provider: {word(error)}"
    )


def unreachable(reason: str) -> SignInRefusedError:
    return SignInRefusedError(
        "The identity provider cannot be reached, or does not work right now.",
        "Try again in a few minutes. If it stays like this, tell an administrator.",
        reason=reason,
        code=ErrorCode.UNAVAILABLE,
    )


def untrusted(reason: str) -> SignInRefusedError:
    return SignInRefusedError(
        "What the identity provider answered cannot be trusted.", AGAIN, reason=reason
    )


def word(text: object) -> str:
    """Return an error code of the protocol, `other` for what is none: it goes to the log."""
    return text if isinstance(text, str) and _WORD.fullmatch(text) else "other"
