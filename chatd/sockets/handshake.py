"""What can refuse a socket before it is upgraded: origin, credentials, rate; how it is told."""

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie
from django.utils.http import is_same_domain

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.api.authentication import (
    ACCESS_QUERY,
    COOKIE,
    HEADER,
    QUERY,
    Credentials,
    authenticate,
)
from chatd.api.limits import BYPASS_HEADER, count_request, strangers_counted
from chatd.api.rendering import ContractJSONRenderer
from chatd.core.errors import Error, forbidden
from config.env import env

Scope = dict[str, Any]


async def refuse(
    send: Callable[[dict[str, Any]], Awaitable[None]],
    status: int,
    body: Error,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Answer the upgrade with HTTP `status` and a JSON body instead."""
    sent = raw_headers({"Content-Type": "application/json; charset=utf-8", **headers})
    await send({"type": "websocket.http.response.start", "status": status, "headers": sent})
    rendered = ContractJSONRenderer().render(body)
    await send({"type": "websocket.http.response.body", "body": rendered})


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; of a repeated one, the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def query_of(scope: Scope) -> dict[str, str]:
    """Return the query parameters; of a repeated one, the first."""
    parsed = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in parsed.items()}


def check_origin(headers: dict[str, str]) -> None:
    """Refuse a browser that was sent by another site. Programs send no Origin."""
    origin = headers.get("origin", "")
    if not origin:
        return
    try:
        parts = urlsplit(origin)
    except ValueError:  # not a URL at all
        parts = urlsplit("")
    same_host = parts.netloc.lower() == headers.get("host", "").lower()
    if not (same_host or any(_is_trusted(parts, wanted) for wanted in _trusted())):
        raise forbidden(detail="The Origin of the request is not this server.")


def _trusted() -> list[SplitResult]:
    return [urlsplit(origin) for origin in settings.CSRF_TRUSTED_ORIGINS]


def _is_trusted(origin: SplitResult, trusted: SplitResult) -> bool:
    """As for forms: the same scheme, and the host itself or, for `*.`, one below it."""
    pattern = trusted.netloc.removeprefix("*")
    return origin.scheme == trusted.scheme and is_same_domain(origin.netloc, pattern)


def admit(scope: Scope) -> tuple[Actor, dict[str, str]]:
    """Return who opens the socket, and headers of the answer. A handshake counts as a request.

    Raises ChatdError 401, 403 or 429.
    """
    client = scope.get("client")
    with strangers_counted(client[0] if client else ""):
        actor = authenticate_scope(scope)
    bypass = headers_of(scope).get(BYPASS_HEADER.lower(), "")
    limit = env.api_rate_limit
    return actor, count_request(actor.user, "GET", scope["path"], limit=limit, bypass=bypass)


def authenticate_scope(scope: Scope) -> Actor:
    """Return who opens the socket. Raises ChatdError 401 or 403."""
    headers, query = headers_of(scope), query_of(scope)
    check_origin(headers)
    cookies = parse_cookie(headers.get("cookie", ""))
    credentials = Credentials(
        cookies={COOKIE: cookies.get(COOKIE, "")},
        query={name: query[name] for name in (QUERY, ACCESS_QUERY) if name in query},
        headers={
            name: headers[name] for name in (HEADER.lower(), "authorization") if name in headers
        },
    )
    return authenticate(credentials, None if credentials.token else _session_user(cookies))


def _session_user(cookies: dict[str, str]) -> User | None:
    """Return the person signed in to the pages."""
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    if not key or "\x00" in key:  # a database has no text with NUL
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    return user if isinstance(user, User) else None
