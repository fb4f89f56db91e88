"""The older routes of providers and of people's keys for them."""

from typing import Annotated

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.own_provider_keys import CreateUserAIProviderKeyRequest
from chatd.api.parsing import ConfidentialBody, decode_body
from chatd.api.views import ResourceViewSet
from chatd.core.clock import ZERO_TIME, rfc3339
from chatd.core.ids import NIL_UUID
from chatd.core.shapes import documented, shaped
from chatd.providers import shapes
from chatd.providers.access import ProviderAccess
from chatd.providers.keys import byok_enabled
from chatd.providers.older_routes import (
    OlderFields,
    Slot,
    choose_key_here,
    create_of_kind,
    delete_older,
    forget_key_here,
    list_for_own_keys,
    list_slots_for,
    update_older,
)


class UpdateChatProviderConfigRequest(ConfidentialBody, kw_only=True):
    """Body of `PATCH /chats/providers/{provider}`; an empty `api_key` deletes the key."""

    display_name: str | None = None
    api_key: str | None = None
    base_url: str | None = None
    enabled: bool | None = None
    central_api_key_enabled: bool | None = None
    allow_user_api_key: bool | None = None
    allow_central_api_key_fallback: bool | None = None

    def fields(self) -> OlderFields:
        return OlderFields(
            display_name=self.display_name,
            api_key=self.api_key,
            base_url=self.base_url,
            enabled=self.enabled,
            central_api_key_enabled=self.central_api_key_enabled,
            allow_user_api_key=self.allow_user_api_key,
            allow_central_api_key_fallback=self.allow_central_api_key_fallback,
        )


class CreateChatProviderConfigRequest(UpdateChatProviderConfigRequest, kw_only=True):
    """Body of `POST /chats/providers`."""

    provider: Annotated[str | None, documented(required=True)] = None


class OlderProviderViewSet(ResourceViewSet):
    """`/chats/providers`."""

    @Operation(
        "listChatProviders",
        "List the kinds of provider with what is configured of them",
        answer=list[shapes.ChatProviderConfig],
        refusals=[403],
    )
    def list(self, request: Request) -> Response:
        return Response([_slot_body(slot) for slot in list_slots_for(self.actor(request).user)])

    @Operation(
        "createChatProvider",
        "Make the provider of a kind",
        answer=shapes.ChatProviderConfig,
        status=201,
        body=CreateChatProviderConfigRequest,
        refusals=[403],
    )
    def create(self, request: Request) -> Response:
        def wanted() -> tuple[str, OlderFields]:
            body = decode_body(request, CreateChatProviderConfigRequest)
            return body.provider or "", body.fields()

        return Response(_slot_body(create_of_kind(self.actor(request), wanted)), status=201)

    @Operation(
        "updateChatProvider",
        "Change a provider",
        answer=shapes.ChatProviderConfig,
        body=UpdateChatProviderConfigRequest,
        refusals=[403],
    )
    def partial_update(self, request: Request, provider: str) -> Response:
        slot = update_older(
            self.actor(request),
            provider,
            lambda: decode_body(request, UpdateChatProviderConfigRequest).fields(),
        )
        return Response(_slot_body(slot))

    @Operation(
        "deleteChatProvider", "Delete a provider with its models", status=204, refusals=[403]
    )
    def destroy(self, request: Request, provider: str) -> Response:
        delete_older(self.actor(request), provider)
        return Response(status=204)


class OlderOwnKeyViewSet(ResourceViewSet):
    """`/chats/user-provider-configs`."""

    @Operation(
        "listUserChatProviderConfigs",
        "List the providers that one may bring a key for",
        answer=list[shapes.UserChatProviderConfig],
    )
    def list(self, request: Request) -> Response:
        found = list_for_own_keys(self.actor(request).user)
        return Response([_own_body(access) for access in found])

    @Operation(
        "putUserChatProviderKey",
        "Store one's own key for a provider",
        answer=shapes.UserChatProviderConfig,
        body=CreateUserAIProviderKeyRequest,
        refusals=[403],
    )
    def update(self, request: Request, provider: str) -> Response:
        access = choose_key_here(
            self.actor(request),
            provider,
            lambda: decode_body(request, CreateUserAIProviderKeyRequest).api_key or "",
        )
        return Response(_own_body(access))

    @Operation("deleteUserChatProviderKey", "Delete one's own key for a provider", status=204)
    def destroy(self, request: Request, provider: str) -> Response:
        forget_key_here(self.actor(request), provider)
        return Response(status=204)


def _slot_body(slot: Slot) -> shapes.ChatProviderConfig:
    if slot.access is None:
        body: shapes.ChatProviderConfig = {
            "id": str(NIL_UUID),
            "provider": slot.kind.name,
            "display_name": slot.kind.display_name,
            "enabled": False,
            "has_api_key": False,
            "central_api_key_enabled": True,
            "allow_user_api_key": False,
            "allow_central_api_key_fallback": False,
            "source": "supported",
            "created_at": ZERO_TIME,
            "updated_at": ZERO_TIME,
        }
        return body
    provider = slot.access.provider
    body = {
        "id": str(provider.pk),
        "provider": provider.type,
        "display_name": str(provider),
        "enabled": provider.enabled,
        "has_api_key": slot.access.has_shared_key,
        "central_api_key_enabled": provider.central_api_key_enabled,
        "allow_user_api_key": provider.allow_user_api_key,
        "allow_central_api_key_fallback": provider.allow_central_api_key_fallback,
        "base_url": provider.base_url,
        "source": "database",
        "created_at": rfc3339(provider.created_at),
        "updated_at": rfc3339(provider.updated_at),
    }
    return shaped(shapes.ChatProviderConfig, body)


def _own_body(access: ProviderAccess) -> shapes.UserChatProviderConfig:
    provider = access.provider
    return {
        "provider_id": str(provider.pk),
        "provider": provider.type,
        "display_name": str(provider),
        "has_user_api_key": access.has_own_key,
        "has_central_api_key_fallback": access.shared_key_stands_in,
        "byok_enabled": byok_enabled(),
    }
