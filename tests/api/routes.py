"""Every route of the API as data: what it needs, who may call it, what a good call answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatd.accounts.actions import create_token, create_user
from chatd.accounts.models import Group, LoginType, User
from chatd.audit.actions import Author
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.open_steps import calls_in_doubt
from chatd.mcp.models import AuthType, MCPServerConfig
from chatd.preferences.actions import store_settings
from chatd.preferences.registry import DEBUG_LOGGING_ALLOWED, PERSONAL_OVERRIDES_ALLOWED
from tests.api.client import Chats, queue, text_part
from tests.support.debug import debug_run


@dataclass(frozen=True)
class Scene:
    """A chat to call the route on, and what stands for `{id}` in its path."""

    chat: Chat
    path: str


def _person(chats: Chats) -> str:
    """A member of the organisation whom nobody else in a test is, with a token."""
    user = create_user(username="dora", email="dora@x.example", password=None)
    # She could sign in with a password, which nobody has to hash for that.
    User.objects.filter(pk=user.pk).update(login_type=LoginType.PASSWORD)
    return user.username


def _stranger(chats: Chats) -> str:
    create_user(username="eve", email="eve@x.example", password=None, organizations=[])
    return "eve"


def _group(chats: Chats) -> str:
    return str(Group.objects.create(organization=chats.organization, name="circle").pk)


def _key(chats: Chats) -> str:
    return create_token(user=User.objects.get(username="dora"))[0].pk


def _server(chats: Chats) -> str:
    return str(mcp_server().pk)


def _oauth_server(chats: Chats) -> str:
    return str(mcp_server(auth_type=AuthType.OAUTH2, oauth2_auth_url="http://127.0.0.1:9/a").pk)


def mcp_server(**fields: Any) -> MCPServerConfig:
    """Return an MCP server that is on, and that nothing listens behind."""
    given = {"display_name": "Tools", "slug": "tools", "enabled": True} | fields
    return MCPServerConfig.objects.create(url="http://127.0.0.1:9/mcp", **given)


OTHERS: dict[str, Callable[[Chats], str]] = {
    "server": _server,
    "oauth_server": _oauth_server,
    "person": _person,
    "stranger": _stranger,
    "group": _group,
    "key": _key,
}
"""What stands in the paths of people, and how it comes to be."""


@dataclass(frozen=True)
class Route:
    """`owner_only` is what the 403 says others may not do; empty where updating suffices.

    `admin`: only the site owner can call it, not the owner of the chat.
    """

    name: str
    method: str
    path: str
    status: int
    chat: Callable[[Chats], Chat] = Chats.pending
    body: Any = None
    owner_only: str = ""
    reads: bool = False
    admin: bool = False
    query: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def of_a_chat(self) -> bool:
        return "{chat}" in self.path

    def scene(self, chats: Chats) -> Scene:
        chat = self.chat(chats)
        path = self.path.replace("{chat}", str(chat.pk))
        if "{message}" in path:
            first = ChatMessage.objects.get(chat=chat, role=Role.USER)
            path = path.replace("{message}", str(first.pk))
        if "{call}" in path:
            path = path.replace("{call}", str(calls_in_doubt(chat)[0].id))
        if "{queued}" in path:
            path = path.replace("{queued}", str(queue(chat).pk))
        if "{config}" in path:
            path = path.replace("{config}", str(chats.model.pk))
        if "{user_id}" in path:
            User.objects.filter(pk=chat.owner_id).update(chat_spend_limit_micros=DOLLARS)
            path = path.replace("{user_id}", str(chat.owner_id))
        if "{group_id}" in path:
            everyone = Group.objects.filter(pk=chat.organization_id)
            everyone.update(chat_spend_limit_micros=DOLLARS)
            path = path.replace("{group_id}", str(chat.organization_id))
        if "{provider}" in path:
            path = path.replace("{provider}", str(chats.model.ai_provider_id))
        if "{run}" in path:
            path = path.replace("{run}", str(debug_run(chat).pk))
        for name, made in OTHERS.items():
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", made(chats))
        return Scene(chat, path)

    def url(self, path: str) -> str:
        """Return a path of the route with the query of a good call."""
        if not self.query:
            return path
        return f"{path}{'&' if '?' in path else '?'}{self.query}"

    def path_with(self, *, chat: str, other: str) -> str:
        """Return the path with a chat's id, and `other` for every id beside it."""
        return re.sub(r"{\w+}", other, self.path.replace("{chat}", chat))


DOLLARS = 100_000_000
_CONTENT = {"content": [text_part("again")]}

