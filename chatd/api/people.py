"""The caller: who am I, and which organisations am I in."""

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.models import Organization, SiteRole, User
from chatd.accounts.selectors import list_organizations_for
from chatd.api.documenting import Operation
from chatd.api.views import ResourceViewSet
from chatd.core.clock import ZERO_TIME, rfc3339
from chatd.core.errors import not_found


def user_body(user: User, organizations: list[Organization]) -> shapes.User:
    """Return the User object."""
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
        "organization_ids": [str(organization.pk) for organization in organizations],
        "roles": [
            {"name": role.value, "display_name": role.label}
            for role in SiteRole
            if role in user.rbac_roles
        ],
    }


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


class UserViewSet(ResourceViewSet):
    """`/users/{user}` for the caller: `me`, one's own id or one's own name."""

    @Operation("getUser", "Get oneself", answer=shapes.User)
    def retrieve(self, request: Request, user: str) -> Response:
        found = self._own(request, user)
        return Response(user_body(found, list_organizations_for(found)))

    @Operation(
        "listUserOrganizations",
        "List the organisations one is in",
        answer=list[shapes.Organization],
    )
    def organizations(self, request: Request, user: str) -> Response:
        organizations = list_organizations_for(self._own(request, user))
        return Response([organization_body(organization) for organization in organizations])

    def _own(self, request: Request, user: str) -> User:
        caller = self.actor(request).user
        if user.lower() not in ("me", str(caller.pk), caller.username.lower()):
            raise not_found()
        return caller
