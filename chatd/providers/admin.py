"""Admin of providers and models. Keys are write-only: what is stored is never shown."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.core.errors import ChatdError
from chatd.providers import model_admin  # noqa: F401 - Django looks for admin classes here
from chatd.providers.administration import FLAGS, create_provider, update_provider
from chatd.providers.drafts import (
    NewProvider,
    ProviderChanges,
    WantedKey,
    check_new_provider,
    check_provider_changes,
    check_takes_keys,
)
from chatd.providers.keys import key_state
from chatd.providers.models import AIProvider


class ProviderForm(forms.ModelForm[AIProvider]):
    new_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again. Leave empty to keep the current keys;"
        " a new one takes the place of all of them.",
    )

    def draft(self) -> NewProvider:
        """Return the provider that the form asks for."""
        given = {name: self.cleaned_data.get(name, "") for name in ("type", "name")}
        key = self.cleaned_data.get("new_key")
        return NewProvider(**given, **self._plain(), api_keys=[key] if key else [])

    def changes(self) -> ProviderChanges:
        """Return what the form asks to change."""
        key = self.cleaned_data.get("new_key")
        wanted = [WantedKey(api_key=key)] if key else None
        return ProviderChanges(**self._plain(), api_keys=wanted)

    def _plain(self) -> dict[str, Any]:
        names = ("display_name", "enabled", "base_url", *FLAGS)
        return {name: self.cleaned_data.get(name, "") for name in names}

    def clean(self) -> None:
        """Judge the form as the API judges a request, once its fields are sound."""
        super().clean()
        if self.errors:
            return
        try:
            if self.instance._state.adding:
                check_new_provider(self.draft())
            else:
                check_provider_changes(self.changes())
                check_takes_keys(self.instance, self.changes())
        except ChatdError as refusal:
            for wrong in refusal.validations:
                field = "new_key" if wrong.field == "api_keys" else wrong.field
                self.add_error(field if field in self.fields else None, wrong.detail)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = AIProvider.objects.filter(name=name, deleted=False).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError("Another provider has this name.")
        return name

    class Meta:
        model = AIProvider
        fields = ("type", "name", "display_name", "enabled", "base_url", *FLAGS)
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
        actor = Actor(cast("User", request.user))
        if change:
            update_provider(actor, obj.pk, form.changes())
        else:
            obj.pk = create_provider(actor, form.draft()).pk
        obj.refresh_from_db()

    def has_delete_permission(self, request: HttpRequest, obj: AIProvider | None = None) -> bool:
        return False  # disable it instead: models and costs refer to it
