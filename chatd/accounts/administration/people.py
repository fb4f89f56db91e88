"""The pages of people: the list, one who is to be made, one who is there."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chatd.accounts.administration.base import (
    DeletePage,
    acting,
    in_words,
    limit_link,
    list_link,
    rights_on,
)
from chatd.accounts.administration.memberships import MembershipInline
from chatd.accounts.administration.passwords import password_page, shown_once
from chatd.accounts.administration.people_bulk import PeopleActions
from chatd.accounts.administration.people_filters import (
    GroupFilter,
    OrganizationFilter,
    RoleFilter,
    StatusFilter,
)
from chatd.accounts.administration.people_forms import NewPersonForm, PersonForm
from chatd.accounts.administration.person_groups import PersonGroupsPage
from chatd.accounts.models import APIKey, ExternalIdentity, LoginType, User, UserStatus
from chatd.accounts.policy import SiteRight
from chatd.accounts.role_words import roles_in_words
from chatd.accounts.selectors import group_counts
from chatd.accounts.users import (
    Profile,
    activate_user,
    create_person,
    delete_user,
    set_site_roles,
    suspend_user,
    update_profile,
)
from chatd.core.action_admin import ActionAdmin

_SHOWN_ONCE = "chatd_shown_once"
_IDENTITIES = "identities_in_words"
_ABOUT = ("signs_in_with", "identity_provider", "last_seen", "made", "id")


class PeopleList(ChangeList):
    """People by name, with how many groups each of the page is in."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        people = list(self.result_list)
        counts = group_counts(people)
        for person in people:
            person.group_count = counts.get(person.pk, 0)
        self.result_list = people


