"""The pages of organisations."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, QuerySet
from django.db.models.functions import Lower
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from chatd.accounts.administration.base import acting, goes_on, list_link
from chatd.accounts.administration.fields import RolesField
from chatd.accounts.administration.member_pages import OrganizationMembersPage
from chatd.accounts.models import Group, Organization, OrganizationRole
from chatd.accounts.organizations import (
    OrganizationChanges,
    create_organization,
    update_organization,
)
from chatd.accounts.policy import organization_grants
from chatd.accounts.role_words import roles_in_words
from chatd.accounts.selectors import organization_member_counts
from chatd.core.action_admin import ActionAdmin

FIELDS = ("name", "display_name", "description", "icon", "default_org_member_roles")


class OrganizationForm(ModelForm[Organization]):
    default_org_member_roles = RolesField(
        OrganizationRole,
        label="What every member is",
        initial=[OrganizationRole.AGENTS_ACCESS],
        help_text="A change holds at once for everybody in the organisation.",
    )

    class Meta:
        model = Organization
        fields = ("name", "display_name", "description", "icon")
        help_texts = {
            "name": "Letters, digits and single dashes; programs use it, so change it rarely.",
            "display_name": "What people see. Empty: the name.",
            "icon": "Address of a picture; may be left empty.",
        }

    def _get_validation_exclusions(self) -> set[str]:
        """The action says in words what is taken."""
        return super()._get_validation_exclusions() | {"name"}  # type: ignore[no-any-return,misc]


class OrganizationList(ChangeList):
    """Organisations, with how many people and groups are in each of the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = list(self.result_list)
        people = organization_member_counts(found)
        groups = dict(
            Group.objects.filter(organization__in=found)
            .values_list("organization_id")
            .annotate(Count("id"))
        )
        for row in found:
            row.member_count = people.get(row.pk, 0)
            row.group_count = groups.get(row.pk, 0)
        self.result_list = found


@admin.register(Organization)
class OrganizationAdmin(ActionAdmin[Organization]):
    form = OrganizationForm
    list_display = ("shown_name", "name", "members", "groups", "by_default", "default_one")
    search_fields = ("name", "display_name")
    search_help_text = "Name of an organisation"
    sortable_by = ()
    ordering = (Lower("name"),)
    actions = None
    fields = FIELDS
    change_form_template = "admin/people/person.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        return super().get_queryset(request).filter(deleted=False)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OrganizationList

    @admin.display(description="Organisation")
    def shown_name(self, organization: Organization) -> str:
        return str(organization)

    @admin.display(description="Members")
    def members(self, organization: Organization) -> int:
        return int(getattr(organization, "member_count", 0))

    @admin.display(description="Groups")
    def groups(self, organization: Organization) -> int:
        return int(getattr(organization, "group_count", 0))

    @admin.display(description="Every member is")
    def by_default(self, organization: Organization) -> str:
        return roles_in_words(organization.default_org_member_roles) or "Member only"

    @admin.display(description="Default")
    def default_one(self, organization: Organization) -> str:
        return "For new people" if organization.is_default else ""

    def get_fields(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return list(FIELDS)
        return [*FIELDS[:-1], "by_default"]

    def get_form(self, request: HttpRequest, obj: Organization | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        form = super().get_form(request, obj, **kwargs)
        roles = form.base_fields.get("default_org_member_roles")
        if roles is not None and obj is not None:
            grants = organization_grants(acting(request).user, None)
            roles.limit(  # type: ignore[attr-defined]
                held=obj.default_org_member_roles, grants=grants
            )
        return form

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        wanted = OrganizationChanges(**{name: form.cleaned_data[name] for name in FIELDS})
        if change:
            update_organization(acting(request), str(obj.pk), lambda: wanted)
        else:
            obj.pk = create_organization(acting(request), lambda: wanted).pk

    def response_add(
        self, request: HttpRequest, obj: Organization, post_url_continue: str | None = None
    ) -> HttpResponse:
        answer = super().response_add(request, obj, post_url_continue)
        if goes_on(request):
            return redirect(reverse("admin:accounts_organization_members", args=[obj.pk]))
        return answer

    # The other pages of an organisation

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.members_view)
        own = path("<uuid:pk>/members/", view, name="accounts_organization_members")
        return [own, *super().get_urls()]

    def members_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        found = self.get_queryset(request).filter(pk=pk).first()
        return OrganizationMembersPage.answer(request, self, found)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if (organization := kwargs.get("obj")) is not None:
            context["links"] = _links(request, organization)
        return super().render_change_form(request, context, *args, **kwargs)


def _links(request: HttpRequest, organization: Organization) -> list[tuple[str, str, str]]:
    people = organization_member_counts([organization]).get(organization.pk, 0)
    here = reverse("admin:accounts_organization_members", args=[organization.pk])
    groups = Group.objects.filter(organization=organization).count()
    link = list_link(request, "accounts.group", organization=organization.pk)
    return [
        ("Members", here, f"{people}; add and remove them"),
        ("Groups", link, f"{groups}, with Everyone"),
    ]
