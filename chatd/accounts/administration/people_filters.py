"""What the list of people can be narrowed to."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest

from chatd.accounts.models import Group, Organization, SiteRole, User, UserStatus
from chatd.core.ids import canonical_uuid

DELETED = "deleted"


class StatusFilter(admin.SimpleListFilter):
    """Deleted people are shown only to who asks for them."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*UserStatus.choices, (DELETED, "Deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        wanted = self.value()
        if wanted == DELETED:
            return queryset.filter(deleted=True)
        live = queryset.filter(deleted=False)
        return live.filter(status=wanted) if wanted in UserStatus.values else live


class RoleFilter(admin.SimpleListFilter):
    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*SiteRole.choices, ("none", "None")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User] | None:
        wanted = self.value()
        if wanted == "none":
            return queryset.filter(rbac_roles=[])
        if wanted not in SiteRole.values:
            return None
        # Few hold a role; a list of them in JSON is asked as text on either database.
        texts = queryset.exclude(rbac_roles=[]).alias(texts=Cast("rbac_roles", TextField()))
        return texts.filter(texts__contains=f'"{wanted}"')


_MOST = 30


class OrganizationFilter(admin.SimpleListFilter):
    title = "organisation"
    parameter_name = "organization"
    lookup = "memberships__organization"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = list(Organization.objects.filter(deleted=False).order_by("name")[: _MOST + 1])
        wanted = _chosen(self)
        if len(found) > _MOST:  # too many to choose from: only what a link names
            found = list(Organization.objects.filter(pk=wanted)) if wanted else []
        return [(str(row.pk), str(row)) for row in found]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        wanted = _chosen(self)
        return queryset.filter(**{self.lookup: wanted}) if wanted else None


class GroupOrganizationFilter(OrganizationFilter):
    lookup = "organization"


class GroupFilter(admin.SimpleListFilter):
    """Narrows to the group that a link names; there are too many to choose from."""

    title = "group"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        wanted = _chosen(self)
        found = Group.objects.filter(pk=wanted).first() if wanted else None
        return [(str(found.pk), str(found))] if found else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User] | None:
        wanted = _chosen(self)
        return queryset.filter(group_memberships__group=wanted) if wanted else None


def _chosen(wanted: admin.SimpleListFilter) -> UUID | None:
    return canonical_uuid(str(wanted.used_parameters.get(wanted.parameter_name or "", "")))
