"""Members of an organisation."""

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.members import add_member, remove_member, set_member_roles
from chatd.accounts.selectors import list_members_for
from chatd.api.documenting import Operation, integer
from chatd.api.organizations import OrganizationRoleName
from chatd.api.parsing import MAX_INT32, MAX_PEOPLE_BODY_BYTES, QueryReader, decode_body
from chatd.api.people import listed_member_body, member_body
from chatd.api.views import ResourceViewSet


class MemberRolesRequest(Struct, kw_only=True):
    """Body of `PUT …/members/{user}/roles`. No list is an empty one, as Go clients send it."""

    roles: list[OrganizationRoleName] | None = None


class MembersViewSet(ResourceViewSet):
    """`/organizations/{org}/members`."""

    @Operation(
        "listMembers",
        "List the members of an organisation",
        answer=list[shapes.ListedMember],
        parameters=[
            integer("limit", "How many; 0 is all.", most=MAX_INT32),
            integer("offset", "How many to leave out first.", most=MAX_INT32),
        ],
        refusals=[403],
    )
    def list(self, request: Request, org: str) -> Response:
        query = QueryReader(request, "Query parameters have invalid values.")
        limit = query.integer("limit", largest=MAX_INT32)
        offset = query.integer("offset", largest=MAX_INT32)
        query.check()
        members = list_members_for(self.actor(request).user, org, limit=limit, offset=offset)
        return Response([listed_member_body(member) for member in members])


class MemberViewSet(ResourceViewSet):
    """`/organizations/{org}/members/{user}`."""

    @Operation("addMember", "Add a member", answer=shapes.Member, refusals=[403])
    def create(self, request: Request, org: str, user: str) -> Response:
        return Response(member_body(add_member(self.actor(request), org, user)))

    @Operation(
        "removeMember",
        "Remove a member from an organisation and its groups",
        status=204,
        refusals=[403],
    )
    def destroy(self, request: Request, org: str, user: str) -> Response:
        remove_member(self.actor(request), org, user)
        return Response(status=204)

    @Operation(
        "updateMemberRoles",
        "Replace the roles of a member beyond the default ones",
        answer=shapes.Member,
        body=MemberRolesRequest,
        refusals=[403],
    )
    def set_roles(self, request: Request, org: str, user: str) -> Response:
        changed = set_member_roles(
            self.actor(request),
            org,
            user,
            lambda: decode_body(request, MemberRolesRequest, cap=MAX_PEOPLE_BODY_BYTES).roles or [],
        )
        return Response(member_body(changed))
