"""What a page may load and run: a Content-Security-Policy for every page that has none of its own.

Pages of people have no scripts in their HTML, so scripts of this server are all that may run. The
pages of the administration need more: its theme has scripts and expressions in its HTML.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"

# No `form-action`: forms lead on to identity providers and MCP servers, whose addresses come late.
PAGES = (
    "default-src 'self'; img-src 'self' data: https:; object-src 'none'; base-uri 'none';"
    " frame-ancestors 'none'"
)
ADMINISTRATION = "object-src 'none'; base-uri 'self'; frame-ancestors 'none'"


class ContentPolicyMiddleware:
    """Add the policy to HTML; an answer that has one already keeps it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            of_administration = request.path.startswith("/admin/")
            response.setdefault(HEADER, ADMINISTRATION if of_administration else PAGES)
        return response
