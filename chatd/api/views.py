"""What the resources share: the acting person, and the answer for unknown routes."""

from typing import cast

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from chatd.accounts.actor import Actor
from chatd.api.rendering import ContractJSONRenderer, JSONOnly


class ResourceViewSet(ViewSet):
    """Base of the viewsets: `actor()` is who calls."""

    content_negotiation_class = JSONOnly
    metadata_class = None  # OPTIONS is a wrong method, not a description of the server

    def actor(self, request: Request) -> Actor:
        return cast("Actor", request.auth)


@csrf_exempt  # a program's POST to a route that is not served is a 404, not a matter of CSRF
def route_not_found(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    """Answer a route that does not exist."""
    body = ContractJSONRenderer().render({"message": "Route not found."})
    return HttpResponse(body, status=404, content_type="application/json; charset=utf-8")
