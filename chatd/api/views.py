"""What the resources share: the acting person, and the answer for unknown routes."""

from functools import partial
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from chatd.accounts.actor import Actor
from chatd.api import idempotency
from chatd.api.limits import BYPASS_HEADER, count_request, strangers_counted
from chatd.api.rendering import ContractJSONRenderer, JSONOnly
from chatd.core.errors import Error
from config.env import env


class ResourceViewSet(ViewSet):
    """Base of the viewsets: `actor()` is who calls."""

    content_negotiation_class = JSONOnly
    metadata_class = None  # OPTIONS is a wrong method, not a description of the server

    def actor(self, request: Request) -> Actor:
        return cast("Actor", request.auth)

    def rate_limit(self) -> int:
        """Return how many requests a minute one may make; 0 is any number."""
        return env.api_rate_limit

    def perform_authentication(self, request: Request) -> None:
        with strangers_counted(request.META.get("REMOTE_ADDR", "")):
            super().perform_authentication(request)

    def check_throttles(self, request: Request) -> None:
        self.headers |= count_request(
            self.actor(request).user,
            request.method or "",
            request.path,
            limit=self.rate_limit(),
            bypass=request.headers.get(BYPASS_HEADER, ""),
        )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Once the caller is known, have a write with an Idempotency-Key run once."""
        super().initial(request, *args, **kwargs)
        method = (request.method or "").lower()
        handler = getattr(self, method, None)
        asked = method in WRITES and idempotency.HEADER in request.headers
        if handler is not None and asked and request.auth is not None:
            user = self.actor(request).user
            setattr(self, method, partial(idempotency.run_once, handler, user))


WRITES = frozenset({"post", "put", "patch", "delete"})

ROUTE_NOT_FOUND: Error = {"message": "Route not found."}


@csrf_exempt  # a program's POST to a route that is not served is a 404, not a matter of CSRF
def route_not_found(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    """Answer a route that does not exist."""
    body = ContractJSONRenderer().render(ROUTE_NOT_FOUND)
    return HttpResponse(body, status=404, content_type="application/json; charset=utf-8")
