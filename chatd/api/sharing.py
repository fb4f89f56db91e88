"""The ACL of a chat."""

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts.models import Group, User
from chatd.api.documenting import Operation
from chatd.api.parsing import decode_body, path_uuid
from chatd.api.people import group_body
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.sharing import Acl, AclChanges, get_acl, update_acl
from chatd.core.shapes import Uuid, shaped


class UpdateAclRequest(Struct, kw_only=True):
    """Body of `PATCH …/acl`: roles by id; the empty role removes."""

    user_roles: dict[Uuid, shapes.AclRole] | None = None
    group_roles: dict[Uuid, shapes.AclRole] | None = None

    def checked(self) -> AclChanges:
        return AclChanges(user_roles=self.user_roles or {}, group_roles=self.group_roles or {})


class AclViewSet(ResourceViewSet):
    """`/chats/{chat}/acl`."""

    @Operation("getChatAcl", "Get who may read a root chat", answer=shapes.ChatAcl, refusals=[403])
    def retrieve(self, request: Request, chat: str) -> Response:
        acl = get_acl(self.actor(request), path_uuid(chat))
        return Response(_acl_body(acl))

    @Operation(
        "updateChatAcl",
        "Give and take the right to read a root chat",
        status=204,
        body=UpdateAclRequest,
        refusals=[403],
    )
    def partial_update(self, request: Request, chat: str) -> Response:
        update_acl(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(request, UpdateAclRequest).checked(),
        )
        return Response(status=204)


def _acl_body(acl: Acl) -> shapes.ChatAcl:
    return {
        "users": [_user_body(user, role) for user, role in acl.users],
        "groups": [
            _group_body(group, role, acl.member_counts.get(group.pk, 0))
            for group, role in acl.groups
        ],
    }


def _user_body(user: User, role: str) -> shapes.ChatUser:
    body: shapes.ChatUser = {
        "id": str(user.pk),
        "username": user.username,
        "name": user.name,
        "avatar_url": user.avatar_url,
        "role": role,
    }
    return shaped(shapes.ChatUser, body)


def _group_body(group: Group, role: str, members: int) -> shapes.ChatGroup:
    return {
        **group_body(group, [], count=members),
        "quota_allowance": group.quota_allowance,
        "role": role,
    }
