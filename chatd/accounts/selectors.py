"""Reads of people, organisations, groups and tokens.

A read for a person fetches and authorises in one step. What they may not read does not exist for
them; what they may read and not change is refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast, Lower

from chatd.accounts.models import (
    APIKey,
    ExternalIdentity,
    Group,
    GroupMember,
    KeyType,
    Organization,
    OrganizationMember,
    OrganizationRole,
    User,
    UserStatus,
)
from chatd.accounts.policy import (
    ALL_ROLES,
    OrganizationRight,
    SiteRight,
    administered_organizations,
    every_organization_rights,
    membership,
    memberships,
    organization_rights,
    rights_over,
    site_grants,
    site_rights,
)
from chatd.accounts.validation import ME
from chatd.core.clock import now
from chatd.core.errors import forbidden, not_found
from chatd.core.ids import canonical_uuid

DEFAULT_PAGE = 50


# people


@dataclass(frozen=True, slots=True)
class UserPage:
    """A page of people, with how many there are on all pages."""

    users: list[User]
    count: int


def get_user_for(user: User, who: str, right: SiteRight = SiteRight.USERS_READ) -> User:
    """Return the person `who` names (`me`, an id or a name). Raises ChatdError 403, 404."""
    found = find_user(user, who)
    rights = rights_over(user, found) if found else frozenset()
    if found is None or SiteRight.USERS_READ not in rights:
        raise not_found()
    if right not in rights:
        raise forbidden(detail="Your roles do not let you do this with this person.")
    return found


def find_user(user: User, who: str) -> User | None:
    """Return the person `who` names, whether or not the caller may know of them."""
    if who.lower() in (ME, str(user.pk), user.username.lower()):
        return user
    if "\x00" in who:  # a database has no text with NUL
        return None
    user_id = canonical_uuid(who)
    found = User.objects.live().filter(pk=user_id) if user_id else User.objects.named(who)
    return found.filter(is_system=False).first()


def list_identities_for(user: User, who: str) -> list[ExternalIdentity]:
    """Return who a person is at identity providers, with the groups that came last.

    Raises ChatdError 404.
    """
    person = get_user_for(user, who)
    return list(ExternalIdentity.objects.filter(user=person).order_by("issuer"))


def find_live_user(name: str) -> User | None:
    """Return the user with this user name or e-mail address, whatever the letter case."""
    return User.objects.named(name).first() or User.objects.mailed(name).first()


def list_users_for(user: User, *, search: str = "", limit: int = 0, offset: int = 0) -> UserPage:
    """Return a page of the people a user may read, by name. `limit` 0 is the default page.

    `search` is a part of a name or address, in any letter case. Raises the 403 for who may read
    nobody but themselves.
    """
    people = readable_people(user)
    if "\x00" in search:  # a database has no text with NUL
        people = people.none()
    elif search:
        parts = [Q(**{f"{name}__icontains": search}) for name in ("username", "name", "email")]
        people = people.filter(reduce(or_, parts))
    page = page_of_people(people, limit=limit or DEFAULT_PAGE, offset=offset)
    return UserPage(list(page), people.count())


def page_of_people(people: QuerySet[User], *, limit: int, offset: int) -> QuerySet[User]:
    """Return so many people, by name."""
    return people.order_by(Lower("username"))[offset : offset + limit]


def readable_people(user: User) -> QuerySet[User]:
    """Return the people a user may read beside themselves. Raises the 403 for who may nobody."""
    people = User.objects.live().filter(is_system=False)
    if SiteRight.USERS_READ in site_rights(user):
        return people
    administered = administered_organizations(user)
    if not administered:
        raise forbidden(detail="You may not list people.")
    joined = OrganizationMember.objects.filter(organization__in=administered)
    return people.filter(pk__in=joined.values("user_id"))


def people_in_reach(user: User) -> QuerySet[User] | None:
    """Return the people over whom a user has all rights of their site roles, and themselves.

    Those are who hold no role that the user could not have given. None is everybody.
    """
    grants = site_grants(user)
    if grants >= ALL_ROLES:
        return None
    beyond = [role for role in OrganizationRole.values if role not in grants]
    held, default = (_holding(name, beyond) for name in ("roles", "default_roles"))
    memberships_beyond = OrganizationMember.objects.alias(
        roles_text=Cast("roles", TextField()),
        default_roles_text=Cast("organization__default_org_member_roles", TextField()),
    ).filter(held | default, organization__deleted=False)
    plain = Q(rbac_roles=[]) & ~Q(pk__in=memberships_beyond.values("user_id"))
    return User.objects.filter(plain | Q(pk=user.pk))


def _holding(name: str, roles: Iterable[str]) -> Q:
    """Match lists of roles, as JSON in the text `{name}_text`, that have one of `roles`."""
    return reduce(or_, (Q(**{f"{name}_text__contains": f'"{role}"'}) for role in roles), Q())


def organization_ids_of(people: Sequence[User]) -> dict[UUID, list[UUID]]:
    """Return the live organisations of each person, by name, in one query."""
    joined: dict[UUID, list[UUID]] = {person.pk: [] for person in people}
    rows = (
        OrganizationMember.objects.filter(user__in=joined, organization__deleted=False)
        .order_by("organization__name")
        .values_list("user_id", "organization_id")
    )
    for user_id, organization_id in rows:
        joined[user_id].append(organization_id)
    return joined


# organisations


def get_organization_for(
    user: User, named: str, right: OrganizationRight = OrganizationRight.READ
) -> Organization:
    """Return a live organisation by id or name. Raises ChatdError 403, 404."""
    organization = find_organization(named)
    if organization is None:
        raise not_found()
    check_organization_right(user, organization, right)
    return organization


def check_organization_right(
    user: User, organization: Organization, right: OrganizationRight
) -> None:
    """Raise the 403, or the 404 for who may not read the organisation at all."""
    rights = organization_rights(user, membership(user, organization.pk))
    if OrganizationRight.READ not in rights:
        raise not_found()
    if right not in rights:
        raise forbidden(detail="You may not do this in this organization.")


def find_organization(named: str) -> Organization | None:
    """Return a live organisation by id or name, whoever asks."""
    organization_id = canonical_uuid(named)
    if "\x00" in named:
        return None
    wanted = Q(pk=organization_id) if organization_id else Q(name__iexact=named)
    return Organization.objects.filter(wanted, deleted=False).first()


def list_readable_organizations(user: User) -> list[Organization]:
    """Return the organisations a user may read, by name: their own, or all of them."""
    live = Organization.objects.filter(deleted=False).order_by("name")
    if OrganizationRight.READ not in every_organization_rights(user):
        live = live.filter(pk__in=_organizations_with(user, OrganizationRight.READ))
    return list(live)


def _organizations_with(user: User, right: OrganizationRight) -> list[UUID]:
    """Return the organisations in which a membership gives a user a right."""
    return [
        member.organization_id
        for member in memberships(user)
        if right in organization_rights(user, member)
    ]


def list_members_for(
    user: User, named: str, *, limit: int = 0, offset: int = 0
) -> list[OrganizationMember]:
    """Return members with their people, by name; `limit` 0 is all. Raises ChatdError 403, 404."""
    organization = get_organization_for(user, named, OrganizationRight.MEMBERS_READ)
    members = (
        OrganizationMember.objects.select_related("user", "organization")
        .filter(organization=organization, user__deleted=False, user__is_system=False)
        .order_by(Lower("user__username"))
    )
    return list(members[offset : offset + limit] if limit else members[offset:])


def list_organizations_for(user: User) -> list[Organization]:
    """Return the live organisations the user is a member of, by name."""
    return list(Organization.objects.filter(memberships__user=user, deleted=False).order_by("name"))


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


# groups


def get_group_for(
    user: User, group_id: UUID, right: OrganizationRight = OrganizationRight.GROUPS_READ
) -> Group:
    """Return a group of a live organisation, with it. Raises ChatdError 403, 404."""
    group = live_groups([group_id]).get(group_id)
    if group is None:
        raise not_found()
    check_organization_right(user, group.organization, right)
    return group


def list_groups_for(user: User, named: str | None = None) -> list[Group]:
    """Return the groups of one organisation, or of all the user may read.

    Raises ChatdError 403, 404.
    """
    if named is not None:
        return list_groups_of(get_organization_for(user, named, OrganizationRight.GROUPS_READ).pk)
    if OrganizationRight.GROUPS_READ in every_organization_rights(user):
        return _listed(Group.objects.all())
    return list_groups_of(*_organizations_with(user, OrganizationRight.GROUPS_READ))


def manageable_groups(user: User) -> list[Group]:
    """Return the groups of organisations whose groups a user may change everywhere, as listed."""
    if OrganizationRight.GROUPS_UPDATE in every_organization_rights(user):
        return _listed(Group.objects.all())
    return list_groups_of(*_organizations_with(user, OrganizationRight.GROUPS_UPDATE))


def list_groups_of(*organization_ids: UUID) -> list[Group]:
    """Return the groups of live organisations, Everyone first, the others by name."""
    return _listed(Group.objects.filter(organization__in=organization_ids))


def _listed(groups: QuerySet[Group]) -> list[Group]:
    live = groups.select_related("organization").filter(organization__deleted=False)
    return sorted(
        live,
        key=lambda group: (group.organization.name, not group.is_everyone, str(group).lower()),
    )


def members_of(groups: Sequence[Group]) -> dict[UUID, list[User]]:
    """Return the people in each group, by name, without system users: in two queries."""
    people: dict[UUID, list[User]] = {group.pk: [] for group in groups}
    visible = {"user__deleted": False, "user__is_system": False}
    explicit = (
        GroupMember.objects.filter(group__in=people, **visible)
        .select_related("user")
        .order_by(Lower("user__username"))
    )
    everyone = (
        OrganizationMember.objects.filter(
            organization_id__in=[group.pk for group in groups if group.is_everyone], **visible
        )
        .select_related("user")
        .order_by(Lower("user__username"))
    )
    for entry in explicit:
        people[entry.group_id].append(entry.user)
    for member in everyone:
        people[member.organization_id].append(member.user)
    return people


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
    everyone = organization_member_counts(group.pk for group in listed if group.is_everyone)
    return dict(explicit) | everyone


def organization_member_counts(organizations: Iterable[Organization | UUID]) -> dict[UUID, int]:
    """Return how many people, without system users, are in each organisation."""
    visible = {"user__deleted": False, "user__is_system": False}
    members = OrganizationMember.objects.filter(organization__in=list(organizations), **visible)
    return dict(members.values_list("organization_id").annotate(Count("id")))


def group_counts(people: Iterable[User]) -> dict[UUID, int]:
    """Return in how many groups each of these people is, without Everyone."""
    listed = GroupMember.objects.filter(user__in=list(people))
    return dict(listed.values_list("user_id").annotate(Count("id")))


# tokens


def list_tokens_for(user: User, who: str, *, include_expired: bool = False) -> list[APIKey]:
    """Return the API tokens of a person, the oldest first. Raises ChatdError 403, 404."""
    person = get_user_for(user, who, SiteRight.PERSONAL)
    keys = APIKey.objects.filter(user=person, login_type=KeyType.TOKEN)
    if not include_expired:
        keys = keys.filter(expires_at__gt=now())
    return list(keys.order_by("created_at", "id"))


@dataclass(frozen=True, slots=True)
class TokenPage:
    """A page of tokens, with how many there are on all pages."""

    tokens: list[APIKey]
    count: int


def page_of_own_tokens(user: User, *, limit: int, offset: int) -> TokenPage:
    """Return a page of a person's own tokens, the newest first, with those of the last month that
    have expired."""
    tokens = APIKey.objects.filter(user=user, login_type=KeyType.TOKEN)
    page = tokens.order_by("-created_at", "-id")[offset : offset + limit]
    return TokenPage(list(page), tokens.count())


def find_own_token(user: User, key_id: str) -> APIKey | None:
    """Return a token of a person, expired or not."""
    if "\x00" in key_id:  # a database has no text with NUL
        return None
    return APIKey.objects.filter(user=user, login_type=KeyType.TOKEN, pk=key_id).first()


# what open sockets live by


def live_key_ids(ids: Iterable[str]) -> set[str]:
    """Return those of these keys that still hold."""
    keys = APIKey.objects.filter(pk__in=list(ids), expires_at__gt=now())
    return set(keys.values_list("pk", flat=True))


def active_user_ids(ids: Iterable[UUID]) -> set[UUID]:
    """Return those of these people who may act."""
    people = User.objects.live().filter(pk__in=list(ids)).exclude(status=UserStatus.SUSPENDED)
    return set(people.values_list("pk", flat=True))
