"""Roles x resources x actions: each cell of the permission table, asked of the real endpoint.

`test_access_matrix` has one row per route and exact statuses. Here the rows are the roles and the
columns the actions of the policy, and all that counts is whether it may be done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chatd.accounts.actions import create_user
from chatd.accounts.models import Organization, OrganizationMember, OrganizationRole, SiteRole, User
from chatd.accounts.policy import ChatRight
from chatd.chats.models import Chat
from tests.api.client import Api, Chats, api_of, text_part
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Place:
    """Where an action is tried: a chat of somebody, and an organisation to make one in."""

    chat: Chat
    organization: Organization
    caller: User


def _create(api: Api, place: Place) -> int:
    body = {"organization_id": str(place.organization.pk), "content": [text_part()]}
    return api.post("/chats", body).status


def _share(api: Api, place: Place) -> int:
    someone = create_user(username="someone", email="some@x.example", password=None)
    body = {"user_roles": {str(someone.pk): "read"}}
    return api.patch(f"/chats/{place.chat.pk}/acl", body).status


Try = Callable[[Api, Place], int]

ON_CHATS: dict[ChatRight, Try] = {
    ChatRight.CREATE: _create,
    ChatRight.READ: lambda api, place: api.get(f"/chats/{place.chat.pk}").status,
    ChatRight.UPDATE: lambda api, place: (
        api.patch(f"/chats/{place.chat.pk}", {"title": "Renamed"}).status
    ),
    ChatRight.SHARE: _share,
}

CONFIG = "/chats/config/"
PROVIDER = {"type": "openai", "name": "new", "base_url": "http://127.0.0.1:9/v1"}


def _of_a_provider(method: str, body: Any = None) -> Try:
    def act(api: Api, place: Place) -> int:
        assert place.chat.last_model_config.ai_provider is not None
        path = f"/api/v2/ai/providers/{place.chat.last_model_config.ai_provider.pk}"
        return api.call(method, path, *([] if body is None else [body])).status

    return act


ON_THE_DEPLOYMENT: dict[str, Try] = {
    "deployment_config read": lambda api, place: api.get(f"{CONFIG}debug-logging").status,
    "deployment_config update": lambda api, place: (
        api.put(f"{CONFIG}retention-days", {"retention_days": 7}).status
    ),
    "ai_provider create": lambda api, place: api.post("/api/v2/ai/providers", PROVIDER).status,
    "ai_provider read": _of_a_provider("GET"),
    "ai_provider update": _of_a_provider("PATCH", {"display_name": "Renamed"}),
    "ai_provider delete": _of_a_provider("DELETE"),
}

# The table: what each role may do with its own chats, with those of others in its organisation,
# with those of another organisation, and with the deployment.

NOTHING: set[ChatRight] = set()
READ = {ChatRight.READ}
EVERYTHING = set(ChatRight)
# Whoever may make chats makes their own: it does not matter whose the others are.
AS_MEMBER = {ChatRight.CREATE}
ALL_OF_THEM = set(ON_THE_DEPLOYMENT)
CONFIG_READ = {"deployment_config read"}

ROLES: dict[str, tuple[set[ChatRight], set[ChatRight], set[ChatRight], set[str]]] = {
    #                      own         others of the org       elsewhere            deployment
    "owner": (EVERYTHING, EVERYTHING, EVERYTHING - AS_MEMBER, ALL_OF_THEM),
    "auditor": (NOTHING, NOTHING, NOTHING, CONFIG_READ),
    "user-admin": (NOTHING, NOTHING, NOTHING, set()),
    "organization-admin": (EVERYTHING, EVERYTHING, NOTHING, set()),
    "organization-auditor": (NOTHING, NOTHING, NOTHING, set()),
    "agents-access": (EVERYTHING, AS_MEMBER, NOTHING, set()),
    "member": (NOTHING, NOTHING, NOTHING, set()),
    "reader of the chat": (READ, READ, READ, set()),
    "reader by group": (READ, READ, NOTHING, set()),
}
"""A reader by group counts in the group's organisation alone."""

WHERE = ("own", "others", "elsewhere")


@pytest.fixture
def caller(cast: Cast) -> User:
    """bob, of whom nothing but a plain membership is left: each test gives the role."""
    cast.organization.default_org_member_roles = []
    cast.organization.save()
    return cast.bob


def _give(role: str, user: User, chat: Chat) -> None:
    acl = {"permissions": ["read"]}
    if role in SiteRole.values:
        User.objects.filter(pk=user.pk).update(rbac_roles=[role])
    elif role in OrganizationRole.values:
        OrganizationMember.objects.filter(user=user).update(roles=[role])
    elif role == "reader of the chat":
        Chat.objects.filter(pk=chat.pk).update(user_acl={str(user.pk): acl})
    elif role == "reader by group":
        # Everyone of the organisation of the chat
        Chat.objects.filter(pk=chat.pk).update(group_acl={str(chat.organization_id): acl})


def _place(where: str, chats: Chats, cast: Cast, caller: User) -> Place:
    elsewhere = Organization.objects.get(name="elsewhere")
    match where:
        case "own":
            chat = Chats(caller, cast.organization, chats.model).waiting()
        case "others":
            chat = Chats(cast.alice, cast.organization, chats.model).waiting()
        case _:
            chat = Chats(cast.carol, elsewhere, chats.model).waiting()
    return Place(chat, chat.organization, caller)


def _is_allowed(status: int) -> bool:
    assert status in (200, 201, 204, 403, 404), status
    return status < 400


@pytest.mark.parametrize("action", ChatRight)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_do_with_chats(
    role: str, where: str, action: ChatRight, cast: Cast, chats: Chats, caller: User
) -> None:
    place = _place(where, chats, cast, caller)
    _give(role, caller, place.chat)
    allowed = ROLES[role][WHERE.index(where)]
    tried = ON_CHATS[action](api_of(caller), place)
    assert _is_allowed(tried) == (action in allowed)


@pytest.mark.parametrize("action", ON_THE_DEPLOYMENT)
@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_do_with_the_deployment(
    role: str, action: str, cast: Cast, chats: Chats, caller: User
) -> None:
    place = _place("own", chats, cast, caller)
    _give(role, caller, place.chat)
    tried = ON_THE_DEPLOYMENT[action](api_of(caller), place)
    assert _is_allowed(tried) == (action in ROLES[role][3])


def test_the_table_has_every_role_and_every_action() -> None:
    assert {*SiteRole.values, *OrganizationRole.values} <= set(ROLES)
    assert set(ON_CHATS) == set(ChatRight)
