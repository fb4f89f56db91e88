"""Admin of people, organisations and tokens."""

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from chatd.accounts.actions import revoke_token
from chatd.accounts.models import APIKey, Organization, OrganizationMember, User

admin.site.site_header = "chatd"
admin.site.site_title = "chatd"
admin.site.index_title = "Administration"
admin.site.unregister(Group)  # rights come from roles, not from Django's permission tables


class MembershipInline(admin.TabularInline[OrganizationMember, User]):
    model = OrganizationMember
    extra = 0
    fields = ("organization", "roles")


@admin.register(User)
class UserAdmin(admin.ModelAdmin[User]):
    list_display = ("username", "email", "name", "status", "rbac_roles", "last_seen_at")
    list_filter = ("status", "login_type", "deleted")
    search_fields = ("username", "email", "name")
    readonly_fields = ("id", "last_login", "last_seen_at", "created_at", "updated_at")
    exclude = ("password", "is_system")
    inlines = (MembershipInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin[Organization]):
    list_display = ("name", "display_name", "is_default", "deleted")
    search_fields = ("name", "display_name")

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False


@admin.register(APIKey)
class APIKeyAdmin(admin.ModelAdmin[APIKey]):
    """Tokens can be looked at and revoked; their text is shown nowhere."""

    list_display = ("id", "user", "token_name", "expires_at", "last_used")
    search_fields = ("id", "token_name", "user__username")
    list_select_related = ("user",)
    readonly_fields = ("id", "user", "token_name", "scopes", "expires_at", "last_used")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: APIKey, form: ModelForm[APIKey], change: bool
    ) -> None:
        """Nothing about a token can be changed."""

    def delete_model(self, request: HttpRequest, obj: APIKey) -> None:
        revoke_token(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        for key in queryset:
            revoke_token(key)
