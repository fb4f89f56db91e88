"""Reads of providers and models, and what a turn needs to call one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from chatd.core.crypto import SecretState, UndecryptableError
from chatd.core.fields import open_secret, secret_state
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig


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
    """Return the key of a provider; servers that need none have none."""
    keys = AIProviderKey.objects.filter(provider_id=provider_id).order_by("created_at", "id")
    try:
        return open_secret(key_in_use(keys.values_list("api_key", flat=True)))
    except UndecryptableError as error:
        raise UnusableModelError(
            Unusable.KEY_UNREADABLE, text=str(error), provider=provider_name
        ) from error


def key_in_use(stored: Iterable[str]) -> str:
    """Return which of a provider's stored keys, the oldest first, calls are made with.

    That is the first one that can be read, else the first; blank without any.
    """
    keys = [key for key in stored if key]
    readable = (key for key in keys if not secret_state(key).needs_reentry)
    return next(readable, keys[0] if keys else "")


def key_state(provider: AIProvider) -> SecretState:
    """Return the state of the key that calls to a provider are made with."""
    return secret_state(key_in_use(key.api_key for key in provider.keys.all()))


def count_unpriced_models() -> int:
    """Return how many enabled models have neither a price of input nor one of output."""
    enabled = ModelConfig.objects.filter(enabled=True, deleted=False)
    return sum(not _is_priced(options) for options in enabled.values_list("options", flat=True))


def _is_priced(options: Mapping[str, Any]) -> bool:
    """Look for prices where they stand now, and at the top level, where they stood before."""
    stored = options.get("cost")
    prices = {**options, **(stored if isinstance(stored, Mapping) else {})}
    names = ("input_price_per_million_tokens", "output_price_per_million_tokens")
    return any(prices.get(name) is not None for name in names)