@admin.register(User)
class UserAdmin(PeopleActions, DeletePage, ActionAdmin[User]):
    form = PersonForm
    list_display = (
        "person",
        "address",
        "state",
        "roles",
        "signs_in_with",
        "groups",
        "last_seen",
    )
    list_display_links = ("person",)
    list_filter = (StatusFilter, RoleFilter, "login_type", OrganizationFilter, GroupFilter)
    list_filter_submit = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("username", "email", "name")
    search_help_text = "Name, user name or e-mail address"
    ordering = (Lower("username"),)
    sortable_by = ("last_seen",)
    inlines = (MembershipInline,)
    form_fields = {
        "roles": "rbac_roles",
        "organization_ids": "organizations",
        "user_status": "status",
    }
    add_fieldsets = (
        (None, {"fields": ("username", "email", "name")}),
        ("Signing in", {"fields": ("login_type", "how", "password")}),
        ("What they may do", {"fields": ("organizations", "rbac_roles")}),
    )
    fieldsets = (
        (None, {"fields": ("username", "email", "name")}),
        ("What they may do", {"fields": ("status", "rbac_roles")}),
        (
            "About the account",
            {"fields": ("signs_in_with", "identity_provider", "last_seen", "made", "id")},
        ),
    )
    conditional_fields = {
        "how": "login_type == 'password'",
        "password": "login_type == 'password' && how == 'typed'",
    }
    change_form_template = "admin/people/person.html"
    delete_label = "Delete this person"

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).filter(is_system=False)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PeopleList

    @admin.display(description="Person")
    def person(self, person: User) -> str:
        return f"{person.name} ({person.username})" if person.name else person.username

    @admin.display(description="Status")
    def state(self, person: User) -> SafeString | str:
        if person.deleted:
            return "Deleted"
        if person.status == UserStatus.SUSPENDED:
            return format_html('<strong class="state-stopped">{}</strong>', "Suspended")
        return str(UserStatus(person.status).label)

    @admin.display(description="Roles", empty_value="")
    def roles(self, person: User) -> str:
        return roles_in_words(person.rbac_roles)

    @admin.display(description="E-mail")
    def address(self, person: User) -> str:
        return person.email

    @admin.display(description="Signs in with")
    def signs_in_with(self, person: User) -> str:
        return str(LoginType(person.login_type).label)

    @admin.display(description="Identity provider")
    def identity_provider(self, person: User) -> str:
        """Tell what came with the last sign-in, so that a missing group explains itself."""
        # The library asks for each field several times.
        told: str | None = person.__dict__.get(_IDENTITIES)
        if told is None:
            told = "\n".join(map(_told, person.identities.order_by("issuer")))
            person.__dict__[_IDENTITIES] = told
        return told or "never signed in by one"

    @admin.display(description="Last seen", ordering="last_seen_at")
    def last_seen(self, person: User) -> str:
        return in_words(person.last_seen_at)

    @admin.display(description="Made")
    def made(self, person: User) -> str:
        return in_words(person.created_at)

    @admin.display(description="Groups")
    def groups(self, person: User) -> int:
        return int(getattr(person, "group_count", 0))

    # What the one who looks may do

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_change_permission(request, obj)
        return may and (obj is None or SiteRight.USERS_UPDATE in rights_on(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """One by one only, on a page that says what goes; never oneself."""
        if obj is None or obj.pk == request.user.pk:
            return False
        return self.has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fixed = [*_ABOUT] if obj else []
        return [*fixed, "status"] if obj and obj.pk == request.user.pk else fixed

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        shown = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return shown
        return _renamed(shown, {"rbac_roles": "roles"})

    def get_form(self, request: HttpRequest, obj: User | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        base = PersonForm if obj else NewPersonForm
        kwargs["form"] = type(base.__name__, (base,), {"actor": acting(request).user})
        if obj is None:
            kwargs["fields"] = ("username", "email", "name")
        return super().get_form(request, obj, **kwargs)

    def get_inline_instances(self, request: HttpRequest, obj: User | None = None) -> Any:
        return super().get_inline_instances(request, obj) if obj else []

    # Saving

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            self._change(request, obj, form)
            return
        wanted = form.draft()
        obj.pk = create_person(acting(request), lambda: wanted).pk
        obj.refresh_from_db()
        if form.is_password_made:
            setattr(request, _SHOWN_ONCE, wanted.password)

    def _change(self, request: HttpRequest, obj: User, form: Any) -> None:
        actor, who, changed = acting(request), str(obj.pk), set(form.changed_data)
        if changed & {"username", "email", "name"}:
            profile = Profile(username=obj.username, name=obj.name, email=obj.email)
            update_profile(actor, who, lambda: profile)
        if "status" in changed:
            set_status = suspend_user if obj.status == UserStatus.SUSPENDED else activate_user
            set_status(actor, who)
        if "rbac_roles" in changed:
            roles = form.cleaned_data["rbac_roles"]
            set_site_roles(actor, who, lambda: roles)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        MembershipInline.save(acting(request), formset)

    def response_add(
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        password = request.__dict__.pop(_SHOWN_ONCE, None)
        if password is None:
            return super().response_add(request, obj, post_url_continue)
        context = self.admin_site.each_context(request)
        title = f"{obj} has an account"
        return shown_once(request, context, person=obj, password=password, title=title)

    def consequences(self, row: User) -> list[str]:
        return [
            "They cannot sign in any more; their pages and open connections stop at once.",
            "Their API tokens, memberships, groups and their own provider keys are gone for good.",
            "Their chats and what those cost stay, for the records.",
            "Their user name and e-mail address are free for somebody else.",
        ]

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        delete_user(acting(request), str(obj.pk))

    # The other pages of a person

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<uuid:pk>/password/", view(self.password_view), name="accounts_user_password"),
            path("<uuid:pk>/groups/", view(self.groups_view), name="accounts_user_groups"),
        ]
        return own + super().get_urls()

    def password_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        person = self.get_queryset(request).filter(pk=pk, deleted=False).first()
        return password_page(request, self.admin_site.each_context(request), person)

    def groups_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        person = self.get_queryset(request).filter(pk=pk, deleted=False).first()
        return PersonGroupsPage.answer(request, self, person)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        person = kwargs.get("obj")
        if person is not None:
            context["links"] = self._links(request, person)
        return super().render_change_form(request, context, *args, **kwargs)

    def _links(self, request: HttpRequest, person: User) -> list[tuple[str, str, str]]:
        """Return what else there is to do: label, address, and what it is about."""
        if person.deleted:
            return []
        links, rights = [], rights_on(request, person)
        groups = group_counts([person]).get(person.pk, 0)
        here = reverse("admin:accounts_user_groups", args=[person.pk])
        links.append(("Groups", here, f"in {groups}, beside Everyone"))
        if SiteRight.PERSONAL in rights:
            tokens = APIKey.objects.filter(user=person).count()
            link = list_link(request, "accounts.apikey", user__id__exact=person.pk)
            links.append(("API tokens", link, f"{tokens}; see and revoke them"))
            if person.login_type == LoginType.PASSWORD:
                link = reverse("admin:accounts_user_password", args=[person.pk])
                links.append(("New password", link, "typed, or made and shown once"))
        return links + limit_link(request, person.chat_spend_limit_micros)


def _told(identity: ExternalIdentity) -> str:
    groups = identity.received_groups
    came = "no groups" if groups is None else f"groups: {', '.join(groups) or 'an empty list'}"
    when = f"{identity.received_at:%Y-%m-%d %H:%M} UTC"
    return f"{identity}, last seen {when}, with {came}. {identity.received_note}".strip()


def _renamed(fieldsets: Any, names: dict[str, str]) -> Any:
    return tuple(
        (title, {**options, "fields": tuple(names.get(each, each) for each in options["fields"])})
        for title, options in fieldsets
    )
