"""Who gets which answer on every route: one row per route, one column per kind of caller.

A route that is added without its row fails here. The sockets have rows of their own, because
they are other code than the same paths asked for without an upgrade.
"""

from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from chatd.accounts.actions import create_user
from chatd.accounts.models import Group, GroupMember, SiteRole, User
from chatd.chats.models import Chat, ChatFile, ChatFileLink
from chatd.sockets.routing import websocket_application
from tests.api.client import API, NOT_FOUND, Api, Chats, text_part
from tests.api.conftest import make_admin
from tests.api.routes import (
    CHANGE_MEMBERS,
    CHANGE_PERSON,
    LIMIT_CHANGES,
    MCP_SERVER_CHANGES,
    MCP_SERVERS,
    MODEL_CONFIGS,
    OWN_CONFIG,
    OWN_KEYS,
    PROVIDERS,
    READ_ORGANIZATION,
    READ_PERSON,
    ROUTES,
    ROUTES_OF_BYTES,
    SITE_CONFIG,
    Route,
)
from tests.conftest import Cast
from tests.sockets.live import LiveServer
from tests.support.debug import debug_run
from tests.support.people import token_for

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
READ = {"permissions": ["read"]}


# The columns: who calls, and what makes them what they are


def owner(cast: Cast, chat: Chat) -> User:
    return cast.alice


def member(cast: Cast, chat: Chat) -> User:
    return cast.bob


def owner_without_agents_access(cast: Cast, chat: Chat) -> User:
    cast.organization.default_org_member_roles = []
    cast.organization.save()
    return cast.alice


def organization_admin(cast: Cast, chat: Chat) -> User:
    make_admin(cast.bob)
    return cast.bob


def site_owner(cast: Cast, chat: Chat) -> User:
    return cast.root


def site_auditor(cast: Cast, chat: Chat) -> User:
    return create_user(
        username="audit", email="a@x.example", password=None, site_roles=[SiteRole.AUDITOR]
    )


def user_admin(cast: Cast, chat: Chat) -> User:
    return create_user(
        username="people", email="p@x.example", password=None, site_roles=[SiteRole.USER_ADMIN]
    )


def reader_by_user(cast: Cast, chat: Chat) -> User:
    Chat.objects.filter(pk=chat.pk).update(user_acl={str(cast.carol.pk): READ})
    return cast.carol


def reader_by_group(cast: Cast, chat: Chat) -> User:
    group = Group.objects.create(organization=cast.organization, name="readers")
    GroupMember.objects.create(group=group, user=cast.bob)
    Chat.objects.filter(pk=chat.pk).update(group_acl={str(group.pk): READ})
    return cast.bob


def reader_by_everyone(cast: Cast, chat: Chat) -> User:
    Chat.objects.filter(pk=chat.pk).update(group_acl={str(cast.organization.pk): READ})
    return cast.bob


def reader_of_the_root(cast: Cast, chat: Chat) -> User:
    """The chat of the route becomes a sub-chat; its root is shared."""
    root = Chats(cast.alice, cast.organization, chat.last_model_config).waiting()
    Chat.objects.filter(pk=root.pk).update(user_acl={str(cast.carol.pk): READ})
    Chat.objects.filter(pk=chat.pk).update(parent_chat=root, root_chat=root)
    return cast.carol


def outsider(cast: Cast, chat: Chat) -> User:
    return cast.carol


def nobody(cast: Cast, chat: Chat) -> None:
    return None


Caller = Callable[[Cast, Chat], User | None]
CALLERS: list[Caller] = [
    owner,
    member,
    owner_without_agents_access,
    organization_admin,
    site_owner,
    site_auditor,
    user_admin,
    reader_by_user,
    reader_by_group,
    reader_by_everyone,
    reader_of_the_root,
    outsider,
    nobody,
]
READERS = [reader_by_user, reader_by_group, reader_by_everyone, reader_of_the_root]


# The kinds of rows; `ok` is the status of a good call of the route


def _row(statuses: str) -> dict[Caller, str]:
    return dict(zip(CALLERS, statuses.split(), strict=True))


