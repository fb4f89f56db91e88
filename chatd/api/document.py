"""The OpenAPI document of this API, for programs and for generators of clients.

It is public: it is the same for everybody on every deployment of a version, holds nothing of this
one, and tools that read it (gateways, generators, test drivers) often cannot send a token.
"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.limits import count_stranger
from chatd.api.views import ResourceViewSet


class DocumentViewSet(ResourceViewSet):
    """`/openapi.json`."""

    authentication_classes = ()
    permission_classes = ()

    def check_throttles(self, request: Request) -> None:
        self.headers |= count_stranger(request.META.get("REMOTE_ADDR", ""))

    @Operation("getOpenApi", "Get this document", answer=dict[str, Any], public=True)
    def retrieve(self, request: Request) -> Response:
        from chatd.api.openapi import document  # only who asks for it pays for it

        return Response(document())
