"""Sign-in of the pages: user name or e-mail and a password, or an identity provider's word."""

from collections.abc import Callable
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
        suspended = kwargs.get("suspended") is True
        if request is None:
            return self._check(username, password, suspended=suspended)
        take_back = count_attempt(request, username)
        user = self._check(username, password, suspended=suspended)
        if user is not None:
            take_back()
        return user

    def _check(self, username: str, password: str, *, suspended: bool) -> User | None:
        user = find_live_user(username)
        if user is None:
            User().set_password(password)
            return None
        allowed = user.login_type == LoginType.PASSWORD and (user.is_active or suspended)
        if env.single_sign_on is not None and not env.single_sign_on.passwords:
            allowed = allowed and user.is_owner  # somebody must get in while the provider is away
        return user if user.check_password(password) and allowed else None

    def get_user(self, user_id: UUID) -> User | None:
        return _get_active(user_id)


def knows_own_password(user: User, password: str) -> bool:
    """Tell whether somebody who is signed in knows their password, as to change it.

    A session that was left open is no place to guess it: failed attempts are limited as those to
    sign in are. Raises ChatdError 429.
    """
    limit, what = env.sign_in_rate_limit, ["own-password", str(user.pk)]
    _count(limit, *what, refusal="There were too many attempts at the old password.")
    known = user.check_password(password)
    if known:
        uncount(limit, *what)
    return known


class SingleSignOnBackend(BaseBackend):
    """Page sessions that an identity provider vouched for."""

    def get_user(self, user_id: UUID) -> User | None:
        user = _get_active(user_id)
        return user if user is not None and user.login_type == LoginType.OIDC else None


def _get_active(user_id: UUID) -> User | None:
    user = User.objects.live().filter(pk=user_id).first()
    return user if user is not None and user.is_active else None


def count_attempt(request: HttpRequest, name: str) -> Callable[[], None]:
    """Count an attempt to sign in; what is returned takes it back. Raises ChatdError 429."""
    limits = _limits(request, name)
    for limit, what in limits:
        _count(limit, *what)

    def take_back() -> None:
        for limit, what in limits:
            uncount(limit, *what)

    return take_back


def count_departure(request: HttpRequest) -> None:
    """Count who leaves for an identity provider: each leaves a session. Raises ChatdError 429."""
    network = network_of(request.META.get("REMOTE_ADDR", ""))
    _count(env.api_rate_limit, "single sign-on", network)


def _limits(request: HttpRequest, name: str) -> list[tuple[int, list[str]]]:
    """Return what is counted: a name from one address, and any names from it as API calls are."""
    network = network_of(request.META.get("REMOTE_ADDR", ""))
    return [
        (env.sign_in_rate_limit, ["sign-in", network, name.strip().lower()]),
        (env.api_rate_limit, ["sign-in", network]),
    ]


def _count(
    limit: int, *what: str, refusal: str = "There were too many attempts to sign in."
) -> None:
    """Refuse guessing. Raises ChatdError 429; the account stays open to everybody else."""
    standing = count(limit, *what)
    if standing is not None and not standing.allowed:
        raise ChatdError(
            ErrorCode.TOO_MANY,
            refusal,
            detail=f"Wait {standing.retry_after_seconds} seconds, then try again."
            " The account is not locked, and its password stays as it was.",
            retry_after_seconds=standing.retry_after_seconds,
        )
