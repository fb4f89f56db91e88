"""The form of a provider: what its kind takes. Secrets go in and never come out."""

from typing import Any
from uuid import UUID

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from chatd.core.clock import rfc3339
from chatd.core.crypto import SecretState
from chatd.core.errors import ChatdError
from chatd.core.fields import secret_state
from chatd.llm.providers import find_kind
from chatd.providers.administration import FLAGS
from chatd.providers.bedrock import TYPES as BEDROCK_TYPES
from chatd.providers.bedrock import BedrockChanges, readable_settings
from chatd.providers.drafts import (
    NewProvider,
    ProviderChanges,
    WantedKey,
    check_new_provider,
    check_provider_changes,
    check_takes_keys,
)
from chatd.providers.models import AIProvider, AIProviderKey, ProviderType
from chatd.providers.shared_keys import shown_key

BEDROCK_FIELDS = ("region", "access_key", "access_key_secret", "model", "small_fast_model")
FORM_FIELDS = {"api_keys": "new_key", "settings": "region"}
"""Fields of refusals by what they are called in the form."""

_BASE_URLS: dict[str, str] = {
    ProviderType.AZURE: "For example https://my-resource.openai.azure.com/openai/v1.",
    ProviderType.BEDROCK: "For example https://bedrock-runtime.eu-central-1.amazonaws.com.",
    ProviderType.OPENAI_COMPAT: "For example http://localhost:11434/v1; /chat/completions is added."
    " A server that asks for no key is called without one.",
}
"""What to enter where there is no default."""

WITHOUT_KEYS = frozenset({ProviderType.BEDROCK, ProviderType.COPILOT})


def _secret_field(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=help_text,
    )


def _text_field(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=256,
        widget=UnfoldAdminTextInputWidget(),
        help_text=help_text,
    )


class ProviderForm(forms.ModelForm[AIProvider]):
    new_key = _secret_field("API key", "Stored encrypted and never shown again.")
    keep_keys = forms.TypedMultipleChoiceField(
        label="Stored keys",
        required=False,
        coerce=UUID,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="Calls are made with the first one. Take the tick away to delete a key.",
    )
    region = _text_field("AWS region", "For example eu-central-1.")
    access_key = _secret_field("Access key", "Leave both empty where the machine has a role.")
    access_key_secret = _secret_field("Secret access key", "Stored encrypted, never shown again.")
    forget_credentials = forms.BooleanField(
        label="Delete the stored access key",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
    )
    model = _text_field("Model", "The one that is used where none is named.")
    small_fast_model = _text_field("Small model", "What short jobs such as titles may use.")

    class Meta:
        model = AIProvider
        fields = ("type", "name", "display_name", "enabled", "base_url", *FLAGS)
        labels = {
            "base_url": "Base URL",
            "display_name": "Display name",
            "central_api_key_enabled": "Shared keys pay",
            "allow_user_api_key": "People may use keys of their own",
            "allow_central_api_key_fallback": "Shared keys stand in for people without their own",
        }
        help_texts = {
            "base_url": "Where requests go. The default is right unless you use a proxy.",
            "name": "For programs: lower-case letters, digits and dashes. It cannot be changed.",
            "display_name": "What people see; empty is the name.",
            "enabled": "Off: nothing is called, and its models cannot be chosen.",
            "central_api_key_enabled": "Calls are made with the keys stored here.",
            "allow_user_api_key": "They enter it in their settings, and their calls use it.",
        }
        widgets = {"type": forms.HiddenInput()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._is_new:
            self._suggest()
        elif "keep_keys" in self.fields:
            self._show_keys(list(self.instance.keys.all()))
        stored = readable_settings(self.instance)
        if stored is not None:
            for name in ("region", "model", "small_fast_model"):
                self.initial.setdefault(name, getattr(stored, name))

    @property
    def _is_new(self) -> bool:
        return self.instance._state.adding

    @property
    def kind(self) -> str:
        return self.instance.type or self.data.get("type") or self.initial.get("type") or ""

    def _suggest(self) -> None:
        kind = find_kind(self.kind)
        if kind is None:
            return
        taken = AIProvider.objects.filter(name=kind.name, deleted=False).exists()
        self.initial.setdefault("name", "" if taken else kind.name)
        self.initial.setdefault("base_url", kind.default_base_url)
        if kind.name in _BASE_URLS:
            self.fields["base_url"].help_text = _BASE_URLS[kind.name]

    def _show_keys(self, keys: list[AIProviderKey]) -> None:
        field = self.fields["keep_keys"]
        assert isinstance(field, forms.TypedMultipleChoiceField)
        field.choices = [(str(key.pk), _shown(key)) for key in keys]
        self.initial.setdefault("keep_keys", [str(key.pk) for key in keys])
        if keys:
            self.fields["new_key"].label = "Add a key"
        else:
            del self.fields["keep_keys"]

    # What is asked for

    def draft(self) -> NewProvider:
        """Return the provider that the form asks for."""
        key = self.cleaned_data.get("new_key")
        return NewProvider(
            type=self.kind,
            name=self.cleaned_data.get("name", "") or self.instance.name,
            **self._plain(),
            api_keys=[key] if key else [],
            settings=self._settings(),
        )

    def changes(self) -> ProviderChanges:
        """Return what the form asks to change."""
        wanted = [WantedKey(id=pk) for pk in self.cleaned_data.get("keep_keys", [])]
        if key := self.cleaned_data.get("new_key"):
            wanted.append(WantedKey(api_key=key))
        return ProviderChanges(
            **self._plain(),
            api_keys=wanted if "new_key" in self.fields else None,
            settings=self._settings(),
        )

    def _plain(self) -> dict[str, Any]:
        names = ("display_name", "enabled", "base_url", *FLAGS)
        return {name: self.cleaned_data.get(name, "") for name in names}

    def _settings(self) -> BedrockChanges | None:
        given = {name: self.cleaned_data.get(name, "") for name in BEDROCK_FIELDS}
        forget = self.cleaned_data.get("forget_credentials")
        is_asked = any(given.values()) or forget or self.instance.settings
        if self.kind not in BEDROCK_TYPES or not is_asked:
            return None
        unset = "" if forget else None
        return BedrockChanges(
            region=given["region"],
            model=given["model"],
            small_fast_model=given["small_fast_model"],
            access_key=given["access_key"] or unset,
            access_key_secret=given["access_key_secret"] or unset,
        )

    # Judged as the API judges a request

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        try:
            if self._is_new:
                check_new_provider(self.draft())
            else:
                check_provider_changes(self.changes())
                check_takes_keys(self.instance, self.changes())
        except ChatdError as refusal:
            if not refusal.validations:
                self.add_error(None, refusal.message)
            for wrong in refusal.validations:
                name = FORM_FIELDS.get(wrong.field, wrong.field)
                self.add_error(name if name in self.fields else None, wrong.detail)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = AIProvider.objects.filter(name=name, deleted=False).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError("Another provider has this name.")
        return name


def _shown(key: AIProviderKey) -> str:
    state = secret_state(key.api_key)
    text = shown_key(key) or "…"
    about = f"added {rfc3339(key.created_at)[:10]}"
    if state.needs_reentry:
        about = str(state.label)
    elif state is SecretState.CLEAR:
        about += ", stored in clear"
    return f"{text} ({about})"
