"""The form of a model: what its kind of provider takes, with prices that can be filled in."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from django import forms
from unfold.widgets import (
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from chatd.core.clock import now
from chatd.core.errors import ChatdError
from chatd.llm.call_config import decode_call_config, stored_options
from chatd.llm.option_values import refused_values
from chatd.providers.access import live_providers
from chatd.providers.models import ModelConfig
from chatd.providers.option_fields import (
    OptionField,
    changed_options,
    form_field,
    option_fields,
    price_fields,
    read_option,
    shown_value,
)
from chatd.providers.price_catalogue import implausible
from chatd.providers.prices import price_at
from chatd.providers.pricing import Prices, read_prices


class ModelConfigForm(forms.ModelForm[ModelConfig]):
    """The fields of every model; `form_for` adds the options of a kind of provider."""

    kind = ""
    options_of: tuple[OptionField, ...] = ()

    price_from = forms.SplitDateTimeField(
        label="Valid from",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget(),
        help_text="UTC. Empty: from now on; otherwise a moment to come.",
    )
    confirm_price = forms.BooleanField(
        label="These prices are right",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Needed when one is far from what the provider is known to take.",
    )

    class Meta:
        model = ModelConfig
        fields = (
            "ai_provider",
            "model",
            "display_name",
            "enabled",
            "is_default",
            "context_limit",
            "compression_threshold",
        )
        labels = {
            "ai_provider": "Provider",
            "model": "Model",
            "is_default": "Default",
            "context_limit": "Context",
            "compression_threshold": "Summarise at",
        }
        help_texts = {
            "model": "Its id at the provider, for example gpt-4o-mini.",
            "display_name": "What people see; empty is the id.",
            "enabled": "Off: nobody can choose it, and chats that use it say so.",
            "is_default": "New chats use it.",
            "context_limit": "Tokens that the model reads at once.",
            "compression_threshold": "Percent of the context at which older messages are"
            " summarised; 100 is never.",
        }
        widgets = {"model": UnfoldAdminTextInputWidget(attrs={"list": "known-models"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = self.instance
        providers = self.fields.get("ai_provider")
        if isinstance(providers, forms.ModelChoiceField):
            providers.queryset = live_providers().filter(type=self.kind)
            providers.required, providers.empty_label = True, None
        self.stored: Mapping[str, Any] = stored_options(config.options)
        self.prices = Prices() if config._state.adding else price_at(config.pk, now())
        for key, text in self.prices.texts().items():
            self.initial.setdefault(key, text)
        for each in self.options_of:
            value = read_option(self.stored, each.path)
            if value is not None:
                self.fields[each.name] = form_field(each, value)
                self.initial.setdefault(each.name, shown_value(each.option, value))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            self._read_call_config(cleaned)
        if not self.errors and not cleaned.get("confirm_price"):
            for doubt in implausible(self.kind, cleaned["model"], self.prices):
                self.add_error("confirm_price", doubt)
        if (planned := self.planned) and planned <= now():
            self.add_error("price_from", "Choose a moment to come; what was billed stays.")
        return cleaned

    @property
    def planned(self) -> datetime | None:
        """Return from when the prices are to hold; None is from now on."""
        moment: datetime | None = self.cleaned_data.get("price_from")
        return moment

    def _read_call_config(self, cleaned: Mapping[str, Any]) -> None:
        given = {each.path: cleaned.get(each.name) for each in self.options_of}
        # Django hands a JSON text over as a kind of str of its own.
        wanted = msgspec.json.encode(changed_options(self.stored, given), enc_hook=str)
        try:
            options = decode_call_config(wanted.decode()).options
        except msgspec.ValidationError as error:
            self.add_error(_field_of(_path_in(str(error)), self.options_of), str(error))
            return
        for refused in refused_values(options):
            # what the form does not show stays as it is stored
            if field := _field_of(refused.path, self.options_of):
                self.add_error(field, f"This {refused.advice}.")
        try:
            self.prices = read_prices(_given_prices(cleaned))
        except ChatdError as refusal:
            self.add_error(None, refusal.detail)
            return
        self.instance.options = dict(options)


def form_for(kind: str) -> type[ModelConfigForm]:
    """Return the form of models of a kind of provider."""
    options = tuple(option_fields(kind))
    fields = {each.name: form_field(each, None) for each in options}
    attributes = {"kind": kind, "options_of": options, **price_fields(), **fields}
    return type("ModelConfigForm", (ModelConfigForm,), attributes)


def _given_prices(cleaned: Mapping[str, Any]) -> dict[str, Decimal]:
    return {key: cleaned[key] for key in price_fields() if cleaned.get(key) is not None}


def _path_in(message: str) -> str:
    """Return the path that a refusal of the schema names."""
    return message.rpartition("`$.")[2].partition("`")[0]


def _field_of(path: str, options: tuple[OptionField, ...]) -> str | None:
    """Return the field of the option that a path leads to, or into."""
    return next(
        (each.name for each in options if _leads_into(path, ".".join(each.path))),
        None,
    )


def _leads_into(path: str, option: str) -> bool:
    return path.startswith(option) and path[len(option) : len(option) + 1] in ("", ".", "[")
