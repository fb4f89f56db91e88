"""Settings of the deployment that name models: which one does a job, and the advisor's."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.core.errors import ChatdError, bad_request
from chatd.core.ids import NIL_UUID, canonical_uuid
from chatd.preferences.actions import change_setting, check_may_change, store_settings
from chatd.preferences.codecs import Advisor
from chatd.preferences.registry import ADVISOR, MODEL_OVERRIDES, ModelOverrideContext
from chatd.preferences.selectors import check_may_read, site_values
from chatd.preferences.setting import Values
from chatd.providers.selectors import existing_model_config

_ANY = MODEL_OVERRIDES[ModelOverrideContext.GENERAL]
"""Rights are the same for all, and come before the question which one is meant."""

INVALID_ID = "Invalid model_config_id."


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverride:
    """The model that the deployment uses for a job; None leaves the choice to the job."""

    context: ModelOverrideContext
    model_config_id: UUID | None
    is_malformed: bool


def model_override_in(values: Values, context: ModelOverrideContext) -> ModelOverride:
    """Return an override from settings that were read."""
    stored = values.stored(MODEL_OVERRIDES[context])
    return ModelOverride(
        context=context, model_config_id=stored.value, is_malformed=stored.is_malformed
    )


def get_model_override_for(user: User, raw_context: str) -> ModelOverride:
    """Return the override of a context. Raises ChatdError 404, 400 for an unknown context."""
    check_may_read(user, _ANY)
    context = _parse_context(raw_context)
    return model_override_in(site_values(MODEL_OVERRIDES[context]), context)


def change_model_override(actor: Actor, raw_context: str, wanted: Callable[[], str]) -> None:
    """Name the model of a context; a blank text names none. Raises ChatdError 400, 403."""
    check_may_change(actor.user, _ANY)
    setting = MODEL_OVERRIDES[_parse_context(raw_context)]
    change_setting(actor, setting, lambda: _parse_enabled_model(wanted()))


def change_advisor(actor: Actor, wanted: Callable[[], Advisor]) -> None:
    """Change the advisor's settings; its model may be disabled. Raises ChatdError 400, 403."""
    check_may_change(actor.user, ADVISOR)
    advisor = wanted()
    assignment = ADVISOR.to(advisor)
    config_id = advisor.model_config_id
    if config_id != NIL_UUID and existing_model_config(config_id) is None:
        raise bad_request(
            f'model_config_id "{config_id}" does not match any existing model config.'
        )
    store_settings(actor.author, [assignment])


def parse_model_id(raw: str) -> UUID:
    """Return the id of a model config in its canonical form. Raises ChatdError 400."""
    found = canonical_uuid(raw)
    if found is None:
        raise bad_request(INVALID_ID, detail=f'Value "{raw}" is not a valid UUID.')
    if found == NIL_UUID:
        raise bad_request(INVALID_ID, detail="The nil UUID names no model config.")
    return found


def _parse_context(raw: str) -> ModelOverrideContext:
    try:
        return ModelOverrideContext(raw)
    except ValueError:
        raise bad_request(
            "Invalid chat model override context.",
            detail=f'Expected one of {", ".join(ModelOverrideContext)}. Got "{raw}".',
        ) from None


def _parse_enabled_model(raw: str) -> UUID | None:
    if not raw.strip():
        return None
    config_id = parse_model_id(raw.strip())
    config = existing_model_config(config_id)
    if config is None:
        raise _refused("There is no model config with this id.")
    if not config.enabled:
        raise _refused("The model config is disabled.")
    if config.ai_provider is None or not config.ai_provider.is_on:
        raise _refused("The provider of the model config is disabled.")
    return config_id


def _refused(detail: str) -> ChatdError:
    return bad_request(INVALID_ID, detail=detail)
