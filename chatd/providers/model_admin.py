"""Admin of models: options as the JSON that clients see, prices by date."""

from typing import Any

import msgspec
from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import QuerySet
from django.http import HttpRequest

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.audit.actions import Author
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from chatd.llm.call_config import CallConfig, decode_call_config
from chatd.providers.model_configs import (
    call_config_body,
    delete_model_config,
    resource_of,
    save_model_config,
)
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.price_catalogue import implausible
from chatd.providers.price_models import ModelPrice
from chatd.providers.prices import plan_prices, price_at, withdraw_prices
from chatd.providers.pricing import Prices, read_prices


class ModelConfigForm(forms.ModelForm[ModelConfig]):
    model_config = forms.CharField(
        label="Options",
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}),
        help_text="JSON of call options, provider options and cost; docs/models.md lists them.",
    )
    price_from = forms.SplitDateTimeField(
        label="Cost valid from",
        required=False,
        widget=AdminSplitDateTime(),
        help_text="Empty: from now on. Otherwise a moment to come, until which the cost stays.",
    )
    confirm_price = forms.BooleanField(
        label="The cost is right",
        required=False,
        help_text="Needed when it is far from what the provider is known to take.",
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
        help_texts = {
            "model": "The model's id at the provider.",
            "context_limit": "Tokens that fit the model's context.",
            "compression_threshold": "Percent of the context at which history is summarised.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = self.instance
        prices = Prices() if config._state.adding else price_at(config.pk, now())
        shown = msgspec.json.encode(call_config_body(config, prices))
        self.initial.setdefault("model_config", msgspec.json.format(shown, indent=2).decode())
        self.prices: Prices = prices

    def clean_ai_provider(self) -> AIProvider:
        provider = self.cleaned_data["ai_provider"]
        if provider is None:
            raise forms.ValidationError("Choose the provider that serves this model.")
        return provider  # type: ignore[no-any-return]

    def clean_model_config(self) -> CallConfig:
        try:
            config = decode_call_config(self.cleaned_data["model_config"].strip() or "{}")
            self.prices = read_prices(config.cost)
        except (msgspec.MsgspecError, ValueError) as error:
            raise forms.ValidationError(str(error)) from None
        except ChatdError as error:
            raise forms.ValidationError(error.detail) from None
        return config

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        provider, model = cleaned.get("ai_provider"), cleaned.get("model")
        if "model_config" in cleaned:
            self.instance.options = dict(cleaned["model_config"].options)
        if provider and model and not cleaned.get("confirm_price"):
            for doubt in implausible(provider.type, model, self.prices):
                self.add_error("confirm_price", doubt)
        if (planned := cleaned.get("price_from")) and planned <= now():
            self.add_error("price_from", "Choose a moment to come; what was billed stays.")
        return cleaned


@admin.register(ModelConfig)
class ModelConfigAdmin(admin.ModelAdmin[ModelConfig]):
    form = ModelConfigForm
    list_display = ("__str__", "model", "ai_provider", "enabled", "is_default", "context_limit")
    list_filter = ("enabled", "provider")
    list_select_related = ("ai_provider",)
    search_fields = ("model", "display_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelConfig]:
        return super().get_queryset(request).filter(deleted=False)

    def save_model(self, request: HttpRequest, obj: ModelConfig, form: Any, change: bool) -> None:
        author, planned = _author(request), form.cleaned_data["price_from"]
        save_model_config(obj, author=author, prices=None if planned else form.prices)
        if planned:
            plan_prices(author, resource_of(obj), form.prices, planned)

    def delete_model(self, request: HttpRequest, obj: ModelConfig) -> None:
        delete_model_config(obj, author=_author(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelConfig]) -> None:
        for config in queryset:
            delete_model_config(config, author=_author(request))


@admin.register(ModelPrice)
class ModelPriceAdmin(admin.ModelAdmin[ModelPrice]):
    """The history of prices. Planned ones can be withdrawn; new ones come with their model."""

    list_display = ("model_config", "valid_from", "input", "output", "cache_read", "cache_write")
    list_filter = ("model_config",)
    list_select_related = ("model_config",)
    ordering = ("model_config", "-valid_from")
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ModelPrice | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ModelPrice | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (
            obj is None or obj.valid_from > now()
        )

    def delete_model(self, request: HttpRequest, obj: ModelPrice) -> None:
        withdraw_prices(_author(request), resource_of(obj.model_config), obj)


def _author(request: HttpRequest) -> Author:
    assert isinstance(request.user, User)
    return Actor(request.user).author
