"""People: who there is, and what is changed about them."""

from typing import Annotated
from uuid import UUID

from django.contrib.auth import update_session_auth_hash
from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.models import LoginType, SiteRole, User
from chatd.accounts.policy import memberships
from chatd.accounts.selectors import (
    get_user_for,
    list_organizations_for,
    list_users_for,
    organization_ids_of,
)
from chatd.accounts.users import (
    NEW_STATUSES,
    NewPassword,
    NewUser,
    Profile,
    activate_user,
    create_person,
    delete_user,
    set_password,
    set_site_roles,
    suspend_user,
    update_profile,
)
from chatd.api.documenting import Operation, integer, text
from chatd.api.parsing import (
    MAX_INT32,
    MAX_PEOPLE_BODY_BYTES,
    ConfidentialBody,
    QueryReader,
    decode_body,
)
from chatd.api.people import organization_body, user_body
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import documented, one_of

SiteRoleName = Annotated[str, one_of(SiteRole)]


class CreateUserRequest(ConfidentialBody, kw_only=True):
    """Body of `POST /users`."""

    username: Annotated[str | None, documented(required=True)] = None
    email: Annotated[str | None, documented(required=True)] = None
    name: str | None = None
    password: str | None = None
    login_type: Annotated[str | None, one_of(LoginType)] = None
    user_status: Annotated[str | None, documented(enum=list(NEW_STATUSES))] = None
    organization_ids: list[UUID] | None = None
    roles: list[SiteRoleName] | None = None

    def checked(self) -> NewUser:
        return NewUser(
            username=self.username or "",
            email=self.email or "",
            name=self.name or "",
            password=self.password or "",
            login_type=self.login_type or "",
            status=self.user_status or "",
            organization_ids=self.organization_ids or (),
            roles=self.roles or (),
        )


class ProfileRequest(Struct, kw_only=True):
    """Body of `PUT /users/{user}/profile`."""

    username: Annotated[str | None, documented(required=True)] = None
    name: str | None = None

    def checked(self) -> Profile:
        return Profile(username=self.username or "", name=self.name or "")


class PasswordRequest(ConfidentialBody, kw_only=True):
    """Body of `PUT /users/{user}/password`."""

    password: Annotated[str | None, documented(required=True)] = None
    old_password: str | None = None

    def checked(self) -> NewPassword:
        return NewPassword(password=self.password or "", old_password=self.old_password or "")


class SiteRolesRequest(Struct, kw_only=True):
    """Body of `PUT /users/{user}/roles`. No list is an empty one, as Go clients send it."""

    roles: list[SiteRoleName] | None = None


class UsersViewSet(ResourceViewSet):
    """`/users`."""

    @Operation(
        "listUsers",
        "List the people one may read",
        description="All of them for site roles, the members of one's organisations for who"
        " administers some.",
        answer=shapes.UserPage,
        parameters=[
            text("q", "A part of a user name, a name or an e-mail address."),
            integer("limit", "How many; 0 is 50.", most=MAX_INT32),
            integer("offset", "How many to leave out first.", most=MAX_INT32),
        ],
        refusals=[403],
    )
    def list(self, request: Request) -> Response:
        query = QueryReader(request, "Query parameters have invalid values.")
        limit = query.integer("limit", largest=MAX_INT32)
        offset = query.integer("offset", largest=MAX_INT32)
        search = query.text("q")
        query.check()
        user = self.actor(request).user
        page = list_users_for(user, search=search, limit=limit, offset=offset)
        body: shapes.UserPage = {"users": _bodies(page.users), "count": page.count}
        return Response(body)

    @Operation(
        "createUser",
        "Create a person",
        status=201,
        answer=shapes.User,
        body=CreateUserRequest,
        refusals=[403, 404],
    )
    def create(self, request: Request) -> Response:
        created = create_person(
            self.actor(request),
            lambda: decode_body(request, CreateUserRequest, cap=MAX_PEOPLE_BODY_BYTES).checked(),
        )
        return Response(_body(created), status=201)


class UserViewSet(ResourceViewSet):
    """`/users/{user}`: `me`, an id or a name."""

    @Operation("getUser", "Get a person", answer=shapes.User)
    def retrieve(self, request: Request, user: str) -> Response:
        return Response(_body(get_user_for(self.actor(request).user, user)))

    @Operation("deleteUser", "Delete a person; chats stay", answer=shapes.Done, refusals=[403])
    def destroy(self, request: Request, user: str) -> Response:
        delete_user(self.actor(request), user)
        body: shapes.Done = {"message": "User has been deleted!"}
        return Response(body)

    @Operation(
        "updateUserProfile",
        "Rename a person",
        answer=shapes.User,
        body=ProfileRequest,
        refusals=[403],
    )
    def profile(self, request: Request, user: str) -> Response:
        changed = update_profile(
            self.actor(request),
            user,
            lambda: decode_body(request, ProfileRequest, cap=MAX_PEOPLE_BODY_BYTES).checked(),
        )
        return Response(_body(changed))

    @Operation(
        "updateUserPassword",
        "Change a password and end the person's other sessions",
        description="One's own takes the old one, too.",
        status=204,
        body=PasswordRequest,
        refusals=[403],
    )
    def password(self, request: Request, user: str) -> Response:
        actor = self.actor(request)
        changed = set_password(
            actor,
            user,
            lambda: decode_body(request, PasswordRequest, cap=MAX_PEOPLE_BODY_BYTES).checked(),
        )
        if actor.api_key is None and changed.pk == actor.user.pk:
            update_session_auth_hash(request._request, changed)  # all other sessions end
        return Response(status=204)

    @Operation(
        "suspendUser",
        "Stop a person, their tokens and their sockets",
        answer=shapes.User,
        refusals=[403],
    )
    def suspend(self, request: Request, user: str) -> Response:
        return Response(_body(suspend_user(self.actor(request), user)))

    @Operation("activateUser", "Let a person act again", answer=shapes.User, refusals=[403])
    def activate(self, request: Request, user: str) -> Response:
        return Response(_body(activate_user(self.actor(request), user)))

    @Operation("getUserRoles", "Get the roles a person was given", answer=shapes.UserRoles)
    def roles(self, request: Request, user: str) -> Response:
        found = get_user_for(self.actor(request).user, user)
        body: shapes.UserRoles = {
            "roles": list(found.rbac_roles),
            "organization_roles": {
                str(member.organization_id): list(member.roles) for member in memberships(found)
            },
        }
        return Response(body)

    @Operation(
        "updateUserRoles",
        "Replace the site roles of a person",
        answer=shapes.User,
        body=SiteRolesRequest,
        refusals=[403],
    )
    def set_roles(self, request: Request, user: str) -> Response:
        changed = set_site_roles(
            self.actor(request),
            user,
            lambda: decode_body(request, SiteRolesRequest, cap=MAX_PEOPLE_BODY_BYTES).roles or [],
        )
        return Response(_body(changed))

    @Operation(
        "listUserOrganizations",
        "List the organisations a person is in",
        answer=list[shapes.Organization],
    )
    def organizations(self, request: Request, user: str) -> Response:
        found = list_organizations_for(get_user_for(self.actor(request).user, user))
        return Response([organization_body(organization) for organization in found])


def _body(user: User) -> shapes.User:
    return _bodies([user])[0]


def _bodies(users: list[User]) -> list[shapes.User]:
    joined = organization_ids_of(users)
    return [user_body(user, joined[user.pk]) for user in users]
