"""Admin of people, organisations and tokens."""

from functools import partial
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from chatd.accounts.actor import Actor
from chatd.accounts.api_keys import end_key
from chatd.accounts.members import add_member, remove_member, set_member_roles
from chatd.accounts.models import (
    APIKey,
    ExternalIdentity,
    LoginType,
    Organization,
    OrganizationMember,
    OrganizationRole,
    SiteRole,
    User,
    UserStatus,
)
from chatd.accounts.organizations import (
    OrganizationChanges,
    create_organization,
    update_organization,
)
from chatd.accounts.users import (
    Profile,
    activate_user,
    set_login_type,
    set_site_roles,
    suspend_user,
    update_profile,
)
from chatd.core.action_admin import ActionAdmin, TabularInline

# Tables of allauth, in which nothing is stored.
admin.site.unregister([EmailAddress, SocialAccount, SocialApp, SocialToken])
admin.site.unregister(Group)  # rights come from roles, not from Django's permission tables


def _acting(request: HttpRequest) -> Actor:
    assert isinstance(request.user, User)
    return Actor(request.user)


def _roles(choices: list[tuple[str, str]]) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        choices=choices, required=False, widget=forms.CheckboxSelectMultiple
    )


class MembershipForm(ModelForm[OrganizationMember]):
    roles = _roles(OrganizationRole.choices)


class MembershipInline(TabularInline[OrganizationMember, User]):
    model = OrganizationMember
    form = MembershipForm
    extra = 0
    fields = ("organization", "roles")


class UserForm(ModelForm[User]):
    rbac_roles = _roles(SiteRole.choices)


@admin.register(User)
class UserAdmin(ActionAdmin[User]):
    """Forms change people through the same actions as the API: refusals are shown as a page."""

    form = UserForm
    list_display = ("username", "email", "name", "status", "rbac_roles", "last_seen_at")
    list_filter = ("status", "login_type", "deleted")
    search_fields = ("username", "email", "name")
    fields = (
        *("id", "username", "email", "name", "status", "rbac_roles", "login_type", "deleted"),
        "identity_provider",
    )
    readonly_fields = ("id", "login_type", "deleted", "identity_provider")
    inlines = (MembershipInline,)
    actions = ("switch_to_single_sign_on", "switch_to_password")

    @admin.display(description="Identity provider")
    def identity_provider(self, user: User) -> str:
        """Tell what came with the last sign-in, so that a missing group explains itself."""
        return "\n".join(map(_told, user.identities.order_by("issuer"))) or "never signed in by one"

    @admin.action(
        description="Switch to single sign-on (passwords and sessions end)", permissions=["change"]
    )
    def switch_to_single_sign_on(self, request: HttpRequest, people: QuerySet[User]) -> None:
        _switch(request, people, LoginType.OIDC)

    @admin.action(
        description="Switch to a password, which is set afterwards (sessions end)",
        permissions=["change"],
    )
    def switch_to_password(self, request: HttpRequest, people: QuerySet[User]) -> None:
        _switch(request, people, LoginType.PASSWORD)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool
    ) -> None:
        actor, who, changed = _acting(request), str(obj.pk), set(form.changed_data)
        if changed & {"username", "email", "name"}:
            profile = Profile(username=obj.username, name=obj.name, email=obj.email)
            update_profile(actor, who, lambda: profile)
        if "status" in changed:
            set_status = suspend_user if obj.status == UserStatus.SUSPENDED else activate_user
            set_status(actor, who)
        if "rbac_roles" in changed:
            set_site_roles(actor, who, lambda: obj.rbac_roles)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        actor = _acting(request)
        formset.save(commit=False)
        for member in formset.deleted_objects:
            remove_member(actor, str(member.organization_id), str(member.user_id))
        for member in formset.new_objects:
            add_member(actor, str(member.organization_id), str(member.user_id))
        changed = [member for member, fields in formset.changed_objects]
        for member in [*formset.new_objects, *changed]:
            named, who = str(member.organization_id), str(member.user_id)
            set_member_roles(actor, named, who, partial(list[str], member.roles))


def _switch(request: HttpRequest, people: QuerySet[User], login_type: LoginType) -> None:
    for user in people:
        set_login_type(_acting(request), str(user.pk), login_type)


def _told(identity: ExternalIdentity) -> str:
    groups = identity.received_groups
    came = "no groups" if groups is None else f"groups: {', '.join(groups) or 'an empty list'}"
    when = f"{identity.received_at:%Y-%m-%d %H:%M} UTC"
    return f"{identity}, last seen {when}, with {came}. {identity.received_note}".strip()


class OrganizationForm(ModelForm[Organization]):
    default_org_member_roles = _roles(OrganizationRole.choices)


@admin.register(Organization)
class OrganizationAdmin(ActionAdmin[Organization]):
    form = OrganizationForm
    list_display = ("name", "display_name", "is_default", "deleted")
    search_fields = ("name", "display_name")
    fields = ("name", "display_name", "description", "icon", "default_org_member_roles")

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: Organization, form: ModelForm[Organization], change: bool
    ) -> None:
        wanted = OrganizationChanges(**{name: getattr(obj, name) for name in self.fields})
        if change:
            update_organization(_acting(request), str(obj.pk), lambda: wanted)
        else:
            obj.pk = create_organization(_acting(request), lambda: wanted).pk


@admin.register(APIKey)
class APIKeyAdmin(ActionAdmin[APIKey]):
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
        end_key(_acting(request), obj)
