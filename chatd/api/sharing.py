"""The ACL of a chat."""

from typing import Any

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts.models import Group, User
from chatd.api.parsing import decode_body, path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats.sharing import AclChanges, get_acl, update_acl


class UpdateAclRequest(Struct, kw_only=True):
    """Body of `PATCH …/acl`: roles by id; the empty role removes."""

    user_roles: dict[str, str] | None = None
    group_roles: dict[str, str] | None = None

    def checked(self) -> AclChanges:
        return AclChanges(user_roles=self.user_roles or {}, group_roles=self.group_roles or {})


class AclViewSet(ResourceViewSet):
    """`/chats/{chat}/acl`."""

    def retrieve(self, request: Request, chat: str) -> Response:
        acl = get_acl(self.actor(request), path_uuid(chat))
        return Response(
            {
                "users": [_user_body(user, role) for user, role in acl.users],
                "groups": [
                    _group_body(group, role, acl.member_counts.get(group.pk, 0))
                    for group, role in acl.groups
                ],
            }
        )

    def partial_update(self, request: Request, chat: str) -> Response:
        update_acl(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(request, UpdateAclRequest).checked(),
        )
        return Response(status=204)


def _user_body(user: User, role: str) -> dict[str, Any]:
    body = {"id": str(user.pk), "username": user.username, "role": role}
    optional = {"name": user.name, "avatar_url": user.avatar_url}
    body.update({key: value for key, value in optional.items() if value})
    return body


def _group_body(group: Group, role: str, members: int) -> dict[str, Any]:
    organization = group.organization
    return {
        "id": str(group.pk),
        "name": group.name,
        "display_name": group.display_name or group.name,
        "organization_id": str(organization.pk),
        "members": [],
        "total_member_count": members,
        "avatar_url": group.avatar_url,
        "quota_allowance": group.quota_allowance,
        "source": str(group.source),
        "organization_name": organization.name,
        "organization_display_name": organization.display_name or organization.name,
        "role": role,
    }
