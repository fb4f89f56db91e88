"""Who may do what, as data. Every permission question of the product is answered here.

Rights come from site roles, from roles in an organisation, and from what is one's own; the tables
say which. The scopes of the API token that a request came with narrow all of them. Chats can be
shared beside that: the ACL of the root chat grants rights of its own.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import UUIDField

from chatd.accounts.models import OrganizationMember, OrganizationRole, SiteRole, User
from chatd.core.statements import Parameter, Select


class ChatRight(StrEnum):
    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    SHARE = "share"


ALL_CHAT_RIGHTS = frozenset(ChatRight)

OWN_CHAT_RIGHTS: dict[OrganizationRole, frozenset[ChatRight]] = {
    OrganizationRole.AGENTS_ACCESS: ALL_CHAT_RIGHTS,
}
"""Rights on one's own chats in an organisation, by organisation role."""

ANY_CHAT_RIGHTS: dict[OrganizationRole, frozenset[ChatRight]] = {
    OrganizationRole.ADMIN: ALL_CHAT_RIGHTS,
}
"""Rights on everybody's chats in an organisation, by organisation role."""


class SiteRight(StrEnum):
    """What can be allowed beyond chats, in the whole deployment."""

    CONFIG_READ = "deployment_config:read"
    CONFIG_UPDATE = "deployment_config:update"
    PROVIDERS = "ai_provider:*"
    USERS_READ = "user:read"
    USERS_UPDATE = "user:update"
    PERSONAL = "user:personal"
    """Read and change what is somebody's own: password, tokens, provider keys, settings."""
    ORGANIZATIONS = "organization:*"
    AUDIT_READ = "audit_log:read"
    CHATS_READ = "chat:read"
    """Everybody's chats in every organisation, and what they cost."""


SITE_RIGHTS: dict[SiteRole, frozenset[SiteRight]] = {
    SiteRole.OWNER: frozenset(SiteRight),
    SiteRole.AUDITOR: frozenset(
        {SiteRight.CONFIG_READ, SiteRight.USERS_READ, SiteRight.AUDIT_READ}
    ),
    SiteRole.USER_ADMIN: frozenset(
        {SiteRight.USERS_READ, SiteRight.USERS_UPDATE, SiteRight.PERSONAL}
    ),
}
"""Rights in the whole deployment, by site role."""

PERSON_RIGHTS = frozenset({SiteRight.USERS_READ, SiteRight.USERS_UPDATE, SiteRight.PERSONAL})
"""Those of them that can also be held on one person. Everybody holds them on themselves."""


class OrganizationRight(StrEnum):
    """What can be allowed in one organisation, beyond its chats."""

    READ = "organization:read"
    UPDATE = "organization:update"
    MEMBERS_READ = "organization_member:read"
    MEMBERS_UPDATE = "organization_member:update"
    GROUPS_READ = "group:read"
    GROUPS_UPDATE = "group:update"


ALL_ORGANIZATION_RIGHTS = frozenset(OrganizationRight)

MEMBER_RIGHTS = frozenset(
    {OrganizationRight.READ, OrganizationRight.MEMBERS_READ, OrganizationRight.GROUPS_READ}
)
"""Rights of every member, whatever the role."""

ORGANIZATION_RIGHTS: dict[OrganizationRole, frozenset[OrganizationRight]] = {
    OrganizationRole.ADMIN: ALL_ORGANIZATION_RIGHTS,
    OrganizationRole.AUDITOR: MEMBER_RIGHTS,
    OrganizationRole.AGENTS_ACCESS: MEMBER_RIGHTS,
}
"""Rights in an organisation, by organisation role."""

EVERY_ORGANIZATION_RIGHTS: dict[SiteRole, frozenset[OrganizationRight]] = {
    SiteRole.OWNER: ALL_ORGANIZATION_RIGHTS,
    SiteRole.AUDITOR: MEMBER_RIGHTS,
    SiteRole.USER_ADMIN: MEMBER_RIGHTS
    | {OrganizationRight.MEMBERS_UPDATE, OrganizationRight.GROUPS_UPDATE},
}
"""Rights in every organisation, by site role."""


ALL_ROLES: frozenset[str] = frozenset(SiteRole.values) | frozenset(OrganizationRole.values)

SITE_GRANTS: dict[SiteRole, frozenset[str]] = {
    SiteRole.OWNER: ALL_ROLES,
    SiteRole.USER_ADMIN: frozenset({OrganizationRole.AGENTS_ACCESS.value}),
}
"""Roles that one may give and take away everywhere, by site role."""

ORGANIZATION_GRANTS: dict[OrganizationRole, frozenset[str]] = {
    OrganizationRole.ADMIN: frozenset(OrganizationRole.values),
}
"""Roles that one may give and take away in an organisation, by the role held there."""


