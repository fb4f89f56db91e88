"""Sign-in of the pages: user name or e-mail, and a password."""

from typing import Any
from uuid import UUID

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from chatd.accounts.models import LoginType, User
from chatd.accounts.selectors import find_live_user
from chatd.core.errors import ChatdError, ErrorCode
from chatd.live.rates import count, network_of, uncount
from config.env import env


class UsernameOrEmailBackend(BaseBackend):
    """Check a password in constant time whether the account exists or not.

    Failed attempts over HTTP are limited, whichever page or route they come through.
    `suspended=True` also returns who may not act; the caller has to look at the status.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if not username or not password or "\x00" in username:
            return None
        limits = _limits(request, username) if request is not None else []
        for limit, what in limits:
            _count_attempt(limit, *what)
        user = self._check(username, password, suspended=kwargs.get("suspended") is True)
        if user is not None:
            for limit, what in limits:
                uncount(limit, *what)
        return user

    def _check(self, username: str, password: str, *, suspended: bool) -> User | None:
        user = find_live_user(username)
        if user is None:
            User().set_password(password)
            return None
        allowed = user.login_type == LoginType.PASSWORD and (user.is_active or suspended)
        return user if user.check_password(password) and allowed else None

    def get_user(self, user_id: UUID) -> User | None:
        user = User.objects.live().filter(pk=user_id).first()
        return user if user is not None and user.is_active else None


def _limits(request: HttpRequest, username: str) -> list[tuple[int, list[str]]]:
    """Return what is counted: a name from one address, and any names from it as API calls are."""
    network = network_of(request.META.get("REMOTE_ADDR", ""))
    return [
        (env.sign_in_rate_limit, ["sign-in", network, username.strip().lower()]),
        (env.api_rate_limit, ["sign-in", network]),
    ]


def _count_attempt(limit: int, *what: str) -> None:
    """Refuse guessing. Raises ChatdError 429; the account stays open to everybody else."""
    standing = count(limit, *what)
    if standing is not None and not standing.allowed:
        raise ChatdError(
            ErrorCode.TOO_MANY,
            "There were too many attempts to sign in.",
            detail=f"Wait {standing.retry_after_seconds} seconds, then try again."
            " The account is not locked, and its password stays as it was.",
            retry_after_seconds=standing.retry_after_seconds,
        )
