"""The groups of one person: who belongs where, from the person's side."""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Lower
from django.urls import reverse

from chatd.accounts.administration.choosing import ChoicePage, Row, Words
from chatd.accounts.groups import GroupChanges, update_group
from chatd.accounts.models import Group, GroupSource, User
from chatd.accounts.policy import OrganizationRight, every_organization_rights
from chatd.core.ids import canonical_uuid


class PersonGroupsPage(ChoicePage[User]):
    search_fields: ClassVar[Sequence[str]] = ("name", "display_name")

    def words(self) -> Words:
        return Words(
            title=f"Groups of {self.of}",
            inside="In these groups",
            add="Add to groups",
            remove="Take out of them",
            note="Everybody in an organisation is also in its group Everyone.",
            empty=f"{self.of} is in no group.",
            all_in=f"There is no other group in the organisations of {self.of}.",
            columns=("Organisation", "Members come from"),
            search="Name of a group",
        )

    def may_change(self) -> bool:
        return OrganizationRight.GROUPS_UPDATE in every_organization_rights(self.actor.user)

    def inside(self) -> QuerySet[Group]:
        return self._groups().filter(memberships__user=self.of)

    def outside(self) -> QuerySet[Group]:
        joined = self._groups().filter(organization__memberships__user=self.of)
        by_hand = joined.filter(source=GroupSource.USER).exclude(pk=F("organization_id"))
        return by_hand.exclude(pk__in=self.of.group_memberships.values("group_id"))

    def _groups(self) -> QuerySet[Group]:
        live = Group.objects.filter(organization__deleted=False).select_related("organization")
        return live.order_by("organization__name", Lower("name"))

    def row(self, found: Group) -> Row:
        link = reverse("admin:accounts_group_change", args=[found.pk])
        return Row(str(found.pk), str(found), link, _cells(found))

    def add(self, ids: Sequence[str]) -> None:
        changes = GroupChanges(add_users=[str(self.of.pk)])
        for group_id in self._known(ids):
            update_group(self.actor, group_id, lambda: changes)

    def remove(self, ids: Sequence[str]) -> None:
        changes = GroupChanges(remove_users=[str(self.of.pk)])
        for group_id in self._known(ids):
            update_group(self.actor, group_id, lambda: changes)

    def _known(self, ids: Sequence[str]) -> list[UUID]:
        found = [group_id for group_id in map(canonical_uuid, ids) if group_id]
        chosen = Group.objects.filter(pk__in=found)
        return sorted(chosen.filter(~Q(source=GroupSource.OIDC)).values_list("pk", flat=True))

    def back(self) -> tuple[str, str]:
        return str(self.of), reverse("admin:accounts_user_change", args=[self.of.pk])


def _cells(group: Group) -> tuple[str, str]:
    return str(group.organization), GroupSource(group.source).label