#                         no      site             user   readers by         of
#            owner member access admin owner auditor admin user group everyone root outsider nobody
READS = _row(" ok   404    404    ok    ok    404     404   ok   ok    ok       ok   404      401")
UPDATES = _row("ok  404    404    ok    ok    404     404   404  404   404      404  404      401")
OWN = _row("   ok   404    404    403   403   404     404   404  404   404      404  404      401")
READS_ACL = _row("ok 404   404    ok    ok    404     404   ok   ok    ok       400  404      401")
SHARES = _row("ok   404    404    ok    ok    404     404   403  403   403      400  404      401")
CREATES = _row("ok  ok     403    ok    ok    ok      ok    403  ok    ok       403  403      401")
ANYBODY = _row("ok  ok     ok     ok    ok    ok      ok    ok   ok    ok       ok   ok       401")
SPENDS = _row("ok  ok      403    ok    ok    ok      ok    ok   ok    ok       ok   ok       401")
FOR_ADMINS = _row("404 404  404   404   ok    404     404   404  404   404      404  404      401")
AUDITED = _row("404  404    404   404   ok    ok      404   404  404   404      404  404      401")
REPORTS = _row("403  403    403   403   ok    ok      403   403  403   403      403  403      401")
CHANGES = _row("403  403    403   403   ok    403     403   403  403   403      403  403      401")
SHOWN = _row("  403  403    403   403   ok    ok      403   403  403   403      403  403      401")
PERSON = _row("404  404    404    ok    ok    ok      ok    404  404   404      404  404      401")
SECRETS = _row("404 404    404    403   ok    403     ok    404  404   404      404  404      401")
SITE = _row("404    404    404    403   ok    403     403   404  404   404      404  404      401")
LISTS = _row("403   403    403    ok    ok    ok      ok    403  403   403      403  403      401")
MAKES = _row("403   403    403    ok    ok    403     ok    403  403   403      403  403      401")
MEMBERS = _row("ok  ok     ok     ok    ok    ok      ok    404  ok    ok       404  404      401")
LEADS = _row("403   403    403    ok    ok    403     ok    404  403   403      404  404      401")
OWNS = _row("403    403    403    ok    ok    403     403   404  403   403      404  404      401")

MATRIX: dict[str, dict[Caller, str]] = {
    "list": ANYBODY,
    "create": CREATES,
    "get": READS,
    "update": UPDATES,
    "delete": OWN,
    "models": ANYBODY,
    "by workspace": ANYBODY,
    "get acl": READS_ACL,
    "update acl": SHARES,
    "diff": READS,
    "diff status": READS,
    "git changes": READS,
    "debug runs": READS,
    "debug run": READS,
    "interrupt": UPDATES,
    "messages": READS,
    "prompts": READS,
    "send": OWN,
    "edit": OWN,
    "delete queued": UPDATES,
    "promote": OWN,
    "tool results": OWN,
    "calls in doubt": READS,
    "decide call": OWN,
    "regenerate title": OWN,
    "propose title": OWN,
    "stream": READS,
    "git stream": READS,
    "watch": ANYBODY,
    "me": ANYBODY,
    "my organizations": ANYBODY,
    "upload": CREATES,
    "download": READS,
    **{route.name: ANYBODY if route.reads else CHANGES for route in SITE_CONFIG},
    "get system-prompt": FOR_ADMINS,
    "get plan-mode-instructions": FOR_ADMINS,
    "get model-override/general": AUDITED,
    "get personal-model-overrides": AUDITED,
    "get debug-logging": AUDITED,
    "get template-allowlist": AUDITED,
    "put template-allowlist": FOR_ADMINS,
    **{route.name: ANYBODY for route in OWN_CONFIG},
    "limit status": ANYBODY,
    "get limits": REPORTS,
    "cost summary": SPENDS,
    "cost users": CHANGES,
    **{route.name: CHANGES for route in LIMIT_CHANGES},
    **{route.name: CHANGES for route in PROVIDERS},
    "list older providers": SHOWN,
    **{route.name: ANYBODY for route in OWN_KEYS},
    **{route.name: ANYBODY for route in MCP_SERVERS},
    **{route.name: CHANGES for route in MCP_SERVER_CHANGES},
    "connect mcp server": ANYBODY,
    "come back from mcp server": ANYBODY,
    **{route.name: CHANGES for route in MODEL_CONFIGS},
    "list model configs": ANYBODY,
    **{route.name: PERSON for route in READ_PERSON},
    "list tokens": SECRETS,
    **{route.name: SECRETS for route in CHANGE_PERSON},
    "put roles": SITE,
    "list users": LISTS,
    "create user": MAKES,
    "create token": ANYBODY,
    "logout": ANYBODY,
    "list organizations": ANYBODY,
    "create organization": CHANGES,
    "list groups": ANYBODY,
    **{route.name: MEMBERS for route in READ_ORGANIZATION},
    "update organization": OWNS,
    **{route.name: LEADS for route in CHANGE_MEMBERS},
}

UPLOAD = Route("upload", "POST", "/chats/files", 201)
DOWNLOAD = Route("download", "GET", "/chats/files/{file}", 200, reads=True)
CONNECT = Route(
    "connect mcp server", "GET", "/mcp/servers/{oauth_server}/oauth2/connect", 307, reads=True
)
COME_BACK = Route(  # whose browser was not sent off
    "come back from mcp server",
    "GET",
    "/mcp/servers/{oauth_server}/oauth2/callback",
    400,
    reads=True,
)
OF_BYTES = [UPLOAD, DOWNLOAD, CONNECT, COME_BACK]

SOCKETS: dict[str, tuple[dict[Caller, str], int]] = {
    "/chats/watch": (ANYBODY, 101),
    "/chats/{chat}/stream": (READS, 101),
    "/chats/{chat}/stream/git": (READS, 400),
    "/chats/{chat}/stream/desktop": (READS, 400),
}
"""Row and status of a good handshake; the last two are refused where no chat has a workspace."""

