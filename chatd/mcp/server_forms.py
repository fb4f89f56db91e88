"""The form of an MCP server. Secrets go in and never come out."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from chatd.core.admin_fields import Textarea
from chatd.core.errors import ChatdError
from chatd.mcp.drafts import PLAIN_FIELDS, ServerFields, check_changes, check_new_server
from chatd.mcp.models import MCPServerConfig
from chatd.mcp.secrets import SECRETS

FORM_FIELDS = {
    "oauth2_client_secret": "new_client_secret",
    "api_key_value": "new_api_key",
    "custom_headers": "new_headers",
}
"""Fields of refusals by what they are called in the form."""

_KEPT = "Stored encrypted and never shown again. Leave it empty to keep what is stored."


class LinesField(forms.CharField):
    """A list of texts, one on each line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").splitlines()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.to_python(data))


class SecretTextarea(Textarea):
    """Several lines that come back empty when the form does, as a password does."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


def _secret(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=_KEPT,
    )


class MCPServerForm(forms.ModelForm[MCPServerConfig]):
    new_client_secret = _secret("New client secret")
    new_api_key = _secret("New key")
    new_headers = forms.CharField(
        label="New headers",
        required=False,
        widget=SecretTextarea(attrs={"autocomplete": "off", "rows": 3}),
        help_text=f"Name: value, one on each line. {_KEPT}",
    )
    forget_secret = forms.BooleanField(
        label="Delete the stored secret", required=False, widget=UnfoldBooleanSwitchWidget()
    )
    tool_allow_list = LinesField(
        label="Only these tools",
        required=False,
        help_text="Names, one on each line. Empty is all but those below.",
    )
    tool_deny_list = LinesField(
        label="Never these tools", required=False, help_text="Heeded where the list above is empty."
    )

    class Meta:
        model = MCPServerConfig
        fields = PLAIN_FIELDS
        labels = {
            "display_name": "Name",
            "icon_url": "Icon",
            "url": "URL",
            "auth_type": "What calls show",
            "oauth2_client_id": "Client id",
            "oauth2_auth_url": "Authorization URL",
            "oauth2_token_url": "Token URL",
            "oauth2_scopes": "Scopes",
            "api_key_header": "Header",
            "model_intent": "Models say what they call a tool for",
            "allow_in_plan_mode": "Also in plan mode",
            "forward_coder_headers": "Calls say whose they are",
        }
        help_texts = {
            "slug": "Tools are named after it: slug__tool. Letters, digits, dashes, underscores.",
            "enabled": "Off: people do not see it, and turns leave it out.",
            "icon_url": "An address, or a path of this deployment.",
            "url": "Where the server listens, e.g. https://tools.example.com/mcp.",
            "forward_coder_headers": "With headers that name chat and owner.",
        }
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 2})}

    @property
    def _is_new(self) -> bool:
        return self.instance._state.adding

    def wanted(self) -> ServerFields:
        """Return what the form asks for."""
        given = {name: self.cleaned_data.get(name) for name in PLAIN_FIELDS}
        secrets: dict[str, Any] = {
            name: self.cleaned_data.get(field) or None for name, field in FORM_FIELDS.items()
        }
        if self.cleaned_data.get("forget_secret"):
            empty: dict[str, Any] = dict.fromkeys(SECRETS, "") | {"custom_headers": {}}
            secrets = {name: value or empty[name] for name, value in secrets.items()}
        return ServerFields(**given, **secrets)

    def clean_new_headers(self) -> dict[str, str]:
        headers = {}
        for line in self.cleaned_data["new_headers"].splitlines():
            name, colon, value = line.partition(":")
            if line.strip() and not colon:
                raise forms.ValidationError("Write each header as Name: value.")
            if line.strip():
                headers[name] = value
        return headers

    def clean(self) -> None:
        """Judge the form as the API judges a request, once its fields are sound."""
        super().clean()
        if self.errors:
            return
        try:
            (check_new_server if self._is_new else check_changes)(self.wanted().trimmed())
        except ChatdError as refusal:
            if not refusal.validations:
                self.add_error(None, refusal.message)
            for wrong in refusal.validations:
                name = FORM_FIELDS.get(wrong.field, wrong.field)
                self.add_error(name if name in self.fields else None, wrong.detail)
