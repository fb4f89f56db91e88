"""What is typed into a form for each kind of setting, and the value that it stands for.

The fields only read: what may be stored is judged by the check of the setting and by its action.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never
from uuid import UUID

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from chatd.api.parsing import parse_uuid
from chatd.core.action_admin import sentence
from chatd.core.errors import ChatdError
from chatd.core.ids import NIL_UUID
from chatd.core.prompts import sanitize_prompt
from chatd.preferences.codecs import Advisor, decode_id, decode_millis, encode_id
from chatd.preferences.kinds import MAX_DAYS, MAX_PROMPT_BYTES
from chatd.preferences.setting import Kind, Setting
from chatd.providers.models import ModelConfig

_MAX_INT64 = 2**63 - 1
_DAY_MILLIS = 24 * 3_600_000
_UNITS = (("d", _DAY_MILLIS), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model config that can be named; one that is off stays where it is chosen already."""

    id: UUID
    name: str
    is_on: bool


def model_choices() -> list[Choice]:
    """Return the model configs by name, in one query."""
    configs = ModelConfig.objects.filter(deleted=False).select_related("ai_provider")
    found = [
        Choice(
            id=config.pk,
            name=f"{config} ({config.ai_provider})",
            is_on=config.enabled and config.ai_provider is not None and config.ai_provider.is_on,
        )
        for config in configs
    ]
    return sorted(found, key=lambda choice: choice.name.lower())


# Texts


class PromptField(forms.CharField):
    """A text for models, cleaned as it is stored."""

    def __init__(self, **about: Any) -> None:
        attrs = {"rows": 8, "spellcheck": "true", "data-max-bytes": MAX_PROMPT_BYTES}
        super().__init__(
            required=False, strip=False, widget=UnfoldAdminTextareaWidget(attrs=attrs), **about
        )

    def to_python(self, value: Any) -> str:
        return sanitize_prompt(str(value or ""))


class LengthOfTimeField(forms.Field):
    """A length of time as `1d12h` or `90m`; the value is in milliseconds."""

    def __init__(self, **about: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})
        super().__init__(required=False, widget=widget, **about)

    def to_python(self, value: Any) -> int:
        text = str(value or "0").replace(" ", "").lower()
        if text.isdigit() and not int(text):
            return 0
        days = re.match(r"([0-9]{1,6})d", text)
        rest = text[days.end() :] if days else text
        millis = decode_millis(rest) if rest else 0
        if millis is None:
            raise forms.ValidationError("Write a length of time such as 90m, 8h or 1d12h.")
        return millis + (int(days[1]) * _DAY_MILLIS if days else 0)

    def prepare_value(self, value: Any) -> str:
        if not isinstance(value, int):
            return str(value or "")
        pieces = ""
        for unit, millis in _UNITS:
            count, value = divmod(value, millis)
            pieces += f"{count}{unit}" if count else ""
        return pieces or "0"


class IdsField(forms.Field):
    """Ids, one to a line."""

    def __init__(self, **about: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
        super().__init__(required=False, widget=widget, **about)

    def to_python(self, value: Any) -> tuple[UUID, ...]:
        words = str(value or "").replace(",", " ").split()
        try:
            return tuple(parse_uuid(word, "Invalid template ID in allowlist.") for word in words)
        except ChatdError as refusal:
            raise forms.ValidationError(sentence(refusal)) from None

    def prepare_value(self, value: Any) -> str:
        return "\n".join(map(str, value)) if isinstance(value, tuple) else str(value or "")


# Numbers and choices


def _whole_number(maximum: int, **about: Any) -> forms.IntegerField:
    attrs = {"min": 0, "max": maximum, "step": 1, "inputmode": "numeric"}
    return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(attrs=attrs), **about)


def _count(**about: Any) -> forms.IntegerField:
    # The check of the advisor knows no upper bound: the API does not decode what is above.
    return _whole_number(_MAX_INT64, max_value=_MAX_INT64, **about)


def _flag(**about: Any) -> forms.BooleanField:
    return forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget(), **about)