each_caller = pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__)


def test_every_route_has_its_row() -> None:
    assert len(ROUTES_OF_BYTES) == len(OF_BYTES)
    assert MATRIX.keys() == {route.name for route in [*ROUTES, *OF_BYTES]}
    served = {route.pattern.regex.pattern for route in websocket_application.routes} - {""}
    assert len(served) == 3, "git and desktop are one pattern"
    assert len(SOCKETS) == len(served) + 1


def attach(chat: Chat) -> ChatFile:
    """Link a file of the owner to a chat."""
    file = ChatFile.objects.create(
        owner=chat.owner,
        organization=chat.organization,
        name="a.png",
        mimetype="image/png",
        data=PNG,
    )
    ChatFileLink.objects.create(chat=chat, file=file)
    return file


def call(api: Api, route: Route, path: str, cast: Cast) -> int:
    """Make a good call of a route, in the organisation of the chat; return the status."""
    here = str(cast.organization.pk)
    options: dict[str, Any] = {}
    if route is UPLOAD:
        path += f"?organization={here}"
        disposition = {"Content-Disposition": 'attachment; filename="a.png"'}
        options = {"raw": PNG, "content_type": "image/png", "headers": disposition}
    elif route.name == "create":
        options = {"body": {"organization_id": here, "content": [text_part()]}}
    elif route.body is not None:
        options = {"body": route.body}
    if route in (DOWNLOAD, CONNECT):
        return api.status(route.method, path)
    return api.call(route.method, route.url(path), **options).status


def of_a_chat(route: Route) -> bool:
    return route.of_a_chat or route is DOWNLOAD


@each_caller
@pytest.mark.parametrize("route", [*ROUTES, *OF_BYTES], ids=str)
def test_every_caller_gets_the_answer_of_the_matrix(
    route: Route, caller: Caller, chats: Chats, cast: Cast
) -> None:
    scene = route.scene(chats)
    path = scene.path.replace("{file}", str(attach(scene.chat).pk))
    user = caller(cast, scene.chat)
    api = Api(token_for(user) if user else "")
    expected = MATRIX[route.name][caller]
    assert call(api, route, path, cast) == (route.status if expected == "ok" else int(expected))


@pytest.mark.parametrize("caller", READERS, ids=lambda caller: caller.__name__)
@pytest.mark.parametrize("route", [r for r in [*ROUTES, DOWNLOAD] if of_a_chat(r)], ids=str)
def test_without_sharing_readers_are_strangers_on_every_route(
    route: Route, caller: Caller, chats: Chats, cast: Cast, disable: Callable[[], None]
) -> None:
    scene = route.scene(chats)
    path = scene.path.replace("{file}", str(attach(scene.chat).pk))
    user = caller(cast, scene.chat)
    assert user is not None
    disable()
    assert call(Api(token_for(user)), route, path, cast) == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", SOCKETS)
def test_every_caller_gets_the_handshake_of_the_matrix(path: str, chats: Chats, cast: Cast) -> None:
    row, good = SOCKETS[path]
    # These two change the people and the organisation of the others, so they come last.
    callers = sorted(CALLERS, key={organization_admin, owner_without_agents_access}.__contains__)
    found: dict[str, int] = {}
    with LiveServer() as server:
        for caller in callers:
            chat = chats.pending()
            user = caller(cast, chat)
            token = token_for(user) if user else ""
            found[caller.__name__] = handshake(server, path.format(chat=chat.pk), token)
    expected = {c.__name__: good if row[c] == "ok" else int(row[c]) for c in CALLERS}
    assert found == expected


def handshake(server: LiveServer, path: str, token: str) -> int:
    """Open a socket and close it again; return the status of its handshake."""
    try:
        server.connect(API + path, token).close()
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


@pytest.mark.parametrize("caller", READERS, ids=lambda caller: caller.__name__)
def test_what_is_taken_back_is_gone_on_every_route_with_the_next_request(
    caller: Caller, chats: Chats, cast: Cast
) -> None:
    reads = [route for route in [*ROUTES, DOWNLOAD] if route.reads and of_a_chat(route)]
    chat = chats.pending()
    user = caller(cast, chat)
    assert user is not None
    api, root = Api(token_for(user)), Chat.objects.get(pk=chat.pk).root_id
    ids = {"chat": chat.pk, "file": attach(chat).pk, "run": debug_run(chat).pk}
    paths = [
        (route, route.path.format(**ids)) for route in reads if MATRIX[route.name][caller] == "ok"
    ]
    assert len(paths) > 5
    for route, path in paths:
        assert call(api, route, path, cast) == route.status
    acl = Chat.objects.get(pk=root)
    body = {
        "user_roles": dict.fromkeys(acl.user_acl, ""),
        "group_roles": dict.fromkeys(acl.group_acl, ""),
    }
    assert Api(token_for(cast.alice)).patch(f"/chats/{root}/acl", body).status == 204
    for route, path in paths:
        assert call(api, route, path, cast) == 404
    assert api.get(f"/chats/{chat.pk}").body == NOT_FOUND
