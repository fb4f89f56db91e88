"""What Django answers with when something fails outside of a view: in the session, say."""

import sys

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from chatd.api.rendering import encode_json
from chatd.core.errors import ChatdError
from chatd.core.outages import DATABASE_AWAY, database_unavailable, report_outage
from chatd.web.middleware import refusal_page


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 while the database is away, else 500; in the form of the API on its routes."""
    error = sys.exc_info()[1]
    if not isinstance(error, DATABASE_AWAY):
        return defaults.server_error(request)
    report_outage(error, during="a request")
    return said_already(refused(request, database_unavailable()))


def refused(request: HttpRequest, refusal: ChatdError) -> HttpResponse:
    """Return a refusal in the form of the API on its routes, else as a page."""
    if request.path.startswith("/api/"):
        return HttpResponse(
            encode_json(refusal.body()) + b"\n",
            status=refusal.http_status,
            headers=refusal.headers,
            content_type="application/json; charset=utf-8",
        )
    return refusal_page(request, refusal)


def said_already(answer: HttpResponse) -> HttpResponse:
    """Keep Django from logging a traceback for an answer that was logged in one line."""
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer
