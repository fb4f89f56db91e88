"""The administration of MCP servers: the same actions as the API, secrets that only go in."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from chatd.accounts.actor import acting
from chatd.core.action_admin import ActionAdmin, tell_how_many
from chatd.core.crypto import SecretState
from chatd.core.errors import ChatdError
from chatd.core.fields import secret_state
from chatd.mcp.actions import delete_server, insert_server, prepare_server, update_server
from chatd.mcp.drafts import ServerFields
from chatd.mcp.models import AuthType, MCPServerConfig
from chatd.mcp.secrets import SECRETS
from chatd.mcp.server_forms import FORM_FIELDS, MCPServerForm

_PREPARED = "chatd_prepared_mcp_server"

_ABOUT_OAUTH = (
    "Leave the client id and both addresses of a new server empty to have them discovered; then"
    " chatd registers itself, for the address you opened this page at. Everybody connects for"
    " themselves."
)


@admin.register(MCPServerConfig)
class MCPServerAdmin(ActionAdmin[MCPServerConfig]):
    form = MCPServerForm
    form_fields = FORM_FIELDS
    list_display = ("__str__", "slug", "url", "auth", "secret", "people", "availability", "enabled")
    list_filter = ("enabled", "auth_type", "availability")
    search_fields = ("display_name", "slug", "url")
    ordering = ("display_name", "id")
    actions = ("switch_on", "switch_off")

    def get_queryset(self, request: HttpRequest) -> QuerySet[MCPServerConfig]:
        return super().get_queryset(request).annotate(connected=Count("tokens"))

    @admin.display(description="Calls show", ordering="auth_type")
    def auth(self, server: MCPServerConfig) -> str:
        return server.get_auth_type_display()

    @admin.display(description="Secret")
    def secret(self, server: MCPServerConfig) -> str:
        """Tell of the secret that its kind of server has; most have none."""
        states = [secret_state(getattr(server, name)) for name in SECRETS]
        states = [state for state in states if state is not SecretState.BLANK]
        states.sort(key=lambda state: not state.needs_reentry)
        return str(states[0].label if states else SecretState.BLANK.label)

    @admin.display(description="People", ordering="connected")
    def people(self, server: Any) -> str:
        return str(server.connected) if server.uses_oauth else "everybody"

    @admin.display(description="Client secret")
    def client_secret(self, server: MCPServerConfig) -> str:
        return str(secret_state(server.oauth2_client_secret).label)

    @admin.display(description="Key")
    def api_key(self, server: MCPServerConfig) -> str:
        return str(secret_state(server.api_key_value).label)

    @admin.display(description="Headers")
    def headers(self, server: MCPServerConfig) -> str:
        return str(secret_state(server.custom_headers).label)

    # The form

    def get_readonly_fields(
        self, request: HttpRequest, obj: MCPServerConfig | None = None
    ) -> tuple[str, ...]:
        return ("client_secret", "api_key", "headers") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: MCPServerConfig | None = None) -> Any:
        named = ["display_name", "slug", "description", "icon_url", "availability", "enabled"]
        oauth = ["oauth2_client_id", "new_client_secret", "oauth2_auth_url", "oauth2_token_url"]
        key, headers = ["api_key_header", "new_api_key"], ["new_headers"]
        if obj:
            oauth.insert(1, "client_secret")
            key.insert(1, "api_key")
            headers.insert(0, "headers")
        place = ["transport", "url", "auth_type", *(["forget_secret"] if obj else [])]
        tools = ["tool_allow_list", "tool_deny_list", "model_intent", "allow_in_plan_mode"]

        def kept_for(kind: AuthType) -> dict[str, Any]:
            return {"classes": ["collapse"]} if obj and obj.auth_type != kind else {}

        about = {"description": _ABOUT_OAUTH, **kept_for(AuthType.OAUTH2)}
        return [
            (None, {"fields": named}),
            ("Where it is", {"fields": place}),
            ("OAuth 2", {"fields": [*oauth, "oauth2_scopes"], **about}),
            ("A shared key", {"fields": key, **kept_for(AuthType.API_KEY)}),
            ("Shared headers", {"fields": headers, **kept_for(AuthType.CUSTOM_HEADERS)}),
            ("Tools", {"fields": [*tools, "forward_coder_headers"]}),
        ]

    # What is stored

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if request.method == "POST" and object_id is None and self.has_add_permission(request):
            self._prepare(request)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _prepare(self, request: HttpRequest) -> None:
        """Have the OAuth part discovered, outside of the transaction in which a form is stored."""
        form: Any = self.get_form(request)(request.POST)
        if not form.is_valid():
            return
        origin = f"{request.scheme}://{request.get_host()}"
        prepared: MCPServerConfig | ChatdError
        try:
            prepared = prepare_server(acting(request), form.wanted, origin=origin)
        except ChatdError as refusal:
            prepared = refusal
        setattr(request, _PREPARED, prepared)

    def save_model(
        self, request: HttpRequest, obj: MCPServerConfig, form: Any, change: bool
    ) -> None:
        if change:
            update_server(acting(request), lambda: obj.pk, form.wanted)
        else:
            prepared = getattr(request, _PREPARED)
            if isinstance(prepared, ChatdError):
                raise prepared
            obj.pk = insert_server(acting(request), prepared).pk
        obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: MCPServerConfig) -> None:
        delete_server(acting(request), lambda: obj.pk)

    @admin.action(description="Switch on", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[MCPServerConfig]) -> None:
        self._switch(request, queryset, ServerFields(enabled=True), "switched on")

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[MCPServerConfig]) -> None:
        self._switch(request, queryset, ServerFields(enabled=False), "switched off")

    def _switch(
        self,
        request: HttpRequest,
        queryset: QuerySet[MCPServerConfig],
        changes: ServerFields,
        done: str,
    ) -> None:
        for server in queryset:
            update_server(acting(request), partial(_pk_of, server), lambda: changes)
        tell_how_many(request, queryset, done)


def _pk_of(server: MCPServerConfig) -> UUID:
    return server.pk
