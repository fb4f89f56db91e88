"""Reads of providers and models, and what a turn needs to call one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, UUIDField

from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret
from chatd.core.statements import Parameter, Select
from chatd.llm.model_names import name_at_provider
from chatd.llm.types import AwsAccess
from chatd.providers.bedrock import access_of
from chatd.providers.keys import KeyState, Unavailable, choose_key, key_in_use, needs_key, policy_of
from chatd.providers.models import (
    AIProvider,
    AIProviderKey,
    ModelConfig,
    ProviderType,
    UserAIProviderKey,
)


class Unusable(StrEnum):
    """Why a model cannot be called."""

    NO_MODEL = "no_model"
    MODEL_DISABLED = "model_disabled"
    PROVIDER_DISABLED = "provider_disabled"
    NO_ADDRESS = "no_address"
    KEY_MISSING = "key_missing"
    OWN_KEY_NEEDED = "own_key_needed"
    KEY_UNREADABLE = "key_unreadable"
    OWN_KEY_UNREADABLE = "own_key_unreadable"
    NAMED_BY_SETTING = "named_by_setting"
    """The one that an administrator set for the job; no other takes its place."""


class UnusableModelError(Exception):
    """The model of a turn cannot be called; `provider` is the display name, where known."""

    def __init__(self, reason: Unusable, *, text: str, provider: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.provider = provider


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """Everything needed to call a model, for the person whose key or share it is.

    `context_limit` is in tokens, `compression_threshold` in percent of it.
    """

    config_id: UUID
    user_id: UUID
    model: str
    provider_type: str
    provider_name: str
    base_url: str
    api_key: str = field(repr=False)
    context_limit: int
    compression_threshold: int
    options: Mapping[str, Any]
    aws: AwsAccess | None = None


def default_model_config() -> ModelConfig | None:
    """Return the default model config of the deployment."""
    return _with_provider().filter(is_default=True, deleted=False).first()


def existing_model_config(config_id: UUID | None) -> ModelConfig | None:
    """Return the config unless it is unknown or deleted; disabled ones are returned."""
    if config_id is None:
        return None
    return _CONFIG.first(config_id=config_id)


def _with_provider() -> QuerySet[ModelConfig]:
    return ModelConfig.objects.select_related("ai_provider")


_CONFIG = Select(
    lambda: _with_provider().filter(pk=Parameter("config_id", UUIDField()), deleted=False)[:1]
)


def resolve_model_call(config_id: UUID | None, *, user_id: UUID) -> ModelCall:
    """Return what a turn needs to call `config_id`, or the default once that was deleted.

    `user_id` is whose key counts: the owner of the chat. Raises UnusableModelError.
    """
    config = existing_model_config(config_id) or default_model_config()
    if config is None or config.ai_provider is None:
        raise UnusableModelError(
            Unusable.NO_MODEL, text="no default chat model config is available"
        )
    provider = config.ai_provider
    if not config.enabled:
        raise UnusableModelError(
            Unusable.MODEL_DISABLED,
            text=f"chat model config {config.pk} is disabled",
            provider=str(provider),
        )
    if not provider.is_on:
        raise UnusableModelError(
            Unusable.PROVIDER_DISABLED,
            text=f"AI provider {provider.pk} is disabled",
            provider=str(provider),
        )
    if provider.type == ProviderType.AZURE and not provider.base_url.strip():
        raise UnusableModelError(
            Unusable.NO_ADDRESS,
            text="AZURE_OPENAI_BASE_URL is not set",
            provider=str(provider),
        )
    return ModelCall(
        user_id=user_id,
        config_id=config.pk,
        model=name_at_provider(config.model, provider.type),
        provider_type=provider.type,
        provider_name=str(provider),
        base_url=provider.base_url,
        api_key=_key_for(provider, user_id),
        aws=_aws_access(provider),
        context_limit=config.context_limit,
        compression_threshold=config.compression_threshold,
        options=config.options,
    )


def resolve_named_model(config_id: UUID, *, user_id: UUID) -> ModelCall:
    """Return what is needed to call the model that a setting names. Raises UnusableModelError."""
    try:
        if existing_model_config(config_id) is not None:
            return resolve_model_call(config_id, user_id=user_id)
        reason = f"chat model config {config_id} does not exist"
    except UnusableModelError as error:
        reason = str(error)
    raise UnusableModelError(Unusable.NAMED_BY_SETTING, text=reason)


def _key_for(provider: AIProvider, user_id: UUID) -> str:
    """Return the key of a person's call, blank when it is made without one."""
    policy = policy_of(provider)
    stored = {
        KeyState.OWN: _own_key(provider, user_id) if policy.own else "",
        KeyState.SHARED: shared_key(provider.pk),
    }
    choice = choose_key(
        policy,
        has_own=bool(stored[KeyState.OWN]),
        has_shared=bool(stored[KeyState.SHARED]),
        needs_key=needs_key(provider),
    )
    if choice.unavailable is not None:
        raise _without_key(provider, choice.unavailable)
    try:
        return open_secret(stored.get(choice.state, ""))
    except UndecryptableError as error:
        own_key = choice.state is KeyState.OWN
        reason = Unusable.OWN_KEY_UNREADABLE if own_key else Unusable.KEY_UNREADABLE
        raise UnusableModelError(reason, text=str(error), provider=str(provider)) from error


def _own_key(provider: AIProvider, user_id: UUID) -> str:
    return _OWN_KEY.first(provider_id=provider.pk, user_id=user_id) or ""


_OWN_KEY = Select(
    lambda: UserAIProviderKey.objects.filter(
        provider_id=Parameter("provider_id", UUIDField()), user_id=Parameter("user_id", UUIDField())
    ).values_list("api_key", flat=True)[:1]
)


def _aws_access(provider: AIProvider) -> AwsAccess | None:
    try:
        return access_of(provider)
    except UndecryptableError as error:
        raise UnusableModelError(
            Unusable.KEY_UNREADABLE, text=str(error), provider=str(provider)
        ) from error


def _without_key(provider: AIProvider, reason: Unavailable) -> UnusableModelError:
    own = reason is Unavailable.USER_API_KEY_REQUIRED
    return UnusableModelError(
        Unusable.OWN_KEY_NEEDED if own else Unusable.KEY_MISSING,
        text=f"AI provider {provider.pk} has no key: {reason}",
        provider=str(provider),
    )


def shared_key(provider_id: UUID) -> str:
    """Return the stored form of the key that is used of the shared ones."""
    return key_in_use(_SHARED_KEYS.all(provider_id=provider_id))


_SHARED_KEYS = Select(
    lambda: (
        AIProviderKey.objects.filter(provider_id=Parameter("provider_id", UUIDField()))
        .order_by("created_at", "id")
        .values_list("api_key", flat=True)
    )
)
