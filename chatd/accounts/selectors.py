"""Reads of people and organisations."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Count, Q

from chatd.accounts.models import Group, GroupMember, Organization, OrganizationMember, User
from chatd.accounts.policy import may_read_user
from chatd.core.errors import not_found
from chatd.core.ids import canonical_uuid


def list_organizations_for(user: User) -> list[Organization]:
    """Return the live organisations the user is a member of, by name."""
    return list(Organization.objects.filter(memberships__user=user, deleted=False).order_by("name"))


def get_user_for(caller: User, raw: str) -> User:
    """Return the live person that a path names by `me`, an id or a name.

    Raises ChatdError 404 for an unknown one, and for one whom the caller may not know of.
    """
    if raw.lower() in ("me", str(caller.pk), caller.username.lower()):
        return caller
    found = _named_user(raw)
    if found is None or not may_read_user(caller, found):
        raise not_found()
    return found


def _named_user(raw: str) -> User | None:
    user_id = canonical_uuid(raw)
    if user_id is not None:
        return User.objects.live().filter(pk=user_id).first()
    if not raw.isprintable():  # a database would refuse it
        return None
    return User.objects.live().filter(username__iexact=raw).first()


def own_organization(user: User) -> UUID | None:
    """Return the organisation a request that names none is about.

    That is the default one for its members, else the user's only one; None when that is open.
    """
    joined = list_organizations_for(user)
    for organization in joined:
        if organization.is_default:
            return organization.pk
    return joined[0].pk if len(joined) == 1 else None


def group_ids_of(user: User) -> set[UUID]:
    """Return the groups a user is in: explicit ones of their organisations, and each Everyone."""
    organizations = OrganizationMember.objects.filter(
        user=user, organization__deleted=False
    ).values_list("organization_id", flat=True)
    explicit = GroupMember.objects.filter(
        user=user, group__organization__in=organizations
    ).values_list("group_id", flat=True)
    return set(organizations) | set(explicit)


def find_live_user(name: str) -> User | None:
    """Return the user with this user name or e-mail address, whatever the letter case."""
    by_email = Q(email__iexact=name) & ~Q(email="")
    return User.objects.live().filter(Q(username__iexact=name) | by_email).first()


def list_groups_of(organization_id: UUID) -> list[Group]:
    """Return the groups of a live organisation, Everyone first, the others by name."""
    groups = Group.objects.select_related("organization").filter(
        organization_id=organization_id, organization__deleted=False
    )
    return sorted(groups, key=lambda group: (not group.is_everyone, str(group).lower()))


def live_users(ids: Iterable[UUID]) -> dict[UUID, User]:
    """Return the users with these ids who are not deleted."""
    return {user.pk: user for user in User.objects.live().filter(pk__in=list(ids))}


def live_groups(ids: Iterable[UUID]) -> dict[UUID, Group]:
    """Return the groups with these ids, with their organisations."""
    found = Group.objects.select_related("organization").filter(
        pk__in=list(ids), organization__deleted=False
    )
    return {group.pk: group for group in found}


def member_counts(groups: Iterable[Group]) -> dict[UUID, int]:
    """Return how many people, without system users, are in each group."""
    listed = list(groups)
    explicit = (
        GroupMember.objects.filter(group__in=listed, user__deleted=False, user__is_system=False)
        .values_list("group_id")
        .annotate(Count("id"))
    )
    everyone = (
        OrganizationMember.objects.filter(
            organization_id__in=[group.pk for group in listed if group.is_everyone],
            user__deleted=False,
            user__is_system=False,
        )
        .values_list("organization_id")
        .annotate(Count("id"))
    )
    return dict(explicit) | dict(everyone)
