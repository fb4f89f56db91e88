"""Who is in a group and in an organisation: searched, in pages, added and removed."""

from collections.abc import Sequence
from typing import ClassVar

from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.urls import reverse

from chatd.accounts.administration.choosing import ChoicePage, Row, Words
from chatd.accounts.groups import GroupChanges, update_group
from chatd.accounts.members import add_member, remove_member
from chatd.accounts.models import (
    Group,
    GroupMember,
    GroupSource,
    Organization,
    OrganizationMember,
    User,
    UserStatus,
)
from chatd.accounts.policy import OrganizationRight, every_organization_rights
from chatd.accounts.role_words import roles_in_words

_PERSON = ("username", "name", "email")
_FROM_PROVIDER = "The members of this group come from the identity provider each time they sign in;"
_FROM_PROVIDER += " they are changed there."
_EVERYONE = "Everybody in the organisation is in this group, and nobody else."


def _people() -> QuerySet[User]:
    live = User.objects.live().filter(is_system=False)
    return live.order_by(Lower("username"))


def _row(person: User, *more: str) -> Row:
    name = f"{person.name} ({person.username})" if person.name else person.username
    link = reverse("admin:accounts_user_change", args=[person.pk])
    status = UserStatus(person.status).label
    return Row(str(person.pk), name, link, (person.email, str(status), *more))


class GroupMembersPage(ChoicePage[Group]):
    search_fields: ClassVar[Sequence[str]] = _PERSON

    def words(self) -> Words:
        return Words(
            title=f"Members of {self.of}",
            inside="Members",
            add="Add people",
            remove="Remove from the group",
            note=self._note(),
            empty="Nobody is in this group yet.",
            all_in=f"Everybody in {self.of.organization} is in this group already.",
            columns=("E-mail", "Status"),
        )

    def _note(self) -> str:
        if self.of.is_everyone:
            return _EVERYONE
        if self.of.source == GroupSource.OIDC:
            return _FROM_PROVIDER
        return f"Only people who are in the organisation {self.of.organization} can be in it."

    def may_change(self) -> bool:
        if self.of.is_everyone or self.of.source == GroupSource.OIDC:
            return False
        return OrganizationRight.GROUPS_UPDATE in every_organization_rights(self.actor.user)

    def inside(self) -> QuerySet[User]:
        if self.of.is_everyone:
            return self._in_organization()
        members = GroupMember.objects.filter(group=self.of).values("user_id")
        return _people().filter(pk__in=members)

    def outside(self) -> QuerySet[User]:
        members = GroupMember.objects.filter(group=self.of).values("user_id")
        return self._in_organization().exclude(pk__in=members)

    def _in_organization(self) -> QuerySet[User]:
        joined = OrganizationMember.objects.filter(organization=self.of.organization_id)
        return _people().filter(pk__in=joined.values("user_id"))

    def row(self, found: User) -> Row:
        return _row(found)

    def add(self, ids: Sequence[str]) -> None:
        update_group(self.actor, self.of.pk, lambda: GroupChanges(add_users=ids))

    def remove(self, ids: Sequence[str]) -> None:
        update_group(self.actor, self.of.pk, lambda: GroupChanges(remove_users=ids))

    def back(self) -> tuple[str, str]:
        return str(self.of), reverse("admin:accounts_group_change", args=[self.of.pk])


class OrganizationMembersPage(ChoicePage[Organization]):
    search_fields: ClassVar[Sequence[str]] = tuple(f"user__{name}" for name in _PERSON)
    search_outside: ClassVar[Sequence[str]] = _PERSON

    def words(self) -> Words:
        default = roles_in_words(self.of.default_org_member_roles)
        return Words(
            title=f"Members of {self.of}",
            inside="Members",
            add="Add people",
            remove="Remove from the organisation",
            note=f"Every member is: {default or 'Member only'}. Further roles are given on the page"
            " of a person. Whoever is removed leaves its groups, too; their chats stay.",
            empty="Nobody is in this organisation yet.",
            all_in="Everybody is in this organisation already.",
            columns=("E-mail", "Status", "Further roles"),
        )

    def may_change(self) -> bool:
        return OrganizationRight.MEMBERS_UPDATE in every_organization_rights(self.actor.user)

    def inside(self) -> QuerySet[OrganizationMember]:
        live = {"user__deleted": False, "user__is_system": False}
        members = OrganizationMember.objects.filter(organization=self.of, **live)
        return members.select_related("user").order_by(Lower("user__username"))

    def outside(self) -> QuerySet[User]:
        members = OrganizationMember.objects.filter(organization=self.of)
        return _people().exclude(pk__in=members.values("user_id"))

    def row(self, found: OrganizationMember | User) -> Row:
        if isinstance(found, User):
            return _row(found, "")
        return _row(found.user, roles_in_words(found.roles))

    def add(self, ids: Sequence[str]) -> None:
        for user_id in ids:
            add_member(self.actor, str(self.of.pk), user_id)

    def remove(self, ids: Sequence[str]) -> None:
        for user_id in ids:
            remove_member(self.actor, str(self.of.pk), user_id)

    def back(self) -> tuple[str, str]:
        return str(self.of), reverse("admin:accounts_organization_change", args=[self.of.pk])