ALL_SCOPES = "all"

SCOPES: frozenset[str] = frozenset(
    {ALL_SCOPES, "chat:*", "chat:delete", "user:*", "deployment_config:*", "audit_log:*"}
    | {"organization_member:*", "group:*"}
    | {f"chat:{right}" for right in ChatRight}
    | set(SiteRight)
    | set(OrganizationRight)
)
"""What an API token can be limited to."""

R = TypeVar("R", bound=StrEnum)


def scope_allows(scopes: Iterable[str], right: str) -> bool:
    """Tell whether a token of these scopes may be used for `right`, as `chat:read`."""
    held = set(scopes)
    resource = right.partition(":")[0]
    return not held or not held.isdisjoint({ALL_SCOPES, right, f"{resource}:*"})


def within_scopes(user: User, rights: Iterable[R], resource: str = "") -> frozenset[R]:
    """Return those rights that the token of the request allows; all of them without one."""
    prefix = f"{resource}:" if resource else ""
    return frozenset(right for right in rights if scope_allows(user.scopes, f"{prefix}{right}"))


# the deployment


def site_rights(user: User) -> frozenset[SiteRight]:
    """Return what the user's site roles allow; nothing for people without one."""
    held = frozenset[SiteRight]().union(*(SITE_RIGHTS[role] for role in _site_roles(user)))
    return within_scopes(user, held)


def site_grants(user: User) -> frozenset[str]:
    """Return the roles that a user may give and take away everywhere."""
    return frozenset[str]().union(*(SITE_GRANTS.get(role, ()) for role in _site_roles(user)))


def may_give_site_roles(user: User) -> bool:
    """Tell whether a user may change the site roles of people they have rights over."""
    return frozenset(SiteRole.values) <= site_grants(user)


def _site_roles(user: User) -> list[SiteRole]:
    return [SiteRole(role) for role in user.rbac_roles if role in SiteRole.values]


# the administration in the browser

_CONFIG = (SiteRight.CONFIG_READ, SiteRight.CONFIG_UPDATE)

ADMINISTRATION: dict[str, tuple[SiteRight | OrganizationRight, SiteRight | OrganizationRight]] = {
    "accounts.user": (SiteRight.USERS_READ, SiteRight.USERS_UPDATE),
    "accounts.organization": (OrganizationRight.READ, OrganizationRight.UPDATE),
    "accounts.organizationmember": (
        OrganizationRight.MEMBERS_READ,
        OrganizationRight.MEMBERS_UPDATE,
    ),
    "accounts.group": (OrganizationRight.GROUPS_READ, OrganizationRight.GROUPS_UPDATE),
    "accounts.apikey": (SiteRight.PERSONAL, SiteRight.PERSONAL),
    "preferences.sitesetting": _CONFIG,
    "providers.aiprovider": (SiteRight.PROVIDERS, SiteRight.PROVIDERS),
    "providers.modelconfig": _CONFIG,
    "providers.modelprice": _CONFIG,
    "spending.usagelimitconfig": _CONFIG,
    "spending.spend": _CONFIG,
    "mcp.mcpserverconfig": _CONFIG,
    "chats.chat": (SiteRight.CHATS_READ, SiteRight.CHATS_READ),
    "chats.failedturn": (SiteRight.CHATS_READ, SiteRight.CHATS_READ),
    "audit.auditentry": (SiteRight.AUDIT_READ, SiteRight.AUDIT_READ),
}
"""What it takes to see a page of the administration, and to change what is on it.

A page may ask for more: rights over single people depend on who they are, and every change is
judged again by its action.
"""


def may_administer(user: User, permission: str) -> bool:
    """Tell whether a person may do `app.action_model` there, as Django names permissions."""
    app, _, rest = permission.partition(".")
    action, _, model = rest.partition("_")
    needed = ADMINISTRATION.get(f"{app}.{model}")
    if needed is None or not user.is_active:
        return False
    return needed[action != "view"] in site_rights(user) | every_organization_rights(user)


# people


def rights_over(user: User, person: User) -> frozenset[SiteRight]:
    """Return which of PERSON_RIGHTS a user holds on a person.

    Changing somebody else takes a role that could have given every role they hold: who may reset
    a password may become that person. Who looks after an organisation's members may read them.
    """
    if user.pk == person.pk:
        # Without knowing who it is for, a token is of no use.
        return within_scopes(user, PERSON_RIGHTS) | {SiteRight.USERS_READ}
    rights = site_rights(user) & PERSON_RIGHTS
    if rights - {SiteRight.USERS_READ} and not roles_of(person) <= site_grants(user):
        rights &= {SiteRight.USERS_READ}
    if SiteRight.USERS_READ not in rights and _looks_after(user, person):
        rights |= within_scopes(user, {SiteRight.USERS_READ})
    return rights


