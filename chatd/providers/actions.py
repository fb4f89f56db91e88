"""Writes to providers, keys and model configs, with the rules that hold across rows."""

from uuid import UUID

from django.db import transaction

from chatd.core.clock import now
from chatd.core.fields import seal
from chatd.live.config import announce_config
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig


@transaction.atomic
def save_provider(provider: AIProvider, *, new_key: str = "") -> AIProvider:
    """Store a provider of the deployment itself; a non-empty `new_key` replaces its shared keys.

    What people ask for goes through `administration`, which asks who they are.
    """
    provider.updated_at = now()
    provider.save()
    if new_key:
        AIProviderKey.objects.filter(provider=provider).delete()
        AIProviderKey.objects.create(provider=provider, api_key=seal(new_key))
    announce_config("providers", provider.pk)
    return provider


@transaction.atomic
def save_model_config(config: ModelConfig) -> ModelConfig:
    """Store a model config and keep exactly one default among the live ones.

    The first config becomes the default; a new default takes over from the old one; a sole
    default cannot stop being one, and another takes over where there is another.
    """
    if config.ai_provider is None:
        raise ValueError("A model config needs a provider.")
    config.provider = config.ai_provider.type
    config.updated_at = now()
    others = ModelConfig.objects.select_for_update().filter(deleted=False).exclude(pk=config.pk)
    if config.is_default:
        others.filter(is_default=True).update(is_default=False)
    config.save()
    _ensure_default(not_preferred=config.pk)
    config.refresh_from_db(fields=["is_default"])
    announce_config("model_config", config.pk)
    return config


@transaction.atomic
def delete_model_config(config: ModelConfig) -> None:
    """Soft-delete a config: chats and costs keep their reference; a new default is picked."""
    config.deleted = True
    config.deleted_at = now()
    config.is_default = False
    config.save(update_fields=["deleted", "deleted_at", "is_default"])
    _ensure_default(not_preferred=config.pk)
    announce_config("model_config", config.pk)


@transaction.atomic
def delete_models_of(provider: AIProvider) -> None:
    """Soft-delete the model configs of a provider; a new default is picked among the others."""
    for config in ModelConfig.objects.filter(ai_provider=provider, deleted=False):
        delete_model_config(config)


def _ensure_default(*, not_preferred: UUID) -> None:
    live = ModelConfig.objects.filter(deleted=False)
    if live.filter(is_default=True).exists():
        return
    ordered = live.order_by("provider", "model", "-updated_at", "-id")
    chosen = ordered.exclude(pk=not_preferred).first() or ordered.first()
    if chosen is not None:
        ModelConfig.objects.filter(pk=chosen.pk).update(is_default=True)
