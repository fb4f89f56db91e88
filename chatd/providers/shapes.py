"""The JSON objects of providers and models as clients see them."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from chatd.core.shapes import Timestamp, Uuid, documented, one_of
from chatd.llm.call_config import ModelCallConfig, ModelCost
from chatd.providers.models import ProviderType

Kind = Annotated[str, one_of(ProviderType)]


class CatalogModel(TypedDict):
    """A model that can be chosen."""

    id: Annotated[str, Meta(description="`<provider>:<model>`.")]
    provider: str
    model: str
    display_name: str


class CatalogProvider(TypedDict):
    """The enabled providers of one kind, and whether the caller can use one of them."""

    provider: str
    available: bool
    models: list[CatalogModel]
    unavailable_reason: NotRequired[
        Annotated[str, Meta(description="missing_api_key, fetch_failed or user_api_key_required")]
    ]


class Catalog(TypedDict):
    providers: list[CatalogProvider]


class AIProviderKey(TypedDict):
    """A shared key; its text is never shown."""

    id: Uuid
    masked: str
    created_at: Timestamp
    unreadable: NotRequired[
        Annotated[bool, Meta(description="It cannot be decrypted any more: enter it again.")]
    ]


class BedrockSettings(TypedDict):
    """Where a provider runs on AWS Bedrock; credentials are never shown."""

    _type: Annotated[str, documented(enum=["bedrock"])]
    _version: Annotated[int, documented(enum=[1])]
    region: NotRequired[str]
    model: NotRequired[str]
    small_fast_model: NotRequired[str]


class AIProvider(TypedDict):
    """An endpoint that serves models. Without a display name of its own it shows its name."""

    id: Uuid
    type: Kind
    name: str
    display_name: str
    enabled: bool
    base_url: str
    api_keys: list[AIProviderKey]
    settings: BedrockSettings | None
    created_at: Timestamp
    updated_at: Timestamp


class ModelConfig(TypedDict):
    """A model that chats can use."""

    id: Uuid
    provider: Annotated[str, Meta(description="The kind of provider.")]
    ai_provider_id: Uuid
    model: str
    display_name: str
    enabled: bool
    is_default: bool
    context_limit: Annotated[int, Meta(description="Tokens that fit the model's context.")]
    compression_threshold: Annotated[int, Meta(description="Percent of the context.")]
    model_config: NotRequired[ModelCallConfig]
    created_at: Timestamp
    updated_at: Timestamp


class AIProviderSummary(TypedDict):
    id: Uuid
    type: Kind
    name: str
    display_name: str
    enabled: bool
    deleted: bool


class UserAIProviderKeyConfig(TypedDict):
    """A provider as one person has it: which keys there are, and whether own ones count."""

    provider: AIProviderSummary
    has_user_api_key: bool
    has_provider_api_key: bool
    byok_enabled: bool


class ChatProviderConfig(TypedDict):
    """The older view of a provider; one that is not configured has the nil id."""

    id: Uuid
    provider: str
    display_name: str
    enabled: bool
    has_api_key: bool
    central_api_key_enabled: bool
    allow_user_api_key: bool
    allow_central_api_key_fallback: bool
    base_url: NotRequired[str]
    source: Annotated[str, documented(enum=["database", "env_preset", "supported"])]
    created_at: Timestamp
    updated_at: Timestamp


class UserChatProviderConfig(TypedDict):
    """The older view of a provider that people may bring keys for."""

    provider_id: Uuid
    provider: str
    display_name: str
    has_user_api_key: bool
    has_central_api_key_fallback: bool
    byok_enabled: bool


class ProviderTest(TypedDict):
    """What came of asking a provider for its models."""

    ok: bool
    detail: str
    models: NotRequired[list[str]]


class SuggestedPrices(TypedDict):
    """What is known of a model; nothing but the question for one that is not known."""

    provider: str
    model: str
    known_as: NotRequired[Annotated[str, Meta(description="The model in the price list.")]]
    cost: NotRequired[ModelCost]
    context_limit: NotRequired[int]