def roles_of(person: User) -> frozenset[str]:
    """Return every role a person holds, in the deployment and in organisations."""
    held = frozenset(person.rbac_roles).union(
        *(member.effective_roles for member in memberships(person))
    )
    return held & ALL_ROLES


def _looks_after(user: User, person: User) -> bool:
    joined = set(
        OrganizationMember.objects.filter(user=person).values_list("organization_id", flat=True)
    )
    return not joined.isdisjoint(administered_organizations(user))


def administered_organizations(user: User) -> frozenset[UUID]:
    """Return the organisations whose members a user looks after by a role held there."""
    return frozenset(
        member.organization_id
        for member in memberships(user)
        if OrganizationRight.MEMBERS_UPDATE in organization_rights(user, member)
    )


# organisations


def membership(user: User, organization_id: UUID) -> OrganizationMember | None:
    """Return the user's membership of an organisation, with the organisation."""
    return _MEMBERSHIP.first(user_id=user.pk, organization_id=organization_id)


_MEMBERSHIP = Select(
    lambda: OrganizationMember.objects.select_related("organization").filter(
        user_id=Parameter("user_id", UUIDField()),
        organization_id=Parameter("organization_id", UUIDField()),
        organization__deleted=False,
    )[:1]
)


def memberships(user: User) -> list[OrganizationMember]:
    """Return the user's memberships of live organisations, with the organisations."""
    joined = OrganizationMember.objects.filter(user=user, organization__deleted=False)
    return list(joined.select_related("organization"))


def organization_rights(
    user: User, member: OrganizationMember | None
) -> frozenset[OrganizationRight]:
    """Return what a user may do in an organisation: the member's, or one they are not in."""
    rights = every_organization_rights(user)
    if member is not None:
        rights |= MEMBER_RIGHTS.union(
            *(ORGANIZATION_RIGHTS[role] for role in _organization_roles(member))
        )
    return within_scopes(user, rights)


def every_organization_rights(user: User) -> frozenset[OrganizationRight]:
    """Return what a user may do in every organisation, by site role."""
    held = (EVERY_ORGANIZATION_RIGHTS[role] for role in _site_roles(user))
    return within_scopes(user, frozenset[OrganizationRight]().union(*held))


def organization_grants(user: User, member: OrganizationMember | None) -> frozenset[str]:
    """Return the organisation roles that a user may give and take away in an organisation."""
    roles = site_grants(user)
    if member is not None:
        roles = roles.union(
            *(ORGANIZATION_GRANTS.get(role, ()) for role in _organization_roles(member))
        )
    return roles & frozenset(OrganizationRole.values)


def _organization_roles(member: OrganizationMember) -> list[OrganizationRole]:
    return [
        OrganizationRole(role) for role in member.effective_roles if role in OrganizationRole.values
    ]


# chats


def organization_chat_rights(
    user: User, member: OrganizationMember | None, *, own: bool
) -> frozenset[ChatRight]:
    """Return the rights on a chat in the member's organisation, from roles alone."""
    if user.is_owner:
        return chat_rights_within_scopes(user, ALL_CHAT_RIGHTS)
    if member is None:
        return frozenset()
    rights: frozenset[ChatRight] = frozenset()
    for role in _organization_roles(member):
        rights |= ANY_CHAT_RIGHTS.get(role, frozenset())
        if own:
            rights |= OWN_CHAT_RIGHTS.get(role, frozenset())
    return chat_rights_within_scopes(user, rights)


def chat_rights_within_scopes(user: User, rights: Iterable[ChatRight]) -> frozenset[ChatRight]:
    """Return those rights on chats that the token of the request allows."""
    return within_scopes(user, rights, "chat")


def may_read_chats(user: User) -> bool:
    """Tell whether the token of the request allows reading chats at all."""
    return scope_allows(user.scopes, f"chat:{ChatRight.READ}")


def reads_every_chat(user: User) -> bool:
    """Tell whether a user may read everybody's chats in every organisation."""
    return SiteRight.CHATS_READ in site_rights(user)


ACL_RIGHTS: dict[str, frozenset[ChatRight]] = {"read": frozenset({ChatRight.READ})}
"""Rights of an entry in a chat's ACL, by its permission."""


READ_PERMISSIONS = ["read"]
"""What an ACL entry of the role `read` holds; there is no other role."""


def acl_role(entry: dict[str, Any] | None) -> str:
    """Return the role of a stored ACL entry; empty for none and for an unknown permission set."""
    known = entry is not None and entry.get("permissions") == READ_PERMISSIONS
    return "read" if known else ""
