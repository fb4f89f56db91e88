"""The organisations somebody is in, as rows on their page."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chatd.accounts.actor import Actor
from chatd.accounts.administration.base import acting
from chatd.accounts.administration.people_forms import MembershipForm, open_organizations
from chatd.accounts.members import add_member, remove_member, set_member_roles
from chatd.accounts.models import OrganizationMember, User
from chatd.accounts.policy import OrganizationRight, every_organization_rights
from chatd.accounts.role_words import roles_in_words
from chatd.core.action_admin import TabularInline


class MembershipInline(TabularInline[OrganizationMember, User]):
    model = OrganizationMember
    form = MembershipForm
    extra = 1
    verbose_name = "organisation"
    verbose_name_plural = "Organisations"
    readonly_fields = ("by_default", "beyond")

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        roles = "roles" if self.has_change_permission(request, obj) else "beyond"
        return ("organization", "by_default", roles)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrganizationMember]:
        joined = super().get_queryset(request).filter(organization__deleted=False)
        return joined.select_related("organization", "user").order_by("organization__name")

    def get_formset(self, request: HttpRequest, obj: User | None = None, **kwargs: Any) -> Any:
        user = acting(request).user
        attributes = {
            "actor": user,
            "open_to_actor": open_organizations(user),
            "joined_by_actor": {row.organization_id: row for row in user.memberships.all()},
        }
        kwargs["form"] = type("MembershipForm", (MembershipForm,), attributes)
        return super().get_formset(request, obj, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Leave out the buttons for organisations beside the choice."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "organization" and field is not None:
            for what in ("add", "change", "view", "delete"):
                setattr(field.widget, f"can_{what}_related", False)
        return field

    @admin.display(description="Everybody there is")
    def by_default(self, member: OrganizationMember) -> str:
        if not member.organization_id:
            return ""
        return roles_in_words(member.organization.default_org_member_roles) or "Member only"

    @admin.display(description="Roles beyond those of everybody")
    def beyond(self, member: OrganizationMember) -> str:
        return roles_in_words(member.roles)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return OrganizationRight.MEMBERS_READ in every_organization_rights(acting(request).user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return OrganizationRight.MEMBERS_UPDATE in every_organization_rights(acting(request).user)

    has_add_permission = has_change_permission
    has_delete_permission = has_change_permission

    @staticmethod
    def save(actor: Actor, formset: Any) -> None:
        """Carry out what the rows ask for. Raises ChatdError as the actions do."""
        formset.save(commit=False)
        for member in formset.deleted_objects:
            remove_member(actor, str(member.organization_id), str(member.user_id))
        for member in formset.new_objects:
            add_member(actor, str(member.organization_id), str(member.user_id))
        changed = [member for member, fields in formset.changed_objects]
        for member in [*(new for new in formset.new_objects if new.roles), *changed]:
            named, who = str(member.organization_id), str(member.user_id)
            set_member_roles(actor, named, who, partial(list[str], member.roles))
