"""The model catalogue."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.views import ResourceViewSet
from chatd.providers.catalog import CatalogModel, CatalogProvider, list_catalog


def provider_body(provider: CatalogProvider) -> dict[str, Any]:
    """Return the ModelProvider object."""
    body: dict[str, Any] = {
        "provider": provider.kind,
        "available": provider.unavailable is None,
        "models": [_model_body(provider.kind, model) for model in provider.models],
    }
    return body | (
        {"unavailable_reason": str(provider.unavailable)} if provider.unavailable else {}
    )


def _model_body(kind: str, model: CatalogModel) -> dict[str, str]:
    return {
        "id": f"{kind}:{model.model}",
        "provider": kind,
        "model": model.model,
        "display_name": model.display_name,
    }


class CatalogViewSet(ResourceViewSet):
    """`/chats/models`."""

    def list(self, request: Request) -> Response:
        return Response({"providers": [provider_body(provider) for provider in list_catalog()]})
