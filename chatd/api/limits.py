"""How often one may call: per person, method and path; per address for who is not known.

Shared by REST views and sockets. What is returned are the headers of the answer, whatever it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from chatd.accounts.models import User
from chatd.core.errors import ChatdError, ErrorCode
from chatd.live.rates import Standing, count, network_of
from config.env import env

BYPASS_HEADER = "X-Coder-Bypass-Ratelimit"

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
"""What Go clients may write for it."""


def count_request(user: User, method: str, path: str, *, limit: int, bypass: str) -> dict[str, str]:
    """Count a request of a person; `limit` is per minute. Raises ChatdError 429.

    `bypass` is the value of that header, which is heeded from site owners alone.
    """
    if user.is_owner and bypass in _TRUE:
        return {}
    return _admit(count(limit, "request", str(user.pk), method, path.rstrip("/")))


def count_stranger(address: str) -> dict[str, str]:
    """Count a request of nobody in particular, by address. Raises ChatdError 429."""
    return _admit(count(env.api_rate_limit, "stranger", network_of(address)))


@contextmanager
def strangers_counted(address: str) -> Iterator[None]:
    """Count who is refused inside by address; raises the 429 in place of the refusal."""
    try:
        yield
    except ChatdError as refusal:
        refusal.headers |= count_stranger(address)
        raise


def _admit(standing: Standing | None) -> dict[str, str]:
    if standing is None:
        return {}
    headers = {
        "X-RateLimit-Limit": str(standing.limit),
        "X-RateLimit-Remaining": str(standing.remaining),
        "X-RateLimit-Reset": str(standing.resets_at),
    }
    if not standing.allowed:
        refusal = ChatdError(
            ErrorCode.TOO_MANY,
            f"You've been rate limited for sending more than {standing.limit} requests in 1m0s.",
            retry_after_seconds=standing.retry_after_seconds,
        )
        refusal.headers |= headers
        raise refusal
    return headers