LIST = Route("list", "GET", "/chats", 200, reads=True)
CREATE = Route("create", "POST", "/chats", 201, body=_CONTENT)
GET = Route("get", "GET", "/chats/{chat}", 200, reads=True)
UPDATE = Route("update", "PATCH", "/chats/{chat}", 204, body={})
DELETE = Route("delete", "DELETE", "/chats/{chat}", 204, owner_only="delete the chat")
MODELS = Route("models", "GET", "/chats/models", 200, reads=True)
BY_WORKSPACE = Route("by workspace", "GET", "/chats/by-workspace", 200, reads=True)
GET_ACL = Route("get acl", "GET", "/chats/{chat}/acl", 200, reads=True)
UPDATE_ACL = Route("update acl", "PATCH", "/chats/{chat}/acl", 204, body={})
DIFF = Route("diff", "GET", "/chats/{chat}/diff", 200, reads=True)
DIFF_STATUS = Route("diff status", "GET", "/chats/{chat}/diff-status", 200, reads=True)
GIT_CHANGES = Route("git changes", "GET", "/chats/{chat}/git-changes", 200, reads=True)
DEBUG_RUNS = Route("debug runs", "GET", "/chats/{chat}/debug/runs", 200, reads=True)
DEBUG_RUN = Route("debug run", "GET", "/chats/{chat}/debug/runs/{run}", 200, reads=True)
INTERRUPT = Route("interrupt", "POST", "/chats/{chat}/interrupt", 200)
MESSAGES = Route("messages", "GET", "/chats/{chat}/messages", 200, reads=True)
PROMPTS = Route("prompts", "GET", "/chats/{chat}/prompts", 200, reads=True)
SEND = Route(
    "send", "POST", "/chats/{chat}/messages", 200, body=_CONTENT, owner_only="send messages"
)
EDIT = Route(
    "edit",
    "PATCH",
    "/chats/{chat}/messages/{message}",
    200,
    body=_CONTENT,
    owner_only="edit messages",
)
DELETE_QUEUED = Route("delete queued", "DELETE", "/chats/{chat}/queue/{queued}", 204)
PROMOTE = Route(
    "promote",
    "POST",
    "/chats/{chat}/queue/{queued}/promote",
    202,
    owner_only="promote queued messages",
)
TOOL_RESULTS = Route(
    "tool results",
    "POST",
    "/chats/{chat}/tool-results",
    204,
    chat=Chats.requiring_action,
    body={"results": [{"tool_call_id": "call-1", "output": {"found": 1}, "is_error": False}]},
    owner_only="submit tool results",
)
CALLS_IN_DOUBT = Route(
    "calls in doubt", "GET", "/chats/{chat}/calls-in-doubt", 200, chat=Chats.doubting, reads=True
)
DECIDE_CALL = Route(
    "decide call",
    "POST",
    "/chats/{chat}/calls-in-doubt/{call}",
    204,
    chat=Chats.doubting,
    body={"decision": "done", "output": {"found": 1}},
    owner_only="decide about tool calls",
)
REGENERATE_TITLE = Route(
    "regenerate title",
    "POST",
    "/chats/{chat}/title/regenerate",
    200,
    chat=Chats.unwritten,
    owner_only="regenerate the title",
)
PROPOSE_TITLE = Route(
    "propose title",
    "POST",
    "/chats/{chat}/title/propose",
    200,
    chat=Chats.unwritten,
    owner_only="propose a title",
)
WORKSPACE_STREAM = Route("git stream", "GET", "/chats/{chat}/stream/git", 426, reads=True)
STREAM = Route("stream", "GET", "/chats/{chat}/stream", 426, reads=True)
WATCH = Route("watch", "GET", "/chats/watch", 426, reads=True)
ME = Route("me", "GET", "/api/v2/users/me", 200, reads=True)
MY_ORGANIZATIONS = Route(
    "my organizations", "GET", "/api/v2/users/me/organizations", 200, reads=True
)
_MODEL_CONFIGS = "/chats/model-configs"
MODEL_CONFIGS = [
    Route("list model configs", "GET", _MODEL_CONFIGS, 200, reads=True),
    Route(
        "create model config",
        "POST",
        _MODEL_CONFIGS,
        201,
        body={"provider": "openai-compat", "model": "another", "context_limit": 1000},
        admin=True,
    ),
    Route("update model config", "PATCH", f"{_MODEL_CONFIGS}/{{config}}", 200, body={}, admin=True),
    Route("delete model config", "DELETE", f"{_MODEL_CONFIGS}/{{config}}", 204, admin=True),
    Route(
        "suggested prices",
        "GET",
        f"{_MODEL_CONFIGS}/suggested-prices",
        200,
        query="provider=openai&model=gpt-4o",
        reads=True,
        admin=True,
    ),
]


