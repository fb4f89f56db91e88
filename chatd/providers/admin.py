"""The administration of providers: the kind first, then what that kind takes, tried out before."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse

from chatd.accounts.actor import acting
from chatd.core.action_admin import ActionAdmin, hold, tell_how_many
from chatd.core.errors import ChatdError
from chatd.providers import model_admin  # noqa: F401 - Django looks for admin classes here
from chatd.providers.administration import create_provider, delete_provider, update_provider
from chatd.providers.bedrock import TYPES as BEDROCK_TYPES
from chatd.providers.drafts import ProviderChanges
from chatd.providers.keys import key_state, needs_key
from chatd.providers.models import AIProvider, ProviderType
from chatd.providers.probe import Probe, probe_draft, probe_stored
from chatd.providers.provider_forms import FORM_FIELDS, WITHOUT_KEYS, ProviderForm

TEST = "_test"

_KINDS = {
    ProviderType.ANTHROPIC: "Claude, from Anthropic itself.",
    ProviderType.AZURE: "OpenAI's models in your Azure subscription.",
    ProviderType.BEDROCK: "Models in your AWS account.",
    ProviderType.GOOGLE: "Gemini, from Google itself.",
    ProviderType.OPENAI: "GPT models, from OpenAI itself.",
    ProviderType.OPENAI_COMPAT: "Your own server or gateway: Ollama, vLLM, LiteLLM, Groq, xAI …",
    ProviderType.OPENROUTER: "Models of many makers with one key.",
    ProviderType.VERCEL: "Models of many makers through Vercel.",
}
"""What can be connected, in words for people who choose."""


@admin.register(AIProvider)
class AIProviderAdmin(ActionAdmin[AIProvider]):
    form = ProviderForm
    form_fields = FORM_FIELDS
    list_display = ("__str__", "kind", "address", "key", "models", "enabled")
    list_filter = ("type", "enabled")
    search_fields = ("name", "display_name", "base_url")
    ordering = ("name",)
    change_form_after_template = "admin/providers/aiprovider/test.html"
    actions = ("switch_on", "switch_off")

    class Media:
        js = (Script("js/provider_test.js", type="module"),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AIProvider]:
        live = super().get_queryset(request).filter(deleted=False).prefetch_related("keys")
        return live.annotate(
            live_models=Count("model_configs", filter=Q(model_configs__deleted=False))
        )

    @admin.display(description="Kind", ordering="type")
    def kind(self, provider: AIProvider) -> str:
        return provider.get_type_display()

    @admin.display(description="Base URL", ordering="base_url")
    def address(self, provider: AIProvider) -> str:
        return provider.base_url

    @admin.display(description="Key")
    def key(self, provider: AIProvider) -> str:
        state = str(key_state(provider).label)
        return "none needed" if state == "none" and not needs_key(provider) else state

    @admin.display(description="Models", ordering="live_models")
    def models(self, provider: Any) -> int:
        return int(provider.live_models)

    # The form

    def get_readonly_fields(
        self, request: HttpRequest, obj: AIProvider | None = None
    ) -> tuple[str, ...]:
        """Kind and name are fixed once made: models and programs refer to them."""
        return ("kind", "name", "key") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: AIProvider | None = None) -> Any:
        kind = obj.type if obj else _asked_kind(request)
        named = ["kind" if obj else "type", "name", "display_name", "base_url", "enabled"]
        sets: list[Any] = [(ProviderType(kind).label, {"fields": named})]
        if kind not in WITHOUT_KEYS:
            keys = ["key", "keep_keys", "new_key"] if obj else ["new_key"]
            sets.append(("Key", {"fields": keys if obj and obj.keys.all() else keys[-1:]}))
        if kind in BEDROCK_TYPES:
            sets.append(_bedrock_fieldset(kind, obj))
        policy = (
            "central_api_key_enabled",
            "allow_user_api_key",
            "allow_central_api_key_fallback",
        )
        sets.append(("Whose keys pay", {"fields": policy, "classes": ["collapse"]}))
        return sets

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().get_changeform_initial_data(request), "type": _asked_kind(request)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if _asked_kind(request):
            return super().add_view(request, form_url, extra_context)
        context = {
            **self.admin_site.each_context(request),
            "title": "Which kind of provider?",
            "opts": self.opts,
            "kinds": [(kind, kind.label, about) for kind, about in _KINDS.items()],
        }
        return TemplateResponse(request, "admin/providers/aiprovider/kinds.html", context)

    # Trying it out: outside of the transaction of the form, and nothing is stored

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        if request.method == "POST" and TEST in request.POST and self._may_test(request):
            probe = self._probe(request, object_id)
            if "application/json" in request.headers.get("Accept", ""):
                return JsonResponse({"ok": probe.ok, "detail": probe.detail})
            told = messages.success if probe.ok else messages.error
            told(request, probe.detail)
            messages.info(request, "Nothing is saved yet. Enter the key again, and save.")
            hold(request)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _may_test(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request)

    def _probe(self, request: HttpRequest, object_id: str | None) -> Probe:
        stored = self.get_object(request, object_id) if object_id else None
        form_class = self.get_form(request, stored, change=stored is not None)
        form: Any = form_class(request.POST, instance=stored)
        if not form.is_valid():
            wrong = [
                f"{form[name].label if name in form.fields else ''} {' '.join(told)}".strip()
                for name, told in form.errors.items()
            ]
            return Probe(ok=False, detail=" ".join(wrong))
        try:
            if stored is None or form.cleaned_data.get("new_key") or _moved(form):
                return probe_draft(acting(request), form.draft())
            return probe_stored(acting(request), stored.pk, "")
        except ChatdError as refusal:
            return Probe(ok=False, detail=refusal.message)

    # What is stored

    def save_model(self, request: HttpRequest, obj: AIProvider, form: Any, change: bool) -> None:
        if change:
            update_provider(acting(request), obj.pk, form.changes())
        else:
            obj.pk = create_provider(acting(request), form.draft()).pk
        obj.refresh_from_db()

    @admin.action(description="Switch on", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[AIProvider]) -> None:
        self._switch(request, queryset, ProviderChanges(enabled=True), "switched on")

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[AIProvider]) -> None:
        self._switch(request, queryset, ProviderChanges(enabled=False), "switched off")

    def _switch(
        self,
        request: HttpRequest,
        queryset: QuerySet[AIProvider],
        changes: ProviderChanges,
        done: str,
    ) -> None:
        for provider in queryset:
            update_provider(acting(request), provider.pk, changes)
        tell_how_many(request, queryset, done)

    def delete_model(self, request: HttpRequest, obj: AIProvider) -> None:
        delete_provider(acting(request), obj.pk)


def _asked_kind(request: HttpRequest) -> str:
    """Return the kind that a new provider is to be of; blank while none was chosen."""
    kind = request.POST.get("type") or request.GET.get("type") or ""
    return kind if kind in ProviderType.values else ""


def _bedrock_fieldset(kind: str, obj: AIProvider | None) -> tuple[str, dict[str, Any]]:
    fields = ["region", "access_key", "access_key_secret", "model", "small_fast_model"]
    if obj and obj.settings:
        fields.insert(3, "forget_credentials")
    if kind == ProviderType.BEDROCK:
        about = "A region, or an access key, or both. Leave what is stored empty to keep it."
        return "AWS", {"fields": fields, "description": about}
    about = "Only for Claude in an AWS account; then there is no API key."
    return "AWS Bedrock", {"fields": fields, "description": about, "classes": ["collapse"]}


def _moved(form: Any) -> bool:
    return "base_url" in form.changed_data
