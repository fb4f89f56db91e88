"""People's own keys for AI providers."""

from typing import Annotated

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import ConfidentialBody, decode_body
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import documented
from chatd.providers import shapes
from chatd.providers.access import ProviderAccess
from chatd.providers.own_keys import choose_own_key, forget_own_key, list_key_states_for


class CreateUserAIProviderKeyRequest(ConfidentialBody, kw_only=True):
    """Body of `PUT …/ai-provider-keys/{provider}`."""

    api_key: Annotated[str | None, documented(required=True)] = None


class OwnProviderKeyViewSet(ResourceViewSet):
    """`/users/{user}/ai-provider-keys`."""

    @Operation(
        "listUserAIProviderKeys",
        "List the providers with which keys there are for a person",
        answer=list[shapes.UserAIProviderKeyConfig],
        refusals=[403],
    )
    def list(self, request: Request, user: str) -> Response:
        states = list_key_states_for(self.actor(request), user)
        return Response([_body(access) for access in states])

    @Operation(
        "putUserAIProviderKey",
        "Store a person's own key for a provider",
        description="At most 10,240 bytes. It takes the place of an earlier one.",
        answer=shapes.UserAIProviderKeyConfig,
        body=CreateUserAIProviderKeyRequest,
        refusals=[403, 412],
    )
    def update(self, request: Request, user: str, provider: str) -> Response:
        access = choose_own_key(
            self.actor(request),
            user,
            provider,
            lambda: decode_body(request, CreateUserAIProviderKeyRequest).api_key or "",
        )
        return Response(_body(access))

    @Operation(
        "deleteUserAIProviderKey",
        "Delete a person's own key for a provider",
        status=204,
        refusals=[403],
    )
    def destroy(self, request: Request, user: str, provider: str) -> Response:
        forget_own_key(self.actor(request), user, provider)
        return Response(status=204)


def _body(access: ProviderAccess) -> shapes.UserAIProviderKeyConfig:
    provider = access.provider
    return {
        "provider": {
            "id": str(provider.pk),
            "type": provider.type,
            "name": provider.name,
            "display_name": str(provider),
            "enabled": provider.enabled,
            "deleted": provider.deleted,
        },
        "has_user_api_key": access.has_own_key,
        "has_provider_api_key": access.has_shared_key,
        "byok_enabled": access.policy.own,
    }