def _while_people_may_choose(chats: Chats) -> Chat:
    """Let people choose their models and have their calls recorded."""
    allowed = [PERSONAL_OVERRIDES_ALLOWED.to(True), DEBUG_LOGGING_ALLOWED.to(True)]
    store_settings(Author(None, "a test"), allowed)
    return chats.pending()


_CONFIG = "/chats/config"


def _setting(name: str, body: Any, *, everybody_reads: bool) -> list[Route]:
    """Return the two routes of a setting of the deployment."""
    path = f"{_CONFIG}/{name}"
    return [
        Route(f"get {name}", "GET", path, 200, reads=True, admin=not everybody_reads),
        Route(f"put {name}", "PUT", path, 204, body=body, admin=True),
    ]


SITE_CONFIG = [
    *_setting("system-prompt", {"system_prompt": "x"}, everybody_reads=False),
    *_setting("plan-mode-instructions", {"plan_mode_instructions": "x"}, everybody_reads=False),
    *_setting("model-override/general", {"model_config_id": ""}, everybody_reads=False),
    *_setting("personal-model-overrides", {"allow_users": True}, everybody_reads=False),
    *_setting("desktop-enabled", {"enable_desktop": True}, everybody_reads=True),
    *_setting("computer-use-provider", {"provider": "openai"}, everybody_reads=True),
    *_setting("debug-logging", {"allow_users": True}, everybody_reads=False),
    *_setting("advisor", {"enabled": True}, everybody_reads=True),
    *_setting("workspace-ttl", {"workspace_ttl_ms": 60_000}, everybody_reads=True),
    *_setting("retention-days", {"retention_days": 1}, everybody_reads=True),
    *_setting("debug-retention-days", {"debug_retention_days": 1}, everybody_reads=True),
    *_setting("auto-archive-days", {"auto_archive_days": 1}, everybody_reads=True),
    *_setting("template-allowlist", {"template_ids": []}, everybody_reads=False),
]
_USER_OVERRIDES = f"{_CONFIG}/user-personal-model-overrides"
_THRESHOLDS = f"{_CONFIG}/user-compaction-thresholds"
OWN_CONFIG = [
    Route("get own overrides", "GET", _USER_OVERRIDES, 200, reads=True),
    Route(
        "put own override",
        "PUT",
        f"{_USER_OVERRIDES}/root",
        204,
        chat=_while_people_may_choose,
        body={"mode": "chat_default"},
    ),
    Route("get own logging", "GET", f"{_CONFIG}/user-debug-logging", 200, reads=True),
    Route(
        "put own logging",
        "PUT",
        f"{_CONFIG}/user-debug-logging",
        204,
        chat=_while_people_may_choose,
        body={"debug_logging_enabled": True},
    ),
    Route("get own prompt", "GET", f"{_CONFIG}/user-prompt", 200, reads=True),
    Route("put own prompt", "PUT", f"{_CONFIG}/user-prompt", 200, body={"custom_prompt": "x"}),
    Route("get own thresholds", "GET", _THRESHOLDS, 200, reads=True),
    Route(
        "put own threshold",
        "PUT",
        f"{_THRESHOLDS}/{{config}}",
        200,
        body={"threshold_percent": 50},
    ),
    Route("delete own threshold", "DELETE", f"{_THRESHOLDS}/{{config}}", 204),
]

