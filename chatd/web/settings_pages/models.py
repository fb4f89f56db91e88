"""Which models a person's chats and agents use, and when their history is summarised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.core.errors import Validation, bad_request, not_found
from chatd.core.ids import canonical_uuid
from chatd.preferences.codecs import OverrideMode, PersonalOverride, encode_personal_override
from chatd.preferences.registry import (
    COMPACTION_THRESHOLD,
    PERSONAL_OVERRIDES,
    ModelOverrideContext,
    PersonalOverrideContext,
)
from chatd.preferences.setting import Setting
from chatd.providers.access import enabled_providers, list_access
from chatd.providers.models import ModelConfig
from chatd.providers.personal import (
    PersonalOverrides,
    choose_personal_override,
    choose_threshold,
    forget_threshold,
    list_thresholds,
    personal_overrides_of,
)
from chatd.web.settings_pages.forms import Field, Form, Option
from chatd.web.settings_pages.frame import Shown

_MALFORMED = " What was stored cannot be understood, so the first choice holds."
_UNUSABLE = "cannot be used now"


@dataclass(frozen=True, slots=True)
class Choice:
    """A form for one setting, with whether anything goes by that setting yet."""

    setting: Setting[PersonalOverride]
    form: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The forms about models: `choices` is None where people may not choose models."""

    choices: Sequence[Choice] | None
    thresholds: Sequence[Form]


def get_model_settings(shown: Shown, user: User) -> ModelSettings:
    """Return the forms about models as they stand for a person, in at most seven queries."""
    models, thresholds = _enabled_models(), list_thresholds(user)
    overrides = personal_overrides_of(user)
    choices = _choices(shown, user, overrides, models) if overrides.enabled else None
    return ModelSettings(
        choices=choices,
        thresholds=[
            shown.form(_threshold_form(model, thresholds.get(model.pk)))
            for model in models.values()
        ],
    )


def _enabled_models() -> dict[UUID, ModelConfig]:
    """Return the models that are on, the default one first."""
    on = ModelConfig.objects.filter(
        deleted=False, enabled=True, ai_provider__enabled=True, ai_provider__deleted=False
    )
    ordered = on.order_by("-is_default", "display_name", "model", "id")
    return {model.pk: model for model in ordered}


# which model


def choose_model(actor: Actor, request: HttpRequest) -> str:
    """Store the model that was picked for a kind of chats. Raises ChatdError 400, 403."""
    mode, _, model_id = request.POST.get("model", "").partition(":")
    context = request.POST.get("form", "").partition(":")[2]
    choose_personal_override(actor.user, context, lambda: (mode, model_id))
    return "Your choice is saved."


def _choices(
    shown: Shown, user: User, overrides: PersonalOverrides, models: Mapping[UUID, ModelConfig]
) -> list[Choice]:
    usable_ids = {
        access.provider.pk
        for access in list_access(user.pk, enabled_providers())
        if access.choice.unavailable is None
    }
    usable = [model for model in models.values() if model.ai_provider_id in usable_ids]
    names = _names(overrides, models)
    choices = []
    for context, setting in PERSONAL_OVERRIDES.items():
        options = _first_options(context, overrides, models, names)
        options += [Option(value=f"model:{model.pk}", label=str(model)) for model in usable]
        form = _model_form(context, setting, overrides, options, names)
        choices.append(Choice(setting, shown.form(form)))
    return choices


def _names(overrides: PersonalOverrides, models: Mapping[UUID, ModelConfig]) -> dict[UUID, str]:
    """Return what the models are called that are on or were chosen."""
    chosen = {stored.value.model_config_id for stored in overrides.chosen.values()}
    chosen |= {each.model_config_id for each in overrides.of_deployment.values()}
    missing = {each for each in chosen if each is not None} - models.keys()
    known = {key: str(model) for key, model in models.items()}
    if missing:
        known |= {each.pk: str(each) for each in ModelConfig.objects.filter(pk__in=missing)}
    return known


def _first_options(
    context: PersonalOverrideContext,
    overrides: PersonalOverrides,
    models: Mapping[UUID, ModelConfig],
    names: Mapping[UUID, str],
) -> list[Option]:
    """Return the choices that name no model, the default one first."""
    if context is PersonalOverrideContext.ROOT:
        default = next((str(model) for model in models.values() if model.is_default), "")
        label = f"The default model ({default})" if default else "The default model"
        return [Option(value=OverrideMode.CHAT_DEFAULT, label=label)]
    chosen = overrides.of_deployment[ModelOverrideContext(context)].model_config_id
    named = names.get(chosen, "a model that is gone") if chosen else "the model of the chat"
    return [
        Option(value=OverrideMode.DEPLOYMENT_DEFAULT, label=f"The choice of this server ({named})"),
        Option(value=OverrideMode.CHAT_DEFAULT, label="The model of the chat"),
    ]


def _model_form(
    context: PersonalOverrideContext,
    setting: Setting[PersonalOverride],
    overrides: PersonalOverrides,
    options: list[Option],
    names: Mapping[UUID, str],
) -> Form:
    stored = overrides.chosen[context]
    value = encode_personal_override(stored.value)
    chosen = stored.value.model_config_id
    if chosen and value not in {option.value for option in options}:
        named = names.get(chosen, "A model that is gone")
        options = [*options, Option(value=value, label=f"{named} ({_UNUSABLE})")]
    field = Field(
        name="model",
        label=setting.label,
        kind="select",
        hint=setting.form_hint + (_MALFORMED if stored.is_malformed else ""),
        values=[value],
        options=options,
    )
    return Form(
        name=f"model:{context}",
        submit="Save",
        subject=setting.label,
        fields=[field],
        is_inline=True,
    )


# when history is summarised


def change_threshold(actor: Actor, request: HttpRequest) -> str:
    """Store the percentage for a model, or forget it. Raises ChatdError 400, 404."""
    config_id = canonical_uuid(request.POST.get("form", "").partition(":")[2])
    if config_id is None:
        raise not_found()
    text = request.POST.get("threshold_percent", "").strip()
    if not text:
        forget_threshold(actor.user, config_id)
        return "The model's own percentage holds again."
    choose_threshold(actor.user, config_id, lambda: _percent(text))
    return "Your percentage is saved."


def _percent(text: str) -> int:
    try:
        return int(text) if len(text) < 6 else 10**6
    except ValueError:
        advice = "must be a whole number of percent, or empty."
        wrong = Validation("threshold_percent", "A number is needed.", advice)
        raise bad_request("The percentage was not saved.", validations=[wrong]) from None


def _threshold_form(model: ModelConfig, percent: int | None) -> Form:
    field = Field(
        name="threshold_percent",
        label=str(model),
        kind="number",
        hint=f"Empty is the model's own: {model.compression_threshold}.",
        values=[] if percent is None else [str(percent)],
        attributes={"min": 0, "max": 100, "placeholder": model.compression_threshold},
    )
    return Form(
        name=f"compaction:{model.pk}",
        submit="Save",
        subject=f"{COMPACTION_THRESHOLD.label} of {model}",
        fields=[field],
        is_inline=True,
    )
