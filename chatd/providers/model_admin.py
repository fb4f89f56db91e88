"""The administration of models: the provider first, then what models of its kind take."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.loader import get_template
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from chatd.accounts.actor import acting
from chatd.core.action_admin import ActionAdmin, hold, tell_how_many
from chatd.core.clock import now
from chatd.core.ids import canonical_uuid
from chatd.providers.access import live_providers
from chatd.providers.model_configs import (
    check_may_configure,
    delete_model_config,
    resource_of,
    save_model_config,
)
from chatd.providers.model_forms import ModelConfigForm, form_for
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.providers.option_fields import price_fields
from chatd.providers.price_catalogue import (
    Suggestion,
    has_known_prices,
    known_models,
    suggest_prices,
)
from chatd.providers.price_models import ModelPrice
from chatd.providers.prices import plan_prices, prices_at, withdraw_prices
from chatd.providers.pricing import Prices

SUGGEST = "_suggest"


@admin.register(ModelConfig)
class ModelConfigAdmin(ActionAdmin[ModelConfig]):
    form = ModelConfigForm
    list_display = ("__str__", "model", "of_provider", "price", "enabled", "default")
    list_filter = ("enabled", "is_default", "provider")
    list_select_related = ("ai_provider",)
    search_fields = ("model", "display_name", "ai_provider__name")
    ordering = ("provider", "model", "-updated_at", "-id")
    change_form_after_template = "admin/providers/modelconfig/known_models.html"
    actions = ("switch_on", "switch_off")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelConfig]:
        return super().get_queryset(request).filter(deleted=False)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read the prices of the page's models at once."""
        changelist = super().get_changelist_instance(request)
        page = list(changelist.result_list)
        known = prices_at([config.pk for config in page], now())
        for config in page:
            config.shown_prices = known.get(config.pk, Prices())
        changelist.result_list = page
        return changelist

    @admin.display(description="Provider", ordering="ai_provider")
    def of_provider(self, config: ModelConfig) -> str:
        return str(config.ai_provider)

    @admin.display(description="Default", boolean=True, ordering="is_default")
    def default(self, config: ModelConfig) -> bool:
        return config.is_default

    @admin.display(description="Input / output, $ per million")
    def price(self, config: Any) -> str:
        prices: Prices = config.shown_prices
        if prices.input is None and prices.output is None:
            return "no price"
        return " / ".join("-" if p is None else f"{p:f}" for p in (prices.input, prices.output))

    # The form

    def get_form(
        self,
        request: HttpRequest,
        obj: ModelConfig | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        kwargs["form"] = form_for(_kind(request, obj))
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: ModelConfig | None = None) -> Any:
        options = form_for(_kind(request, obj)).options_of
        usual = [each.name for each in options if not each.is_rare]
        rare = [each.name for each in options if each.is_rare]
        named = ["ai_provider", "model", "display_name", "context_limit"]
        named += ["compression_threshold", "enabled", "is_default"]
        prices = [*price_fields(), "price_from", "confirm_price"]
        return [
            ("Model", {"fields": named}),
            ("Prices", {"fields": prices, "description": _about_prices(_kind(request, obj))}),
            ("Options", {"fields": usual, "description": "What is not set is up to the provider."}),
            *([("Rare options", {"fields": rare, "classes": ["collapse"]})] if rare else []),
        ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        chosen = _asked_provider(request)
        return {"ai_provider": chosen.pk if chosen else None, "enabled": True}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        chosen = _asked_provider(request)
        if chosen is not None:
            known = {"known_models": known_models(chosen.type), **(extra_context or {})}
            return super().add_view(request, form_url, known)
        check_may_configure(acting(request).user)
        context = {
            **self.admin_site.each_context(request),
            "title": "Which provider serves the model?",
            "opts": self.opts,
            "providers": live_providers().filter(enabled=True),
        }
        return TemplateResponse(request, "admin/providers/modelconfig/providers.html", context)

    # Prices that are known

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        if request.method != "POST" or SUGGEST not in request.POST:
            return super().changeform_view(request, object_id, form_url, extra_context)
        return self._suggested(request, object_id, form_url, extra_context)

    def _suggested(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: Any
    ) -> Any:
        """Show the same form again, nothing stored, with the prices that are known filled in."""
        stored = self.get_object(request, object_id) if object_id else None
        posted = request.POST.copy()
        del posted[SUGGEST]
        found = suggest_prices(_kind(request, stored), posted.get("model", "").strip())
        if found is None:
            messages.warning(request, "No prices are known of this model. Enter them yourself.")
        else:
            _fill_in(posted, found)
            messages.success(request, f"Filled in what is known of {found.model}. Look it over.")
        request.POST = posted  # type: ignore[assignment]
        hold(request)
        return super().changeform_view(request, object_id, form_url, extra_context)

    # What is stored

    def save_model(self, request: HttpRequest, obj: ModelConfig, form: Any, change: bool) -> None:
        author, planned = acting(request).author, form.planned
        check_may_configure(acting(request).user)
        save_model_config(obj, author=author, prices=None if planned else form.prices)
        if planned:
            plan_prices(author, resource_of(obj), form.prices, planned)

    @admin.action(description="Switch on", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[ModelConfig]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[ModelConfig]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[ModelConfig], *, enabled: bool
    ) -> None:
        check_may_configure(acting(request).user)
        for config in queryset:
            config.enabled = enabled
            save_model_config(config, author=acting(request).author)
        tell_how_many(request, queryset, "switched on" if enabled else "switched off")

    def delete_model(self, request: HttpRequest, obj: ModelConfig) -> None:
        check_may_configure(acting(request).user)
        delete_model_config(obj, author=acting(request).author)


@admin.register(ModelPrice)
class ModelPriceAdmin(ActionAdmin[ModelPrice]):
    """The history of prices. Planned ones can be withdrawn; new ones come with their model."""

    list_display = (
        "model_config",
        "valid_from",
        "holds",
        "input",
        "output",
        "cache_read",
        "cache_write",
    )
    list_filter = (("model_config", AutocompleteSelectFilter),)
    list_select_related = ("model_config",)
    search_fields = ("model_config__model", "model_config__display_name")
    ordering = ("model_config", "-valid_from")
    actions = None

    @admin.display(description="State")
    def holds(self, price: ModelPrice) -> str:
        return "planned" if price.valid_from > now() else "held or in force"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ModelPrice | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ModelPrice | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (
            obj is None or obj.valid_from > now()
        )

    def delete_model(self, request: HttpRequest, obj: ModelPrice) -> None:
        check_may_configure(acting(request).user)
        withdraw_prices(acting(request).author, resource_of(obj.model_config), obj)


def _asked_provider(request: HttpRequest) -> AIProvider | None:
    """Return the provider that a new model is to be of; None while none was chosen."""
    asked = canonical_uuid(request.POST.get("ai_provider") or request.GET.get("ai_provider") or "")
    return live_providers().filter(pk=asked, enabled=True).first() if asked else None


def _kind(request: HttpRequest, config: ModelConfig | None) -> str:
    """Return the kind of provider that the form is for."""
    if config is not None:
        return config.provider
    chosen = _asked_provider(request)
    return chosen.type if chosen else ProviderType.OPENAI_COMPAT


def _fill_in(posted: QueryDict, found: Suggestion) -> None:
    for key, text in found.prices.texts().items():
        posted[key] = text
    untouched = ("", str(ModelConfig._meta.get_field("context_limit").get_default()))
    if found.context_limit and posted.get("context_limit", "") in untouched:
        posted["context_limit"] = str(found.context_limit)


def _about_prices(kind: str) -> SafeString:
    about = "US dollars per million tokens. Costs and limits count by them."
    button = get_template("admin/providers/modelconfig/fill_in.html")
    known = has_known_prices(kind)
    return format_html("<p>{}</p>{}", about, button.render() if known else "")
