"""Model configs: reading and changing them, with the one default that holds across rows.

A change checks the rights, changes and records the change in one transaction. `save_model_config`
and `delete_model_config` leave the rights to whoever calls: the admin and the first start.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.audit.actions import Author, Resource, record, refusals_recorded
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode, bad_request, forbidden, not_found
from chatd.core.ids import NIL_UUID
from chatd.live.config import announce_config
from chatd.llm.call_config import CallConfig, stored_options
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.providers.prices import price_at, set_prices
from chatd.providers.pricing import Prices, read_prices

DEPLOYMENT = Author(None, "chatd")
"""Who makes the demo model."""

LIST_ORDER = ("provider", "model", "-updated_at", "-id")

_AUDITED = (
    "ai_provider_id",
    "model",
    "display_name",
    "enabled",
    "is_default",
    "context_limit",
    "compression_threshold",
    "options",
    "deleted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfigFields:
    """What is asked for of a new config or a change: blank and None are not given."""

    ai_provider_id: UUID | None = None
    provider: str = ""
    model: str = ""
    display_name: str = ""
    enabled: bool | None = None
    is_default: bool | None = None
    context_limit: int | None = None
    compression_threshold: int | None = None
    call_config: CallConfig | None = None


def list_model_configs_for(user: User) -> list[ModelConfig]:
    """Return the configs a user may see: those that can be used, all to who reads the settings."""
    configs = ModelConfig.objects.filter(deleted=False)
    if SiteRight.CONFIG_READ not in site_rights(user):
        configs = configs.filter(
            enabled=True, ai_provider__enabled=True, ai_provider__deleted=False
        )
    return list(configs.order_by(*LIST_ORDER))


def create_model_config(actor: Actor, read: Callable[[], ModelConfigFields]) -> ModelConfig:
    """Make a config; `read` decodes what is asked for, once the rights are known.

    Raises ChatdError 400, 403, 412.
    """
    check_may_configure(actor.user)
    wanted = read()
    with transaction.atomic():
        lock_model_configs()
        config = ModelConfig(ai_provider=_provider_of_new(wanted), created_by=actor.user.pk)
        config.model = wanted.model.strip()
        if not config.model:
            raise bad_request("Model is required.")
        if wanted.context_limit is None or wanted.context_limit <= 0:
            raise bad_request(
                "Context limit is required.", detail="context_limit must be greater than zero."
            )
        prices = _apply(config, wanted)
        return save_model_config(config, author=actor.author, prices=prices)


def update_model_config(
    actor: Actor, config_id: UUID, read: Callable[[], ModelConfigFields]
) -> ModelConfig:
    """Change a config; `read` decodes the change, once it is known that there is such a config.

    Raises ChatdError 400, 403, 404, 412.
    """
    check_may_configure(actor.user)
    found = _existing(config_id)
    with refusals_recorded(actor.author, resource_of(found)):
        wanted = read()
        with transaction.atomic():
            lock_model_configs()
            config = _existing(config_id)
            config.ai_provider = _provider_of_changed(config, wanted)
            config.model = wanted.model.strip() or config.model
            if wanted.context_limit is not None and wanted.context_limit <= 0:
                raise bad_request("Context limit must be greater than zero.")
            prices = _apply(config, wanted)
            return save_model_config(config, author=actor.author, prices=prices)


@transaction.atomic
def remove_model_config(actor: Actor, config_id: UUID) -> None:
    """Delete a config softly. Raises ChatdError 403, 404."""
    check_may_configure(actor.user)
    lock_model_configs()
    delete_model_config(_existing(config_id), author=actor.author)


def call_config_body(config: ModelConfig, prices: Prices) -> dict[str, Any]:
    """Return a config's `model_config` as clients see it; empty when nothing is set."""
    options, cost = dict(stored_options(config.options)), prices.texts()
    return {**options, "cost": cost} if cost else options


def check_may_configure(user: User) -> None:
    """Raise the 403 for who may not change the settings of the deployment."""
    if SiteRight.CONFIG_UPDATE not in site_rights(user):
        raise forbidden(detail="Only administrators may change models.")


@transaction.atomic
def save_model_config(
    config: ModelConfig, *, author: Author = DEPLOYMENT, prices: Prices | None = None
) -> ModelConfig:
    """Store a model config and keep exactly one default among the live ones.

    The first config becomes the default; a new default takes over from the old one; a sole
    default cannot stop being one, and another takes over where there is another. `prices` hold
    from now on; None leaves them as they are. Raises the 404 for one that was deleted meanwhile.
    """
    if config.ai_provider is None:
        raise ValueError("A model config needs a provider.")
    lock_model_configs()
    before = _audited_row(config.pk)
    if before.get("deleted"):
        raise not_found()
    config.provider = config.ai_provider.type
    config.updated_at, config.updated_by = now(), author.id
    if config.is_default:
        others = ModelConfig.objects.filter(deleted=False, is_default=True).exclude(pk=config.pk)
        others.update(is_default=False)
    config.save()
    if prices is not None:
        set_prices(config.pk, prices, by=author.id)
    _ensure_default(not_preferred=config.pk)
    config.refresh_from_db(fields=["is_default"])
    _record(author, Action.WRITE if before else Action.CREATE, config, before)
    announce_config("model_config", config.pk)
    return config


