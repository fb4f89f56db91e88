"""Who calls: the session token in all its places, or the session of the pages.

Order: cookie, query, `Coder-Session-Token`, Bearer, `access_token` query; then Django's session.
Shared by REST views and sockets, which differ only in how they carry headers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.tokens import authenticate_token, unauthenticated
from chatd.core.errors import ChatdError, ErrorCode

COOKIE = "coder_session_token"
QUERY = "coder_session_token"
HEADER = "Coder-Session-Token"
ACCESS_QUERY = "access_token"

NO_TOKEN = (
    f'Cookie "{COOKIE}" or query parameter "{QUERY}" must be provided, '
    f'or a "{HEADER}" or "Authorization: Bearer" header.'
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries: cookies, query parameters, and headers by lower-case name."""

    cookies: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def bearer(self) -> str:
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""

    @property
    def token(self) -> str:
        """The token of the first place that has one."""
        return (
            self.cookies.get(COOKIE, "")
            or self.query.get(QUERY, "")
            or self.headers.get(HEADER.lower(), "")
            or self.bearer
            or self.query.get(ACCESS_QUERY, "")
        )

    @property
    def by_cookie_alone(self) -> bool:
        """True when a browser could have been made to send this: the CSRF check applies."""
        cookie = self.cookies.get(COOKIE, "")
        if not cookie or self.bearer:
            return False
        return cookie not in (self.query.get(QUERY), self.headers.get(HEADER.lower()))


def credentials_of(request: HttpRequest) -> Credentials:
    return Credentials(
        cookies=request.COOKIES,
        query={key: request.GET[key] for key in (QUERY, ACCESS_QUERY) if key in request.GET},
        headers={
            name: request.headers[name]
            for name in (HEADER.lower(), "authorization")
            if name in request.headers
        },
    )


def authenticate(credentials: Credentials, session_user: User | AnonymousUser | None) -> Actor:
    """Return who acts. Raises the 401 that names the reason."""
    if credentials.token:
        key = authenticate_token(credentials.token)
        return Actor(key.user, key)
    if isinstance(session_user, User) and session_user.is_active:
        return Actor(session_user)
    raise unauthenticated(NO_TOKEN)


class CsrfFailedError(ChatdError):
    """The one refusal that is answered in plain text, as the contract has it."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            ErrorCode.BAD_REQUEST,
            f"Something is wrong with your CSRF token. Please refresh the page. ({reason})",
        )


class _CsrfCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def check_csrf(request: HttpRequest) -> None:
    """Raise CsrfFailedError for an unsafe request without a valid X-CSRF-TOKEN."""
    check = _CsrfCheck(lambda _: None)  # type: ignore[arg-type]
    check.process_request(request)
    reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]
    if reason:
        raise CsrfFailedError(str(reason))


class SessionTokenAuthentication(BaseAuthentication):
    """DRF authentication: `request.user` is the user, `request.auth` the Actor."""

    def authenticate(self, request: Request) -> tuple[User, Actor]:
        http_request = request._request
        credentials = credentials_of(http_request)
        actor = authenticate(credentials, getattr(http_request, "user", None))
        if credentials.by_cookie_alone or actor.api_key is None:
            check_csrf(http_request)
        return actor.user, actor

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
