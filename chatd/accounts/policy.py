"""Who may do what, as data. Every permission question of the product is answered here.

Chat rights come from the site role, the role in the chat's organisation, ownership together with
*agents-access*, or the root chat's ACL. Reads that need a set of chats use `readable_chats`.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

from chatd.accounts.models import OrganizationMember, OrganizationRole, SiteRole, User


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
    """Read and change what is somebody else's own: tokens, provider keys, settings."""
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


def site_rights(user: User) -> frozenset[SiteRight]:
    """Return what the user's site roles allow; nothing for people without one."""
    known = (SiteRole(role) for role in user.rbac_roles if role in SiteRole.values)
    return frozenset[SiteRight]().union(*(SITE_RIGHTS[role] for role in known))


ACL_RIGHTS: dict[str, frozenset[ChatRight]] = {"read": frozenset({ChatRight.READ})}
"""Rights of an entry in a chat's ACL, by its permission."""


READ_PERMISSIONS = ["read"]
"""What an ACL entry of the role `read` holds; there is no other role."""


def acl_role(entry: dict[str, Any] | None) -> str:
    """Return the role of a stored ACL entry; empty for none and for an unknown permission set."""
    known = entry is not None and entry.get("permissions") == READ_PERMISSIONS
    return "read" if known else ""


def membership(user: User, organization_id: UUID) -> OrganizationMember | None:
    """Return the user's membership of an organisation, with the organisation."""
    return (
        OrganizationMember.objects.select_related("organization")
        .filter(user=user, organization_id=organization_id, organization__deleted=False)
        .first()
    )


def memberships(user: User) -> list[OrganizationMember]:
    """Return the user's memberships of live organisations, with the organisations."""
    joined = OrganizationMember.objects.filter(user=user, organization__deleted=False)
    return list(joined.select_related("organization"))


def may_read_user(caller: User, user: User) -> bool:
    """Tell whether somebody may know of a person: oneself, by site right, or as admin of theirs."""
    if user.pk == caller.pk or SiteRight.USERS_READ in site_rights(caller):
        return True
    administered = [
        member.organization_id
        for member in memberships(caller)
        if OrganizationRole.ADMIN in member.effective_roles
    ]
    shared = OrganizationMember.objects.filter(user=user, organization__in=administered)
    return bool(administered) and shared.exists()


def may_change_personal(caller: User, user: User) -> bool:
    """Tell whether somebody may read and change what is a person's own."""
    return user.pk == caller.pk or SiteRight.PERSONAL in site_rights(caller)


def organization_chat_rights(
    user: User, member: OrganizationMember | None, *, own: bool
) -> frozenset[ChatRight]:
    """Return the rights on a chat in the member's organisation, from roles alone."""
    if user.is_owner:
        return ALL_CHAT_RIGHTS
    if member is None:
        return frozenset()
    rights: frozenset[ChatRight] = frozenset()
    for role in member.effective_roles:
        if role not in OrganizationRole.values:
            continue
        known = OrganizationRole(role)
        rights |= ANY_CHAT_RIGHTS.get(known, frozenset())
        if own:
            rights |= OWN_CHAT_RIGHTS.get(known, frozenset())
    return rights