_LIMITS = "/chats/usage-limits"
_OVERRIDE = f"{_LIMITS}/overrides/{{user_id}}"
_GROUP_OVERRIDE = f"{_LIMITS}/group-overrides/{{group_id}}"
_LIMIT = {"spend_limit_micros": DOLLARS}
LIMIT_STATUS = Route("limit status", "GET", f"{_LIMITS}/status", 200, reads=True)
GET_LIMITS = Route("get limits", "GET", _LIMITS, 200, reads=True, admin=True)
COSTS = [
    Route("cost summary", "GET", "/chats/cost/me/summary", 200, reads=True),
    Route("cost users", "GET", "/chats/cost/users", 200, reads=True, admin=True),
]
LIMIT_CHANGES = [
    Route("put limits", "PUT", _LIMITS, 200, body=_LIMIT | {"period": "day"}, admin=True),
    Route("put override", "PUT", _OVERRIDE, 200, body=_LIMIT, admin=True),
    Route("delete override", "DELETE", _OVERRIDE, 204, admin=True),
    Route("put group override", "PUT", _GROUP_OVERRIDE, 200, body=_LIMIT, admin=True),
    Route("delete group override", "DELETE", _GROUP_OVERRIDE, 204, admin=True),
]
_PROVIDERS = "/api/v2/ai/providers"
_OLDER = "/chats/providers"
_NEW = {"type": "openai", "name": "new", "enabled": True, "base_url": "http://127.0.0.1:9/v1"}
PROVIDERS = [
    Route("list providers", "GET", _PROVIDERS, 200, reads=True, admin=True),
    Route("create provider", "POST", _PROVIDERS, 201, body=_NEW, admin=True),
    Route("test provider", "POST", f"{_PROVIDERS}/test", 200, body=_NEW, admin=True),
    Route("get provider", "GET", f"{_PROVIDERS}/{{provider}}", 200, reads=True, admin=True),
    Route(
        "update provider",
        "PATCH",
        f"{_PROVIDERS}/{{provider}}",
        200,
        body={"enabled": False},
        admin=True,
    ),
    Route("delete provider", "DELETE", f"{_PROVIDERS}/{{provider}}", 204, admin=True),
    Route("list older providers", "GET", _OLDER, 200, reads=True, admin=True),
    Route(
        "create older provider",
        "POST",
        _OLDER,
        201,
        body={"provider": "openai", "api_key": "k"},
        admin=True,
    ),
    Route("update older provider", "PATCH", f"{_OLDER}/{{provider}}", 200, body={}, admin=True),
    Route("delete older provider", "DELETE", f"{_OLDER}/{{provider}}", 204, admin=True),
]
_KEYS = "/users/me/ai-provider-keys"
_OLDER_KEYS = "/chats/user-provider-configs"
_KEY = {"api_key": "a key of one's own"}
OWN_KEYS = [
    Route("list own keys", "GET", _KEYS, 200, reads=True),
    Route("put own key", "PUT", f"{_KEYS}/{{provider}}", 200, body=_KEY),
    Route("delete own key", "DELETE", f"{_KEYS}/{{provider}}", 204),
    Route("list own older keys", "GET", _OLDER_KEYS, 200, reads=True),
    Route("put own older key", "PUT", f"{_OLDER_KEYS}/{{provider}}", 200, body=_KEY),
    Route("delete own older key", "DELETE", f"{_OLDER_KEYS}/{{provider}}", 204),
]
_MCP = "/mcp/servers"
NEW_MCP_SERVER = {
    "display_name": "New",
    "slug": "new",
    "transport": "streamable_http",
    "url": "http://127.0.0.1:9/mcp",
    "auth_type": "none",
    "availability": "default_off",
}
MCP_SERVERS = [
    Route("list mcp servers", "GET", _MCP, 200, reads=True),
    Route("get mcp server", "GET", f"{_MCP}/{{server}}", 200, reads=True),
    Route("disconnect mcp server", "DELETE", f"{_MCP}/{{server}}/oauth2/disconnect", 204),
]
MCP_SERVER_CHANGES = [
    Route("create mcp server", "POST", _MCP, 201, body=NEW_MCP_SERVER, admin=True),
    Route("update mcp server", "PATCH", f"{_MCP}/{{server}}", 200, body={}, admin=True),
    Route("delete mcp server", "DELETE", f"{_MCP}/{{server}}", 204, admin=True),
]
_USERS = "/api/v2/users"
_DORA = f"{_USERS}/{{person}}"
READ_PERSON = [
    Route("get person", "GET", _DORA, 200, reads=True, admin=True),
    Route("get roles", "GET", f"{_DORA}/roles", 200, reads=True, admin=True),
    Route("organizations of person", "GET", f"{_DORA}/organizations", 200, reads=True, admin=True),
]
LIST_TOKENS = Route("list tokens", "GET", f"{_DORA}/keys/tokens", 200, reads=True, admin=True)
CHANGE_PERSON = [
    Route("profile", "PUT", f"{_DORA}/profile", 200, body={"username": "d"}, admin=True),
    Route("password", "PUT", f"{_DORA}/password", 204, body={"password": "Xy-12-long"}, admin=True),
    Route("suspend", "PUT", f"{_DORA}/status/suspend", 200, admin=True),
    Route("activate", "PUT", f"{_DORA}/status/activate", 200, admin=True),
    Route("delete person", "DELETE", _DORA, 200, admin=True),
    Route("delete key", "DELETE", f"{_DORA}/keys/{{key}}", 204, admin=True),
]
SET_ROLES = Route("put roles", "PUT", f"{_DORA}/roles", 200, body={"roles": []}, admin=True)
LIST_USERS = Route("list users", "GET", _USERS, 200, reads=True, admin=True)
CREATE_USER = Route(
    "create user",
    "POST",
    _USERS,
    201,
    body={"username": "new", "email": "new@x.example", "login_type": "none"},
    admin=True,
)
CREATE_TOKEN = Route("create token", "POST", f"{_USERS}/me/keys/tokens", 201, body={})
LOGOUT = Route("logout", "POST", f"{_USERS}/logout", 200)

