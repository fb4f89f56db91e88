"""The JSON objects of people and organisations as clients see them."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from chatd.accounts.models import LoginType, UserStatus
from chatd.core.shapes import Timestamp, Uuid, one_of


class MinimalUser(TypedDict):
    """What everybody may know of a person."""

    id: Uuid
    username: str
    name: NotRequired[str]
    avatar_url: NotRequired[str]


class Role(TypedDict):
    name: str
    display_name: str


class User(MinimalUser):
    """A person or a service account."""

    email: str
    created_at: Timestamp
    updated_at: Timestamp
    last_seen_at: Annotated[Timestamp, Meta(description="0001-01-01T00:00:00Z for never.")]
    status: Annotated[str, one_of(UserStatus)]
    login_type: Annotated[str, one_of(LoginType)]
    organization_ids: list[Uuid]
    roles: list[Role]


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
