"""Reads of providers and models, and what a turn needs to call one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret
from chatd.providers.models import AIProviderKey, ModelConfig


class Unusable(StrEnum):
    """Why a model cannot be called."""

    NO_MODEL = "no_model"
    MODEL_DISABLED = "model_disabled"
    PROVIDER_DISABLED = "provider_disabled"
    KEY_UNREADABLE = "key_unreadable"
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
    """Everything needed to call a model. `context_limit` is in tokens."""

    config_id: UUID
    model: str
    provider_type: str
    provider_name: str
    base_url: str
    api_key: str = field(repr=False)
    context_limit: int
    options: Mapping[str, Any]


def default_model_config() -> ModelConfig | None:
    """Return the default model config of the deployment."""
    return ModelConfig.objects.filter(is_default=True, deleted=False).first()


def existing_model_config(config_id: UUID | None) -> ModelConfig | None:
    """Return the config unless it is unknown or deleted; disabled ones are returned."""
    if config_id is None:
        return None
    return ModelConfig.objects.filter(pk=config_id, deleted=False).first()


def resolve_model_call(config_id: UUID | None) -> ModelCall:
    """Return what a turn needs to call `config_id`, or the default once that was deleted.

    Raises UnusableModelError.
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
    return ModelCall(
        config_id=config.pk,
        model=config.model,
        provider_type=provider.type,
        provider_name=str(provider),
        base_url=provider.base_url,
        api_key=_central_key(provider.pk, str(provider)),
        context_limit=config.context_limit,
        options=config.options,
    )


def resolve_named_model(config_id: UUID) -> ModelCall:
    """Return what is needed to call the model that a setting names. Raises UnusableModelError."""
    try:
        if existing_model_config(config_id) is not None:
            return resolve_model_call(config_id)
        reason = f"chat model config {config_id} does not exist"
    except UnusableModelError as error:
        reason = str(error)
    raise UnusableModelError(Unusable.NAMED_BY_SETTING, text=reason)


def _central_key(provider_id: UUID, provider_name: str) -> str:
    """Return the oldest non-empty key; servers that need none have none."""
    stored = (
        AIProviderKey.objects.filter(provider_id=provider_id)
        .exclude(api_key="")
        .order_by("created_at", "id")
        .values_list("api_key", flat=True)
        .first()
    )
    try:
        return open_secret(stored or "")
    except UndecryptableError as error:
        raise UnusableModelError(
            Unusable.KEY_UNREADABLE, text=str(error), provider=provider_name
        ) from error
