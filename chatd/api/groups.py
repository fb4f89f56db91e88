"""Groups of an organisation's members."""

from typing import Annotated

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.groups import GroupChanges, create_group, delete_group, update_group
from chatd.accounts.models import Group
from chatd.accounts.selectors import get_group_for, list_groups_for, members_of
from chatd.api.documenting import Operation
from chatd.api.parsing import MAX_BODY_BYTES, MAX_PEOPLE_BODY_BYTES, decode_body, path_uuid
from chatd.api.people import group_body
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import Uuid, documented


class CreateGroupRequest(Struct, kw_only=True):
    """Body of `POST /organizations/{org}/groups`."""

    name: Annotated[str | None, documented(required=True)] = None
    display_name: str | None = None
    avatar_url: str | None = None

    def checked(self) -> GroupChanges:
        return GroupChanges(
            name=self.name, display_name=self.display_name, avatar_url=self.avatar_url
        )


class UpdateGroupRequest(Struct, kw_only=True):
    """Body of `PATCH /groups/{group}`; absent is "no change". An empty name is none, too."""

    name: str | None = None
    display_name: str | None = None
    avatar_url: str | None = None
    add_users: list[Uuid] | None = None
    remove_users: list[Uuid] | None = None

    def checked(self) -> GroupChanges:
        return GroupChanges(
            name=self.name or None,
            display_name=self.display_name,
            avatar_url=self.avatar_url,
            add_users=self.add_users or (),
            remove_users=self.remove_users or (),
        )


class GroupsViewSet(ResourceViewSet):
    """`/groups`."""

    @Operation(
        "listGroups",
        "List the groups of every organisation one may read",
        answer=list[shapes.Group],
    )
    def list(self, request: Request) -> Response:
        return Response(_bodies(list_groups_for(self.actor(request).user)))


class OrganizationGroupsViewSet(ResourceViewSet):
    """`/organizations/{org}/groups`."""

    @Operation(
        "listOrganizationGroups",
        "List the groups of an organisation",
        answer=list[shapes.Group],
        refusals=[403],
    )
    def list(self, request: Request, org: str) -> Response:
        return Response(_bodies(list_groups_for(self.actor(request).user, org)))

    @Operation(
        "createGroup",
        "Create an empty group",
        status=201,
        answer=shapes.Group,
        body=CreateGroupRequest,
        refusals=[403],
    )
    def create(self, request: Request, org: str) -> Response:
        made = create_group(
            self.actor(request),
            org,
            lambda: decode_body(request, CreateGroupRequest, cap=MAX_PEOPLE_BODY_BYTES).checked(),
        )
        return Response(_body(made), status=201)


class GroupViewSet(ResourceViewSet):
    """`/groups/{group}`."""

    @Operation("getGroup", "Get a group with its members", answer=shapes.Group, refusals=[403])
    def retrieve(self, request: Request, group: str) -> Response:
        return Response(_body(get_group_for(self.actor(request).user, path_uuid(group))))

    @Operation(
        "updateGroup",
        "Change a group, and who is in it",
        answer=shapes.Group,
        body=UpdateGroupRequest,
        refusals=[403],
    )
    def partial_update(self, request: Request, group: str) -> Response:
        changed = update_group(
            self.actor(request),
            path_uuid(group),
            lambda: decode_body(request, UpdateGroupRequest, cap=MAX_BODY_BYTES).checked(),
        )
        return Response(_body(changed))

    @Operation("deleteGroup", "Delete a group", answer=shapes.Done, refusals=[403])
    def destroy(self, request: Request, group: str) -> Response:
        delete_group(self.actor(request), path_uuid(group))
        body: shapes.Done = {"message": "Successfully deleted group!"}
        return Response(body)


def _body(group: Group) -> shapes.Group:
    return _bodies([group])[0]


def _bodies(groups: list[Group]) -> list[shapes.Group]:
    people = members_of(groups)
    return [group_body(group, people[group.pk], count=len(people[group.pk])) for group in groups]