_ORGANIZATIONS = "/api/v2/organizations"
_HERE = f"{_ORGANIZATIONS}/default"
LIST_ORGANIZATIONS = Route("list organizations", "GET", _ORGANIZATIONS, 200, reads=True)
CREATE_ORGANIZATION = Route(
    "create organization", "POST", _ORGANIZATIONS, 201, body={"name": "new"}, admin=True
)
LIST_GROUPS = Route("list groups", "GET", "/api/v2/groups", 200, reads=True)
READ_ORGANIZATION = [
    Route("get organization", "GET", _HERE, 200, reads=True),
    Route("list members", "GET", f"{_HERE}/members", 200, reads=True),
    Route("groups of organization", "GET", f"{_HERE}/groups", 200, reads=True),
    Route("get group", "GET", "/api/v2/groups/{group}", 200, reads=True),
]
UPDATE_ORGANIZATION = Route("update organization", "PATCH", _HERE, 200, body={}, admin=True)
CHANGE_MEMBERS = [
    Route("add member", "POST", f"{_HERE}/members/{{stranger}}", 200, admin=True),
    Route("remove member", "DELETE", f"{_HERE}/members/{{person}}", 204, admin=True),
    Route(
        "member roles",
        "PUT",
        f"{_HERE}/members/{{person}}/roles",
        200,
        body={"roles": ["agents-access"]},
        admin=True,
    ),
    Route("create group", "POST", f"{_HERE}/groups", 201, body={"name": "new"}, admin=True),
    Route("update group", "PATCH", "/api/v2/groups/{group}", 200, body={}, admin=True),
    Route("delete group", "DELETE", "/api/v2/groups/{group}", 200, admin=True),
]

ROUTES = [
    LIST,
    CREATE,
    GET,
    UPDATE,
    DELETE,
    MODELS,
    *MODEL_CONFIGS,
    BY_WORKSPACE,
    GET_ACL,
    UPDATE_ACL,
    DIFF,
    DIFF_STATUS,
    GIT_CHANGES,
    DEBUG_RUNS,
    DEBUG_RUN,
    INTERRUPT,
    MESSAGES,
    PROMPTS,
    SEND,
    EDIT,
    DELETE_QUEUED,
    PROMOTE,
    TOOL_RESULTS,
    CALLS_IN_DOUBT,
    DECIDE_CALL,
    REGENERATE_TITLE,
    PROPOSE_TITLE,
    STREAM,
    WORKSPACE_STREAM,
    WATCH,
    ME,
    MY_ORGANIZATIONS,
    *SITE_CONFIG,
    *OWN_CONFIG,
    LIMIT_STATUS,
    GET_LIMITS,
    *COSTS,
    *LIMIT_CHANGES,
    *PROVIDERS,
    *OWN_KEYS,
    *MCP_SERVERS,
    *MCP_SERVER_CHANGES,
    *READ_PERSON,
    LIST_TOKENS,
    *CHANGE_PERSON,
    SET_ROLES,
    LIST_USERS,
    CREATE_USER,
    CREATE_TOKEN,
    LOGOUT,
    LIST_ORGANIZATIONS,
    CREATE_ORGANIZATION,
    LIST_GROUPS,
    *READ_ORGANIZATION,
    UPDATE_ORGANIZATION,
    *CHANGE_MEMBERS,
]
ROUTES_OF_BYTES = [
    ("experimental/chats/files/?$", "post"),
    ("experimental/chats/files/(?P<file>[^/]+)/?$", "get"),
    ("experimental/mcp/servers/(?P<server>[^/]+)/oauth2/connect/?$", "get"),
    ("experimental/mcp/servers/(?P<server>[^/]+)/oauth2/callback/?$", "get"),
]
"""Routes whose bodies are no JSON, which the table cannot tell."""

PUBLIC_ROUTES = [("openapi\\.json/?$", "get"), ("v2/users/login/?$", "post")]
"""Routes that ask nobody who they are."""

CHAT_ROUTES = [route for route in ROUTES if route.of_a_chat]
WRITES = [route for route in CHAT_ROUTES if not route.reads]
OWNER_ONLY = [route for route in WRITES if route.owner_only]
