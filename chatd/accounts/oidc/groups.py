"""Groups and roles that an identity provider gives and takes.

All of it belongs to the transaction of a sign-in.
"""

from uuid import uuid4

from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actions import default_organization
from chatd.accounts.groups import EVERYONE, MAX_GROUP_NAME, group_fields, group_resource
from chatd.accounts.models import (
    Group,
    GroupMember,
    GroupSource,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
)
from chatd.accounts.oidc.claims import ClaimedGroups
from chatd.accounts.users import changing_person, save_user, user_resource
from chatd.accounts.validation import SLUG
from chatd.audit.actions import Author, record
from chatd.audit.models import Action
from config.env import SingleSignOn

MAX_NEW_GROUPS = 200
"""So many groups one sign-in may make; the next one makes more."""


def sync_roles(author: Author, user: User, claimed: ClaimedGroups, configured: SingleSignOn) -> str:
    """Give and take the mapped roles. Returns a sentence when the last owner kept theirs."""
    controlled = set(configured.roles.values())
    wanted = {configured.roles[value] for value in claimed.values if value in configured.roles}
    held = set(user.rbac_roles)
    if controlled & held == wanted:
        return ""
    with changing_person(author, user) as locked:
        kept = SiteRole.OWNER in controlled & held - wanted and _is_last_owner(locked)
        roles = held - controlled | wanted | ({SiteRole.OWNER.value} if kept else set())
        locked.rbac_roles = [role.value for role in SiteRole if role in roles]
        save_user(locked, "rbac_roles")
    user.rbac_roles = locked.rbac_roles
    return "The last owner who can act keeps the role that the claim does not give." if kept else ""


def _is_last_owner(user: User) -> bool:
    others = User.objects.live().exclude(pk=user.pk).exclude(rbac_roles=[])
    return not any(other.is_owner and other.is_active for other in others)


def sync_groups(
    author: Author, user: User, claimed: ClaimedGroups, configured: SingleSignOn
) -> list[str]:
    """Make a person a member of exactly the claimed groups among those of the provider.

    Groups made by hand are left alone. Returns sentences about what could not be followed.
    """
    organization = default_organization()
    names, notes = _wanted_names(claimed, configured)
    if (
        names
        and not OrganizationMember.objects.filter(organization=organization, user=user).exists()
    ):
        names = {}
        notes.append(f'Who is no member of "{organization}" is in none of its groups.')
    found, more = _groups_named(author, organization, names)
    _set_members(author, user, found)
    return notes + more


def _wanted_names(
    claimed: ClaimedGroups, configured: SingleSignOn
) -> tuple[dict[str, str], list[str]]:
    """Return the names of the claimed groups, by their lower case."""
    names: dict[str, str] = {}
    ignored = 0
    for value in claimed.values:
        name = configured.groups.get(value, value if configured.create_groups else "")
        if _is_name(name):
            names.setdefault(name.lower(), name)
        else:
            ignored += value not in configured.roles
    if not ignored:
        return names, []
    return names, [f"{ignored} of the values are in no map, or cannot be the name of a group."]


def _is_name(name: str) -> bool:
    fits = len(name) <= MAX_GROUP_NAME and SLUG.fullmatch(name)
    return bool(fits) and name.lower() != EVERYONE


def _groups_named(
    author: Author, organization: Organization, names: dict[str, str]
) -> tuple[list[Group], list[str]]:
    """Return the provider's groups of these names, making those that are missing."""
    if not names:
        return [], []
    there = {group.name.lower(): group for group in organization.member_groups.all()}
    missing = [name for lower, name in names.items() if lower not in there]
    notes = []
    if len(missing) > MAX_NEW_GROUPS:
        notes.append(f"{len(missing)} new groups are too many at once: {MAX_NEW_GROUPS} are made.")
    for group in _made(author, organization, missing[:MAX_NEW_GROUPS]):
        there[group.name.lower()] = group
    found = [there[lower] for lower in names if lower in there]
    by_hand = [group.name for group in found if group.source != GroupSource.OIDC]
    if by_hand:
        listed = ", ".join(by_hand[:10])
        notes.append(f"Groups made by hand have these names, and are left alone: {listed}.")
    return [group for group in found if group.source == GroupSource.OIDC], notes


def _made(author: Author, organization: Organization, names: list[str]) -> list[Group]:
    """Make groups of the provider; those that somebody else made meanwhile are returned too."""
    if not names:
        return []
    rows = [
        Group(id=uuid4(), organization=organization, name=name, source=GroupSource.OIDC)
        for name in names
    ]
    Group.objects.bulk_create(rows, ignore_conflicts=True)
    wanted = {name.lower() for name in names}
    there = [row for row in organization.member_groups.all() if row.name.lower() in wanted]
    ours = {row.pk for row in rows}
    for group in there:
        if group.pk in ours:
            record(author, Action.CREATE, group_resource(group), after=group_fields(group))
    return there


def _set_members(author: Author, user: User, groups: list[Group]) -> None:
    held = {
        entry.group_id: entry.group
        for entry in GroupMember.objects.select_related("group").filter(
            user=user, group__source=GroupSource.OIDC
        )
    }
    wanted = {group.pk: group for group in groups}
    if held.keys() == wanted.keys():
        return
    GroupMember.objects.filter(user=user, group__in=held.keys() - wanted.keys()).delete()
    GroupMember.objects.bulk_create(
        [GroupMember(group_id=pk, user=user) for pk in wanted.keys() - held.keys()],
        ignore_conflicts=True,
    )
    record(
        author,
        Action.WRITE,
        user_resource(user),
        before={"groups": {group.name for group in held.values()}},
        after={"groups": {group.name for group in groups}},
    )
    tell_sockets_of([user.pk])
