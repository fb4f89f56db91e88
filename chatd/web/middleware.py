"""Refusals of pages become pages. The API renders its own."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from chatd.core.errors import ChatdError, ErrorCode
from chatd.core.outages import DATABASE_AWAY, database_unavailable, report_outage

_TITLES = {
    ErrorCode.NOT_FOUND: "Not found",
    ErrorCode.FORBIDDEN: "Not allowed",
    ErrorCode.CONFLICT: "Something changed meanwhile",
    ErrorCode.TOO_MANY: "Too often",
    ErrorCode.UNAVAILABLE: "Not available right now",
}


class PageErrorMiddleware:
    """Render a ChatdError that a page raised, with its status."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if request.path.startswith("/api/"):
            return None
        if isinstance(error, DATABASE_AWAY):
            report_outage(error, during="a page")
            error = database_unavailable()
        return refusal_page(request, error) if isinstance(error, ChatdError) else None


def refusal_page(request: HttpRequest, error: ChatdError) -> HttpResponse:
    """Return a refusal as a page, with its status."""
    context = {"title": _TITLES.get(error.code, "That did not work"), "refusal": error}
    # Who is signed in stands in the database, so a page about its absence must not ask.
    asking = None if error.code is ErrorCode.UNAVAILABLE else request
    html = render_to_string("web/error.html", context, asking)
    return HttpResponse(html, status=error.http_status, headers=error.headers)
