"""AI providers, for administrators."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import field
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import ConfidentialBody, decode_body
from chatd.api.views import ResourceViewSet
from chatd.core.clock import rfc3339
from chatd.core.shapes import documented, shaped
from chatd.providers import shapes
from chatd.providers.administration import (
    create_provider,
    delete_provider,
    get_provider_for,
    list_providers_for,
    parse_reference,
    update_provider,
)
from chatd.providers.bedrock import BedrockChanges, readable_settings
from chatd.providers.drafts import NewProvider, ProviderChanges, WantedKey
from chatd.providers.models import AIProvider, AIProviderKey, ProviderType
from chatd.providers.shared_keys import UNREADABLE, shown_key


class BedrockSettingsRequest(ConfidentialBody, kw_only=True):
    """Settings for AWS Bedrock. Credentials that are left out stay, empty ones are cleared."""

    kind: Literal["bedrock"] = field(name="_type")
    version: Literal[1] = field(name="_version")
    region: str | None = None
    model: str | None = None
    small_fast_model: str | None = None
    access_key: str | None = None
    access_key_secret: str | None = None

    def changes(self) -> BedrockChanges:
        return BedrockChanges(
            region=self.region or "",
            model=self.model or "",
            small_fast_model=self.small_fast_model or "",
            access_key=self.access_key,
            access_key_secret=self.access_key_secret,
        )


class ProviderFields(ConfidentialBody, kw_only=True):
    """A provider as it is to be made."""

    type: str | None = None
    name: str | None = None
    display_name: str | None = None
    enabled: bool | None = None
    base_url: str | None = None
    api_keys: list[str] | None = None
    settings: BedrockSettingsRequest | None = None

    def draft(self) -> NewProvider:
        return NewProvider(
            type=self.type or "",
            name=self.name or "",
            display_name=self.display_name or "",
            enabled=self.enabled is not False,
            base_url=self.base_url or "",
            api_keys=self.api_keys or [],
            settings=self.settings.changes() if self.settings else None,
        )


class CreateAIProviderRequest(ProviderFields, kw_only=True):
    """Body of `POST /ai/providers`."""

    type: Annotated[str | None, documented(required=True, enum=ProviderType.values)] = None
    name: Annotated[str | None, documented(required=True)] = None
    base_url: Annotated[str | None, documented(required=True)] = None


class AIProviderKeyMutation(ConfidentialBody, kw_only=True):
    """An entry of the list of keys to be: a stored one by its id, or a new one."""

    id: UUID | None = None
    api_key: str | None = None


class UpdateAIProviderRequest(ConfidentialBody, kw_only=True):
    """Body of `PATCH /ai/providers/{provider}`; `api_keys` is the whole list of keys to be."""

    display_name: str | None = None
    enabled: bool | None = None
    base_url: str | None = None
    api_keys: list[AIProviderKeyMutation] | None = None
    settings: BedrockSettingsRequest | None = None

    def changes(self) -> ProviderChanges:
        keys = self.api_keys
        return ProviderChanges(
            display_name=self.display_name,
            enabled=self.enabled,
            base_url=self.base_url,
            api_keys=None
            if keys is None
            else [WantedKey(id=each.id, api_key=each.api_key) for each in keys],
            settings=self.settings.changes() if self.settings else None,
        )


class AIProviderViewSet(ResourceViewSet):
    """`/api/v2/ai/providers`."""

    @Operation(
        "listAIProviders",
        "List the providers, disabled ones included",
        answer=list[shapes.AIProvider],
        refusals=[403],
    )
    def list(self, request: Request) -> Response:
        providers = list_providers_for(self.actor(request).user)
        return Response([provider_body(provider) for provider in providers])

    @Operation("getAIProvider", "Get a provider", answer=shapes.AIProvider, refusals=[403])
    def retrieve(self, request: Request, provider: str) -> Response:
        reference = parse_reference(provider)
        return Response(provider_body(get_provider_for(self.actor(request).user, reference)))

    @Operation(
        "createAIProvider",
        "Make a provider",
        answer=shapes.AIProvider,
        status=201,
        body=CreateAIProviderRequest,
        refusals=[403],
    )
    def create(self, request: Request) -> Response:
        draft = decode_body(request, CreateAIProviderRequest).draft()
        return Response(provider_body(create_provider(self.actor(request), draft)), status=201)

    @Operation(
        "updateAIProvider",
        "Change a provider and its keys",
        answer=shapes.AIProvider,
        body=UpdateAIProviderRequest,
        refusals=[403],
    )
    def partial_update(self, request: Request, provider: str) -> Response:
        reference = parse_reference(provider)
        changes = decode_body(request, UpdateAIProviderRequest).changes()
        return Response(provider_body(update_provider(self.actor(request), reference, changes)))

    @Operation(
        "deleteAIProvider",
        "Delete a provider; its models stay and cannot be called",
        status=204,
        refusals=[403],
    )
    def destroy(self, request: Request, provider: str) -> Response:
        delete_provider(self.actor(request), parse_reference(provider))
        return Response(status=204)


def provider_body(provider: AIProvider) -> shapes.AIProvider:
    """Return the AIProvider object."""
    return {
        "id": str(provider.pk),
        "type": provider.type,
        "name": provider.name,
        "display_name": str(provider),
        "enabled": provider.enabled,
        "base_url": provider.base_url,
        "api_keys": [_key_body(key) for key in provider.keys.all()],
        "settings": _settings_body(provider),
        "created_at": rfc3339(provider.created_at),
        "updated_at": rfc3339(provider.updated_at),
    }


def _key_body(key: AIProviderKey) -> shapes.AIProviderKey:
    shown = shown_key(key)
    body: shapes.AIProviderKey = {
        "id": str(key.pk),
        "masked": shown or UNREADABLE,
        "created_at": rfc3339(key.created_at),
        "unreadable": shown is None,
    }
    return shaped(shapes.AIProviderKey, body)


def _settings_body(provider: AIProvider) -> shapes.BedrockSettings | None:
    settings = readable_settings(provider)
    if settings is None:
        return None
    body: shapes.BedrockSettings = {
        "_type": "bedrock",
        "_version": 1,
        "region": settings.region,
        "model": settings.model,
        "small_fast_model": settings.small_fast_model,
    }
    return shaped(shapes.BedrockSettings, body)