@transaction.atomic
def delete_model_config(config: ModelConfig, *, author: Author = DEPLOYMENT) -> None:
    """Soft-delete a config: chats and costs keep their reference; a new default is picked."""
    lock_model_configs()
    before = _audited_row(config.pk)
    config.deleted = True
    config.deleted_at = now()
    config.is_default = False
    config.save(update_fields=["deleted", "deleted_at", "is_default"])
    _ensure_default(not_preferred=config.pk)
    _record(author, Action.DELETE, config, before)
    announce_config("model_config", config.pk)


@transaction.atomic
def delete_models_of(provider: AIProvider, *, author: Author = DEPLOYMENT) -> None:
    """Soft-delete the model configs of a provider; a new default is picked among the others."""
    lock_model_configs()
    for config in ModelConfig.objects.filter(ai_provider=provider, deleted=False):
        delete_model_config(config, author=author)


def lock_model_configs() -> None:
    """Let one change of model configs go on at a time, until its transaction ends.

    Two at once could each find no default, or each pick one. A config needs a provider, so the
    rows of all providers are a lock that is there before the first config is.
    """
    providers = AIProvider.objects.select_for_update(no_key=True).order_by("pk")
    list(providers.values_list("pk", flat=True))


def resource_of(config: ModelConfig) -> Resource:
    """Return the config as the audit log names it."""
    return Resource("model_config", str(config.pk), str(config))


def _existing(config_id: UUID) -> ModelConfig:
    configs = ModelConfig.objects.select_related("ai_provider")
    config = configs.filter(pk=config_id, deleted=False).first()
    if config is None:
        raise not_found()
    return config


def _apply(config: ModelConfig, wanted: ModelConfigFields) -> Prices | None:
    """Set what is the same for new and changed configs; return the prices asked for, if any."""
    config.display_name = wanted.display_name.strip() or config.display_name
    _check_length("model", config.model, 256)
    _check_length("display_name", config.display_name, 128)
    if wanted.enabled is not None:
        config.enabled = wanted.enabled
    if wanted.is_default is not None:
        config.is_default = wanted.is_default
    if wanted.context_limit is not None:
        config.context_limit = wanted.context_limit
    if wanted.compression_threshold is not None:
        if not 0 <= wanted.compression_threshold <= 100:
            raise bad_request(
                "Invalid compression threshold.",
                detail="compression_threshold must be between 0 and 100.",
            )
        config.compression_threshold = wanted.compression_threshold
    if wanted.call_config is None:
        return None
    config.options = dict(wanted.call_config.options)
    return read_prices(wanted.call_config.cost)


def _check_length(field: str, text: str, longest: int) -> None:
    if len(text) > longest or "\x00" in text:
        raise bad_request(
            "Invalid model config.",
            detail=f"{field} must be at most {longest} characters, none of them U+0000.",
        )


# Which provider is meant


def _provider_of_new(wanted: ModelConfigFields) -> AIProvider:
    """Older clients name the kind of provider alone: then there must be one of that kind."""
    if wanted.ai_provider_id is not None and wanted.ai_provider_id != NIL_UUID:
        return _usable_provider(wanted.ai_provider_id)
    kind = wanted.provider.strip().lower()
    of_kind = list(AIProvider.objects.filter(type=kind, deleted=False)[:2]) if kind else []
    if len(of_kind) != 1:
        raise bad_request("AI provider ID is required.")
    return _usable_provider(of_kind[0].pk)


def _provider_of_changed(config: ModelConfig, wanted: ModelConfigFields) -> AIProvider | None:
    if wanted.ai_provider_id is not None and wanted.ai_provider_id != NIL_UUID:
        return _usable_provider(wanted.ai_provider_id)
    kind = wanted.provider.strip().lower()
    if kind and kind not in ProviderType.values:
        known = ", ".join(ProviderType.values)
        raise bad_request("Invalid provider.", detail=f"Provider must be one of: {known}")
    if kind and kind != config.provider:
        raise bad_request("AI provider ID is required when updating provider.")
    return config.ai_provider


def _usable_provider(provider_id: UUID) -> AIProvider:
    provider = AIProvider.objects.filter(pk=provider_id, deleted=False).first()
    if provider is None:
        raise ChatdError(ErrorCode.PRECONDITION_FAILED, "AI provider is not configured.")
    if not provider.enabled:
        raise ChatdError(ErrorCode.PRECONDITION_FAILED, "AI provider is disabled.")
    return provider


# The default, and the audit log


def _ensure_default(*, not_preferred: UUID) -> None:
    live = ModelConfig.objects.filter(deleted=False)
    if live.filter(is_default=True).exists():
        return
    ordered = live.order_by(*LIST_ORDER)
    chosen = ordered.exclude(pk=not_preferred).first() or ordered.first()
    if chosen is not None:
        ModelConfig.objects.filter(pk=chosen.pk).update(is_default=True)


def _audited_row(config_id: UUID) -> Mapping[str, Any]:
    """Return a stored config as the audit log knows it; empty for one that is new."""
    stored = ModelConfig.objects.filter(pk=config_id).first()
    return {} if stored is None else _audited(stored)


def _audited(config: ModelConfig) -> Mapping[str, Any]:
    prices = asdict(price_at(config.pk, now()))
    return {name: getattr(config, name) for name in _AUDITED} | {"price": prices}


def _record(author: Author, action: Action, config: ModelConfig, before: Mapping[str, Any]) -> None:
    after = {} if action is Action.DELETE else _audited(config)
    record(author, action, resource_of(config), before=before, after=after)
