"""What people, organisations, members and groups look like to clients."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from chatd.accounts import shapes
from chatd.accounts.models import (
    APIKey,
    Group,
    Organization,
    OrganizationMember,
    OrganizationRole,
    SiteRole,
    User,
)
from chatd.core.clock import ZERO_TIME, rfc3339
from chatd.core.shapes import shaped


def user_body(user: User, organization_ids: Iterable[UUID]) -> shapes.User:
    """Return the User object."""
    return {
        **person_body(user),
        "organization_ids": [str(organization_id) for organization_id in organization_ids],
        "roles": site_role_bodies(user),
    }


def person_body(user: User) -> shapes.Person:
    """Return the User object without organisations and roles, as in groups."""
    return {
        "id": str(user.pk),
        "username": user.username,
        "name": user.name,
        "avatar_url": user.avatar_url,
        "email": user.email,
        "created_at": rfc3339(user.created_at),
        "updated_at": rfc3339(user.updated_at),
        "last_seen_at": rfc3339(user.last_seen_at) if user.last_seen_at else ZERO_TIME,
        "status": str(user.status),
        "login_type": str(user.login_type),
    }


def site_role_bodies(user: User) -> list[shapes.Role]:
    """Return the Role objects of what a person may do in the whole deployment."""
    return [
        {"name": role.value, "display_name": role.label}
        for role in SiteRole
        if role in user.rbac_roles
    ]


def organization_body(organization: Organization) -> shapes.Organization:
    """Return the Organization object."""
    return {
        "id": str(organization.pk),
        "name": organization.name,
        "display_name": organization.display_name or organization.name,
        "icon": organization.icon,
        "description": organization.description,
        "created_at": rfc3339(organization.created_at),
        "updated_at": rfc3339(organization.updated_at),
        "is_default": organization.is_default,
        "default_org_member_roles": list(organization.default_org_member_roles),
    }


def member_body(member: OrganizationMember) -> shapes.Member:
    """Return the Member object; its roles are those beyond the organisation's default ones."""
    return {
        "user_id": str(member.user_id),
        "organization_id": str(member.organization_id),
        "created_at": rfc3339(member.created_at),
        "updated_at": rfc3339(member.updated_at),
        "roles": [
            {
                "name": role.value,
                "display_name": role.label,
                "organization_id": str(member.organization_id),
            }
            for role in OrganizationRole
            if role in member.roles
        ],
    }


def listed_member_body(member: OrganizationMember) -> shapes.ListedMember:
    """Return the Member object with who it is."""
    user = member.user
    body: shapes.ListedMember = {
        **member_body(member),
        "username": user.username,
        "name": user.name,
        "avatar_url": user.avatar_url,
        "email": user.email,
        "status": str(user.status),
        "login_type": str(user.login_type),
        "global_roles": site_role_bodies(user),
    }
    return shaped(shapes.ListedMember, body)


def group_body(group: Group, members: Sequence[User], *, count: int) -> shapes.Group:
    """Return the Group object. `count` is of all members, whether they are shown or not."""
    organization = group.organization
    return {
        "id": str(group.pk),
        "name": group.name,
        "display_name": group.display_name or group.name,
        "organization_id": str(organization.pk),
        "members": [person_body(user) for user in members],
        "total_member_count": count,
        "avatar_url": group.avatar_url,
        "source": str(group.source),
        "organization_name": organization.name,
        "organization_display_name": organization.display_name or organization.name,
    }


def api_key_body(key: APIKey) -> shapes.APIKey:
    """Return the APIKey object; nobody can read the key itself again."""
    return {
        "id": key.pk,
        "user_id": str(key.user_id),
        "token_name": key.token_name,
        "last_used": rfc3339(key.last_used) if key.last_used else ZERO_TIME,
        "expires_at": rfc3339(key.expires_at),
        "created_at": rfc3339(key.created_at),
        "updated_at": rfc3339(key.updated_at),
        "login_type": str(key.login_type),
        "scopes": list(key.scopes),
        "lifetime_seconds": key.lifetime_seconds,
    }
