"""The page of API tokens: to look at and to revoke. Their text is nowhere, not even as a hash."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chatd.accounts.administration.base import DeletePage, acting, in_words, rights_on
from chatd.accounts.api_keys import delete_key
from chatd.accounts.models import APIKey, KeyType
from chatd.accounts.policy import SCOPES, SiteRight
from chatd.accounts.selectors import people_in_reach
from chatd.core.action_admin import ActionAdmin
from chatd.core.clock import now

_KINDS = sorted({scope.partition(":")[0] for scope in SCOPES if ":" in scope})


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("valid", "Valid"),
            ("expired", "Expired"),
            ("never_used", "Never used"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey] | None:
        match self.value():
            case "valid":
                return queryset.filter(expires_at__gt=now())
            case "expired":
                return queryset.filter(expires_at__lte=now())
            case "never_used":
                return queryset.filter(last_used=None)
        return None


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(KeyType.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey] | None:
        return queryset.filter(login_type=self.value()) if self.value() in KeyType.values else None


class ScopeFilter(admin.SimpleListFilter):
    title = "scopes"
    parameter_name = "scopes"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        limited = [(kind, f"For {kind.replace('_', ' ')}") for kind in _KINDS]
        return [("all", "Everything its person may"), ("limited", "Limited"), *limited]

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey] | None:
        wanted, everything = self.value(), [[], ["all"]]
        unlimited = queryset.filter(scopes=everything[0]) | queryset.filter(scopes=everything[1])
        if wanted == "all":
            return unlimited
        if wanted == "limited":
            return queryset.exclude(scopes=everything[0]).exclude(scopes=everything[1])
        if wanted not in _KINDS:
            return None
        texts = queryset.alias(texts=Cast("scopes", TextField()))
        return texts.filter(texts__contains=f'"{wanted}:')


@admin.register(APIKey)
class APIKeyAdmin(DeletePage, ActionAdmin[APIKey]):
    """Tokens can be looked at and revoked; a new one is made by the person it is for."""

    list_display = ("token", "person", "kind", "what_for", "made", "expires", "used")
    list_filter = (StateFilter, KindFilter, ScopeFilter)
    list_filter_submit = False
    show_facets = admin.ShowFacets.NEVER
    list_select_related = ("user",)
    search_fields = ("id", "token_name", "user__username", "user__email")
    search_help_text = "Name or id of a token, or a person"
    sortable_by = ()
    ordering = ("-created_at", "-id")
    fields = ("token", "id", "person", "kind", "what_for", "made", "expires", "used")
    readonly_fields = fields
    delete_label = "Revoke this token"
    warn_unsaved_form = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[APIKey]:
        """Leave out the tokens of people over whom the one who looks has no rights."""
        keys = super().get_queryset(request).select_related("user")
        reach = people_in_reach(acting(request).user)
        return keys if reach is None else keys.filter(user__in=reach)

    @admin.display(description="Token")
    def token(self, key: APIKey) -> str:
        return str(key)

    @admin.display(description="Person")
    def person(self, key: APIKey) -> SafeString:
        link = reverse("admin:accounts_user_change", args=[key.user_id])
        return format_html('<a class="underline" href="{}">{}</a>', link, key.user)

    @admin.display(description="Made")
    def made(self, key: APIKey) -> str:
        return in_words(key.created_at)

    @admin.display(description="Kind")
    def kind(self, key: APIKey) -> str:
        return dict(KeyType.choices).get(key.login_type, key.login_type)

    @admin.display(description="May be used for")
    def what_for(self, key: APIKey) -> str:
        return ", ".join(key.scopes) or "Everything its person may"

    @admin.display(description="Valid until")
    def expires(self, key: APIKey) -> SafeString | str:
        text = in_words(key.expires_at)
        if key.expires_at > now():
            return text
        return format_html('<strong class="state-stopped">Expired</strong> {}', text)

    @admin.display(description="Last used")
    def used(self, key: APIKey) -> str:
        return in_words(key.last_used)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and (obj is None or SiteRight.PERSONAL in rights_on(request, obj.user))

    def consequences(self, row: APIKey) -> list[str]:
        return [
            "Whatever uses it is refused from the next request on; open connections are closed.",
            "It cannot be brought back. Its person can make a new one.",
        ]

    def delete_model(self, request: HttpRequest, obj: APIKey) -> None:
        delete_key(acting(request), str(obj.user_id), obj.pk)