class _KeepingSelect(UnfoldAdminSelectWidget):  # type: ignore[misc]
    """Shows what was chosen even where it is not offered, so that a refused form keeps it."""

    def optgroups(self, name: str, value: list[str], attrs: Any = None) -> Any:
        offered = {str(option) for option, _ in self.choices}
        self.choices += [(each, each) for each in value if each not in offered]
        return super().optgroups(name, value, attrs)


def _select(options: Sequence[tuple[str, str]], **about: Any) -> forms.CharField:
    """Offer options; another text is judged by the action, which says more than "invalid"."""
    widget = _KeepingSelect(choices=options)
    return forms.CharField(required=False, widget=widget, **about)


def _model(
    choices: Sequence[Choice], chosen: UUID | None, none: str, *, also_off: bool, **about: Any
) -> forms.CharField:
    options = [("", none)]
    options += [
        (str(each.id), each.name if each.is_on else f"{each.name}, switched off")
        for each in choices
        if each.is_on or also_off or each.id == chosen
    ]
    known = {choice.id for choice in choices}
    if chosen is not None and chosen not in known:
        options.append((str(chosen), f"A model that was deleted ({chosen})"))
    return _select(options, initial=encode_id(chosen), **about)


# Settings

ADVISOR_PARTS = ("enabled", "max_uses_per_run", "max_output_tokens", "model_config_id")


def names_of(setting: Setting[Any]) -> tuple[str, ...]:
    """Return the names of the fields of a setting in the form."""
    if setting.kind is Kind.ADVISOR:
        return tuple(f"{setting.key}.{part}" for part in ADVISOR_PARTS)
    return (setting.key,)


def fields_of(
    setting: Setting[Any], value: Any, models: Sequence[Choice]
) -> Mapping[str, forms.Field]:
    """Return the fields that ask for a setting, filled with its value."""
    if setting.kind is Kind.ADVISOR:
        return dict(zip(names_of(setting), _advisor_fields(value, models), strict=True))
    return {setting.key: _field_of(setting, value, models)}


def _field_of(setting: Setting[Any], value: Any, models: Sequence[Choice]) -> forms.Field:
    about = {"label": setting.label, "initial": value}
    match setting.kind:
        case Kind.TEXT:
            return PromptField(**about)
        case Kind.FLAG:
            return _flag(**about)
        case Kind.DAYS:
            return _whole_number(MAX_DAYS, **about)
        case Kind.DURATION:
            return LengthOfTimeField(**about)
        case Kind.IDS:
            return IdsField(**about)
        case Kind.CHOICE:
            return _select([(choice, choice) for choice in setting.choices], **about)
        case Kind.MODEL:
            return _model(models, value, setting.empty, also_off=False, label=setting.label)
        case Kind.ADVISOR | Kind.PERSONAL_MODEL | Kind.PERCENT:
            raise ValueError(f"{setting.key} has no field of its own")
        case _:
            assert_never(setting.kind)


def _advisor_fields(value: Advisor, models: Sequence[Choice]) -> list[forms.Field]:
    config_id = value.model_config_id
    chosen = None if config_id == NIL_UUID else config_id
    return [
        _flag(label="Agents may ask an advisor", initial=value.enabled),
        _count(
            label="Questions in a run", initial=value.max_uses_per_run, help_text="0 is any number."
        ),
        _count(
            label="Longest answer, in tokens",
            initial=value.max_output_tokens,
            help_text="0 is the default of the model.",
        ),
        _model(models, chosen, "The model of the chat", also_off=True, label="Model"),
    ]


def value_of(setting: Setting[Any], cleaned: Mapping[str, Any]) -> Any:
    """Return the value that was typed; the id of a model as its text."""
    names = names_of(setting)
    if setting.kind is not Kind.ADVISOR:
        return cleaned[names[0]]
    enabled, uses, tokens, config_id = (cleaned[name] for name in names)
    return Advisor(
        enabled=enabled,
        max_uses_per_run=uses,
        max_output_tokens=tokens,
        model_config_id=decode_id(config_id) or NIL_UUID,
    )
