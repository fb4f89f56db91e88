"""The JSON objects of people, organisations, groups and tokens as clients see them."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from chatd.accounts.models import GroupSource, KeyType, LoginType, UserStatus
from chatd.core.shapes import Timestamp, Uuid, one_of


class MinimalUser(TypedDict):
    """What everybody may know of a person."""

    id: Uuid
    username: str
    name: NotRequired[str]
    avatar_url: NotRequired[str]


class Role(TypedDict):
    """A role in the deployment, or in the organisation that is named."""

    name: str
    display_name: str
    organization_id: NotRequired[Uuid]


class Person(MinimalUser):
    """A person or a service account, without what they may do."""

    email: str
    created_at: Timestamp
    updated_at: Timestamp
    last_seen_at: Annotated[Timestamp, Meta(description="0001-01-01T00:00:00Z for never.")]
    status: Annotated[str, one_of(UserStatus)]
    login_type: Annotated[str, one_of(LoginType)]


class User(Person):
    """A person or a service account."""

    organization_ids: list[Uuid]
    roles: list[Role]


class UserPage(TypedDict):
    users: list[User]
    count: Annotated[int, Meta(description="Of all pages together.")]


class UserRoles(TypedDict):
    """The names of the roles a person was given, in organisations by their id."""

    roles: list[str]
    organization_roles: dict[str, list[str]]


class Organization(TypedDict):
    """A tenant of the deployment; every chat belongs to exactly one."""

    id: Uuid
    name: str
    display_name: str
    icon: str
    description: str
    created_at: Timestamp
    updated_at: Timestamp
    is_default: bool
    default_org_member_roles: list[str]


class Member(TypedDict):
    """A membership; `roles` are those beyond the default ones of the organisation."""

    user_id: Uuid
    organization_id: Uuid
    created_at: Timestamp
    updated_at: Timestamp
    roles: list[Role]


class ListedMember(Member):
    """A membership with who it is."""

    username: str
    name: NotRequired[str]
    avatar_url: NotRequired[str]
    email: str
    status: Annotated[str, one_of(UserStatus)]
    login_type: Annotated[str, one_of(LoginType)]
    global_roles: list[Role]


class Group(TypedDict):
    """A set of an organisation's members; the one with the organisation's id is everyone."""

    id: Uuid
    name: str
    display_name: str
    organization_id: Uuid
    members: list[Person]
    total_member_count: int
    avatar_url: str
    source: Annotated[str, one_of(GroupSource)]
    organization_name: str
    organization_display_name: str


class APIKey(TypedDict):
    """An API token, which cannot be read again."""

    id: str
    user_id: Uuid
    token_name: str
    last_used: Annotated[Timestamp, Meta(description="0001-01-01T00:00:00Z for never.")]
    expires_at: Timestamp
    created_at: Timestamp
    updated_at: Timestamp
    login_type: Annotated[str, one_of(KeyType)]
    scopes: Annotated[list[str], Meta(description="What it is limited to; empty is everything.")]
    lifetime_seconds: int


class NewAPIKey(TypedDict):
    """A fresh token. It is shown this once."""

    key: str


class Session(TypedDict):
    session_token: str


class Done(TypedDict):
    """Says that something was done."""

    message: str
