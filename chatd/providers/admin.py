"""Admin of providers and models. Keys are write-only: what is stored is never shown."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chatd.providers.actions import delete_model_config, save_model_config, save_provider
from chatd.providers.keys import key_state
from chatd.providers.models import AIProvider, ModelConfig


class ProviderForm(forms.ModelForm[AIProvider]):
    new_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again. Leave empty to keep the current key.",
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = AIProvider.objects.filter(name=name, deleted=False).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError("Another provider has this name.")
        return name

    class Meta:
        model = AIProvider
        fields = ("type", "name", "display_name", "enabled", "base_url")
        help_texts = {
            "base_url": "Where requests go, e.g. https://api.example.com/v1;"
            " /chat/completions is added.",
            "name": "Lower-case letters, digits and dashes; unique.",
        }


@admin.register(AIProvider)
class AIProviderAdmin(admin.ModelAdmin[AIProvider]):
    form = ProviderForm
    list_display = ("__str__", "type", "base_url", "enabled", "key")
    list_filter = ("type", "enabled")
    search_fields = ("name", "display_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AIProvider]:
        return super().get_queryset(request).filter(deleted=False).prefetch_related("keys")

    def get_readonly_fields(
        self, request: HttpRequest, obj: AIProvider | None = None
    ) -> tuple[str, ...]:
        """Type and name are fixed once made: models refer to them."""
        return ("type", "name", "key") if obj else ()

    @admin.display(description="Key")
    def key(self, provider: AIProvider) -> str:
        return str(key_state(provider).label)

    def save_model(self, request: HttpRequest, obj: AIProvider, form: Any, change: bool) -> None:
        save_provider(obj, new_key=form.cleaned_data.get("new_key", ""))

    def has_delete_permission(self, request: HttpRequest, obj: AIProvider | None = None) -> bool:
        return False  # disable it instead: models and costs refer to it


class ModelConfigForm(forms.ModelForm[ModelConfig]):
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
            "options",
        )
        help_texts = {
            "model": "The model's id at the provider.",
            "context_limit": "Tokens that fit the model's context.",
            "compression_threshold": "Percent of the context at which history is summarised.",
            "options": "Call options as JSON, e.g. temperature or max_output_tokens.",
        }

    def clean_ai_provider(self) -> AIProvider:
        provider = self.cleaned_data["ai_provider"]
        if provider is None:
            raise forms.ValidationError("Choose the provider that serves this model.")
        return provider  # type: ignore[no-any-return]


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
        save_model_config(obj)

    def delete_model(self, request: HttpRequest, obj: ModelConfig) -> None:
        delete_model_config(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelConfig]) -> None:
        for config in queryset:
            delete_model_config(config)
