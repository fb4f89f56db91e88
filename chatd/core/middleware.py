"""HTTP middleware of the core: correlation id, a span and one log line per request.

The line has the path without its query string, because a query may carry a session token.
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache

import structlog
from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest, HttpResponse

from chatd.core.context import bind_client_address, bind_correlation, correlation_id
from chatd.core.tracing import TRACEPARENT, is_on, span

log = structlog.get_logger("chatd.http")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SERVER_ERROR = 500
SERVICE_UNAVAILABLE = 503

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_QUIET_PREFIXES = ("/static/", "/healthz", "/readyz", "/metrics")


class RequestContextMiddleware:
    """Bind a correlation id (the caller's X-Request-ID when it is sane) and log the outcome."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        bind_correlation(correlation_id=given if _REQUEST_ID.fullmatch(given) else "")
        bind_client_address(request.META.get("REMOTE_ADDR", ""))
        _drop_nul_cookies(request)
        started = time.perf_counter()
        response = self._traced(request)
        response["X-Request-ID"] = correlation_id()
        if response.status_code == SERVICE_UNAVAILABLE:
            # Django would log each one as an error of its own, beside the line below.
            response._has_been_logged = True  # type: ignore[attr-defined]
        if not request.path.startswith(_QUIET_PREFIXES):
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                ms=round((time.perf_counter() - started) * 1000, 1),
            )
        return response

    def _traced(self, request: HttpRequest) -> HttpResponse:
        """Answer as a span; in the trace of the caller, if the request names one.

        It has the pattern of the route instead of the path, so that nothing of a URL is in it.
        """
        if not is_on() or request.path.startswith(_QUIET_PREFIXES):
            return self._get_response(request)
        method = request.method if request.method in _METHODS else "_OTHER"
        about = {"http.request.method": method, "chatd.correlation_id": correlation_id()}
        parent = request.headers.get(TRACEPARENT, "")
        with span(method, kind="server", parent=parent, attributes=about) as traced:
            response = self._get_response(request)
            if request.resolver_match is not None:
                route = _shown(request.resolver_match.route)
                traced.name(f"{method} {route}")
                traced.set({"http.route": route})
            traced.set({"http.response.status_code": response.status_code})
            if response.status_code >= SERVER_ERROR:
                traced.fail(str(response.status_code))
            return response


@lru_cache(maxsize=1000)
def _shown(route: str) -> str:
    """Return the pattern of a route as people read it: `/chats/<chat>`."""
    return simplify_regex(route).rstrip("/") or "/"


def _drop_nul_cookies(request: HttpRequest) -> None:
    """Drop cookies that decode to text with NUL: looking a session up by one fails."""
    if any("\x00" in value for value in request.COOKIES.values()):
        request.COOKIES = {
            name: value for name, value in request.COOKIES.items() if "\x00" not in value
        }
