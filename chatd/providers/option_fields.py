"""Form fields for the options of a model, made of their schema, and back into a call config.

A form has the options that its kind of provider takes. Whatever else is stored stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from chatd.llm.option_values import canonical, is_known
from chatd.llm.options import PARAMETERS, PRICES, SECTIONS, Option, OptionType
from chatd.llm.providers import find_kind

_UNSET = "Not set"
_SECTIONS_KEY = "provider_options"


@dataclass(frozen=True, slots=True)
class OptionField:
    """An option where it stands in a call config; `is_rare` ones are out of the way."""

    path: tuple[str, ...]
    option: Option
    label: str
    is_rare: bool

    @property
    def name(self) -> str:
        """Return the name of its field in a form."""
        return "option:" + ".".join(self.path)


def option_fields(kind: str) -> list[OptionField]:
    """Return the options that a kind of provider takes, in the order of the schema."""
    known = find_kind(kind)
    parameters = [option for option in PARAMETERS if kind in option.kinds]
    section = known.options_key if known else ""
    return [
        *_walk(parameters, ()),
        *_walk(SECTIONS.get(section, ()), (_SECTIONS_KEY, section)),
    ]


def price_fields() -> dict[str, forms.Field]:
    """Return the fields of prices by their keys in `cost`."""
    return {
        option.key: forms.DecimalField(
            label=option.label.removesuffix(" per million tokens"),
            required=False,
            min_value=0,
            widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "prefix": "$"}),
        )
        for option in PRICES
    }


def form_field(each: OptionField, stored: Any) -> forms.Field:
    """Return the field of an option. A stored value that is not a known one is shown, not kept."""
    option = each.option
    about: dict[str, Any] = {"label": each.label, "required": False, "help_text": option.help}
    least, most = option.least, option.most
    match option.type:
        case OptionType.INTEGER:
            return forms.IntegerField(
                **about,
                min_value=-(2**63) if least is None else int(least),
                max_value=2**63 - 1 if most is None else int(most),
                widget=UnfoldAdminIntegerFieldWidget(),
            )
        case OptionType.NUMBER:
            widget = UnfoldAdminDecimalFieldWidget(attrs={"step": "any"})
            return forms.FloatField(**about, min_value=least, max_value=most, widget=widget)
        case OptionType.BOOLEAN:
            return forms.TypedChoiceField(
                **about,
                choices=[("", _UNSET), ("true", "Yes"), ("false", "No")],
                coerce=lambda text: text == "true",
                empty_value=None,
                widget=UnfoldAdminSelectWidget(),
            )
        case OptionType.ENUM:
            known = list(option.values)
            if isinstance(stored, str) and not is_known(option, stored):
                known.append(stored)
            choices = [("", _UNSET), *((value, value) for value in known)]
            return ChosenField(option, **about, choices=choices, widget=UnfoldAdminSelectWidget())
        case OptionType.LIST if option.items is OptionType.TEXT:
            return LinesField(**about, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
        case OptionType.LIST | OptionType.OBJECT:
            return forms.JSONField(**about, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}))
        case OptionType.TEXT | OptionType.PRICE:
            return forms.CharField(**about, strip=False, widget=UnfoldAdminTextInputWidget())


def shown_value(option: Option, stored: Any) -> Any:
    """Return a stored value as its field shows it."""
    if isinstance(stored, bool):
        return str(stored).lower()
    if option.type is OptionType.ENUM and isinstance(stored, str):
        return canonical(option, stored) or stored
    return stored


class ChosenField(forms.ChoiceField):
    """One of the values of an enumeration, in any case."""

    def __init__(self, option: Option, **about: Any) -> None:
        super().__init__(**about)
        self._option = option

    def to_python(self, value: Any) -> str:
        text: str = super().to_python(value)
        return canonical(self._option, text) or text


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        lines = [line.strip() for line in (value or "").splitlines()]
        return [line for line in lines if line]


def read_option(options: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return a value of a call config, None where it is not set."""
    found: Any = options
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def changed_options(
    stored: Mapping[str, Any], given: Mapping[tuple[str, ...], Any]
) -> dict[str, Any]:
    """Return stored options with those of a form in their place; None and "" unset one.

    Objects that only the unset option needed are left out, those that were there empty stay.
    """
    options = deepcopy(dict(stored))
    for path, value in given.items():
        if value is None or value in ("", [], {}):
            if read_option(options, path) is not None:
                _remove(options, path)
        else:
            _put(options, path, value)
    return options


def _walk(
    options: Sequence[Option],
    path: tuple[str, ...],
    label: str = "",
    is_rare: bool = False,
) -> Iterator[OptionField]:
    for option in options:
        here, rare = (*path, option.key), is_rare or option.hidden
        named = f"{label}: {option.label.lower()}" if label else option.label
        if option.members and option.type is OptionType.OBJECT:
            yield from _walk(option.members, here, named, rare)
        else:
            yield OptionField(here, option, named, rare)


def _put(options: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = options.get(key)
        options[key] = inner if isinstance(inner, dict) else {}
        options = options[key]
    options[path[-1]] = value


def _remove(options: dict[str, Any], path: tuple[str, ...]) -> None:
    *outer, key = path
    holder = read_option(options, outer) if outer else options
    del holder[key]
    if outer and not holder:
        _remove(options, tuple(outer))
