"""What people choose of models for themselves: overrides, and when history is summarised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from chatd.accounts.models import User
from chatd.core.errors import bad_request, forbidden, not_found
from chatd.core.ids import canonical_uuid
from chatd.preferences.actions import forget_personal, store_personal
from chatd.preferences.codecs import OverrideMode, PersonalOverride
from chatd.preferences.registry import (
    COMPACTION_THRESHOLD,
    MODEL_OVERRIDES,
    PERSONAL_OVERRIDES,
    PERSONAL_OVERRIDES_ALLOWED,
    ModelOverrideContext,
    PersonalOverrideContext,
)
from chatd.preferences.selectors import (
    personal_value,
    personal_values,
    site_value,
    site_values,
    values_by_parameter,
)
from chatd.preferences.setting import Stored
from chatd.providers.catalog import can_be_used
from chatd.providers.models import ModelConfig
from chatd.providers.overrides import ModelOverride, model_override_in, parse_model_id
from chatd.providers.selectors import existing_model_config

SUB_AGENTS = (ModelOverrideContext.GENERAL, ModelOverrideContext.EXPLORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalOverrides:
    """A person's overrides, whether they count, and what the deployment has for sub-agents."""

    enabled: bool
    chosen: Mapping[PersonalOverrideContext, Stored[PersonalOverride]]
    of_deployment: Mapping[ModelOverrideContext, ModelOverride]


def personal_overrides_of(user: User) -> PersonalOverrides:
    """Return the overrides of a person, in two queries."""
    site = site_values(PERSONAL_OVERRIDES_ALLOWED, *(MODEL_OVERRIDES[each] for each in SUB_AGENTS))
    own = personal_values(user.pk, *PERSONAL_OVERRIDES.values())
    return PersonalOverrides(
        enabled=site[PERSONAL_OVERRIDES_ALLOWED],
        chosen={context: own.stored(each) for context, each in PERSONAL_OVERRIDES.items()},
        of_deployment={context: model_override_in(site, context) for context in SUB_AGENTS},
    )


def choose_personal_override(
    user: User, raw_context: str, wanted: Callable[[], tuple[str, str]]
) -> None:
    """Choose one's own model for a context; `wanted` returns the mode and the id as they came.

    Raises ChatdError 400, 403.
    """
    if not site_value(PERSONAL_OVERRIDES_ALLOWED):
        raise forbidden("An administrator has not enabled user personal model overrides.")
    setting = PERSONAL_OVERRIDES[_parse_context(raw_context)]
    raw_mode, raw_id = wanted()
    mode = _parse_mode(raw_mode)
    setting.check(PersonalOverride(mode))
    override = PersonalOverride(mode, _parse_model(user, mode, raw_id.strip()))
    store_personal(user, setting.to(override))


def root_model_of(user: User) -> ModelConfig | None:
    """Return the model a person has chosen for chats of their own, while it can be used."""
    if not site_value(PERSONAL_OVERRIDES_ALLOWED):
        return None
    override = personal_value(user.pk, PERSONAL_OVERRIDES[PersonalOverrideContext.ROOT])
    config = existing_model_config(override.model_config_id)
    return None if why_unusable(user, config) else config


def why_unusable(user: User, config: ModelConfig | None) -> str:
    """Return why a person cannot use a model, in the contract's words; empty when they can."""
    if config is None or not config.enabled:
        return "model config not found or disabled."
    if config.ai_provider is None or not config.ai_provider.is_on:
        return "provider is not enabled for this model."
    if not can_be_used(user.pk, config.ai_provider.pk):
        return "provider credentials unavailable for this model."
    return ""


def _parse_context(raw: str) -> PersonalOverrideContext:
    try:
        return PersonalOverrideContext(raw)
    except ValueError:
        raise bad_request(
            "Invalid chat personal model override context.",
            detail=f'Expected one of {", ".join(PersonalOverrideContext)}. Got "{raw}".',
        ) from None


def _parse_mode(raw: str) -> OverrideMode:
    try:
        return OverrideMode(raw)
    except ValueError:
        raise bad_request(
            "Invalid personal model override mode.",
            detail=f'Expected one of {", ".join(OverrideMode)}. Got "{raw}".',
        ) from None


def _parse_model(user: User, mode: OverrideMode, raw_id: str) -> UUID | None:
    if mode is not OverrideMode.MODEL:
        if raw_id:
            raise bad_request("model_config_id must be empty unless mode is model.")
        return None
    if not raw_id:
        raise bad_request("model_config_id is required when mode is model.")
    config_id = parse_model_id(raw_id)
    if reason := why_unusable(user, existing_model_config(config_id)):
        raise bad_request(f"Invalid model_config_id: {reason}")
    return config_id


# When history is summarised, in percent of a model's context


def list_thresholds(user: User) -> dict[UUID, int]:
    """Return the percentages a person has chosen, by model config, in the order of the ids."""
    stored = values_by_parameter(user.pk, COMPACTION_THRESHOLD)
    by_id = {canonical_uuid(raw): percent for raw, percent in stored.items()}
    return {key: percent for key, percent in by_id.items() if key and percent is not None}


def choose_threshold(user: User, config_id: UUID, wanted: Callable[[], int]) -> int:
    """Choose the percentage for a model config that is on. Raises ChatdError 400, 404."""
    percent = wanted()
    assignment = COMPACTION_THRESHOLD.of(config_id).to(percent)
    config = existing_model_config(config_id)
    if config is None:
        raise not_found()
    if not config.enabled:
        raise bad_request("Model config is disabled.")
    store_personal(user, assignment)
    return percent


def forget_threshold(user: User, config_id: UUID) -> None:
    """Leave the percentage for a model config to the config again."""
    forget_personal(user, COMPACTION_THRESHOLD.of(config_id))
