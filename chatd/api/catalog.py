"""The model catalogue."""

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import shaped
from chatd.providers import shapes
from chatd.providers.catalog import CatalogModel, CatalogProvider, list_catalog


def provider_body(provider: CatalogProvider) -> shapes.CatalogProvider:
    """Return the ModelProvider object."""
    body: shapes.CatalogProvider = {
        "provider": provider.kind,
        "available": provider.unavailable is None,
        "models": [_model_body(provider.kind, model) for model in provider.models],
        "unavailable_reason": str(provider.unavailable or ""),
    }
    return shaped(shapes.CatalogProvider, body)


def _model_body(kind: str, model: CatalogModel) -> shapes.CatalogModel:
    return {
        "id": f"{kind}:{model.model}",
        "provider": kind,
        "model": model.model,
        "display_name": model.display_name,
    }


class CatalogViewSet(ResourceViewSet):
    """`/chats/models`."""

    @Operation("listChatModels", "List the models that can be chosen", answer=shapes.Catalog)
    def list(self, request: Request) -> Response:
        body: shapes.Catalog = {
            "providers": [
                provider_body(provider) for provider in list_catalog(self.actor(request).user.pk)
            ]
        }
        return Response(body)
