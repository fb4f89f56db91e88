"""Routes of the API. Literal segments come before `{chat}`; a trailing slash is harmless."""

from django.urls import URLPattern, re_path

from chatd.api.ai_provider_test import AIProviderTestViewSet
from chatd.api.ai_providers import AIProviderViewSet
from chatd.api.catalog import CatalogViewSet
from chatd.api.chats import ChatViewSet
from chatd.api.config_routes import CONFIG_ROUTES
from chatd.api.costs import CostViewSet
from chatd.api.debug import DebugRunViewSet
from chatd.api.diffs import DiffViewSet
from chatd.api.document import DocumentViewSet
from chatd.api.files import FileViewSet
from chatd.api.groups import GroupsViewSet, GroupViewSet, OrganizationGroupsViewSet
from chatd.api.mcp_oauth import MCPConnectViewSet
from chatd.api.mcp_servers import MCPServerViewSet
from chatd.api.members import MembersViewSet, MemberViewSet
from chatd.api.messages import MessageViewSet, QueueViewSet
from chatd.api.model_configs import ModelConfigViewSet, SuggestedPricesViewSet
from chatd.api.older_providers import OlderOwnKeyViewSet, OlderProviderViewSet
from chatd.api.organizations import OrganizationsViewSet, OrganizationViewSet
from chatd.api.own_provider_keys import OwnProviderKeyViewSet
from chatd.api.sharing import AclViewSet
from chatd.api.sign_in import SignInViewSet, SignOutViewSet
from chatd.api.sockets import SocketViewSet
from chatd.api.titles import TitleViewSet
from chatd.api.tokens import KeyViewSet, TokensViewSet
from chatd.api.tools import CallsInDoubtViewSet, ToolResultsViewSet
from chatd.api.usage_limits import (
    UsageLimitGroupOverrideViewSet,
    UsageLimitOverrideViewSet,
    UsageLimitViewSet,
)
from chatd.api.users import UsersViewSet, UserViewSet
from chatd.api.views import ResourceViewSet, route_not_found

# Segments that are never a chat, whatever is served below them.
_LITERALS = "model-configs|providers|user-provider-configs|config|cost|insights|usage-limits"
_LIMITS = "experimental/chats/usage-limits"
_PROVIDER = r"(?P<provider>[^/]+)"
_CONFIGS = r"experimental/chats/model-configs"
_USER = r"v2/users/(?P<user>[^/]+)"
_ORGANIZATION = r"v2/organizations/(?P<org>[^/]+)"
_MCP = r"experimental/mcp/servers"
_MCP_SERVER = rf"{_MCP}/(?P<server>[^/]+)"
_CHAT = r"experimental/chats/(?P<chat>[^/]+)"


def _route(path: str, viewset: type[ResourceViewSet], **methods: str) -> URLPattern:
    return re_path(rf"^{path}/?$", viewset.as_view({**methods}))


urlpatterns = [
    _route(r"openapi\.json", DocumentViewSet, get="retrieve"),
    _route(r"v2/users/login", SignInViewSet, post="create"),
    _route(r"v2/users/logout", SignOutViewSet, post="create"),
    _route(r"v2/users", UsersViewSet, get="list", post="create"),
    _route(_USER, UserViewSet, get="retrieve", delete="destroy"),
    _route(rf"{_USER}/profile", UserViewSet, put="profile"),
    _route(rf"{_USER}/password", UserViewSet, put="password"),
    _route(rf"{_USER}/status/suspend", UserViewSet, put="suspend"),
    _route(rf"{_USER}/status/activate", UserViewSet, put="activate"),
    _route(rf"{_USER}/roles", UserViewSet, get="roles", put="set_roles"),
    _route(rf"{_USER}/organizations", UserViewSet, get="organizations"),
    _route(rf"{_USER}/keys/tokens", TokensViewSet, get="list", post="create"),
    _route(rf"{_USER}/keys/(?P<key>[^/]+)", KeyViewSet, delete="destroy"),
    _route(r"v2/organizations", OrganizationsViewSet, get="list", post="create"),
    _route(_ORGANIZATION, OrganizationViewSet, get="retrieve", patch="partial_update"),
    _route(rf"{_ORGANIZATION}/members", MembersViewSet, get="list"),
    _route(
        rf"{_ORGANIZATION}/members/(?P<user>[^/]+)",
        MemberViewSet,
        post="create",
        delete="destroy",
    ),
    _route(
        rf"{_ORGANIZATION}/members/(?P<user>[^/]+)/roles",
        MemberViewSet,
        put="set_roles",
    ),
    _route(rf"{_ORGANIZATION}/groups", OrganizationGroupsViewSet, get="list", post="create"),
    _route(r"v2/groups", GroupsViewSet, get="list"),
    _route(
        r"v2/groups/(?P<group>[^/]+)",
        GroupViewSet,
        get="retrieve",
        patch="partial_update",
        delete="destroy",
    ),
    _route(r"v2/ai/providers", AIProviderViewSet, get="list", post="create"),
    _route(r"v2/ai/providers/test", AIProviderTestViewSet, post="create"),
    _route(
        rf"v2/ai/providers/{_PROVIDER}",
        AIProviderViewSet,
        get="retrieve",
        patch="partial_update",
        delete="destroy",
    ),
    _route(
        r"experimental/users/(?P<user>[^/]+)/ai-provider-keys", OwnProviderKeyViewSet, get="list"
    ),
    _route(
        rf"experimental/users/(?P<user>[^/]+)/ai-provider-keys/{_PROVIDER}",
        OwnProviderKeyViewSet,
        put="update",
        delete="destroy",
    ),
    _route(_MCP, MCPServerViewSet, get="list", post="create"),
    _route(_MCP_SERVER, MCPServerViewSet, get="retrieve", patch="partial_update", delete="destroy"),
    _route(rf"{_MCP_SERVER}/oauth2/connect", MCPConnectViewSet, get="connect"),
    _route(rf"{_MCP_SERVER}/oauth2/callback", MCPConnectViewSet, get="callback"),
    _route(rf"{_MCP_SERVER}/oauth2/disconnect", MCPConnectViewSet, delete="disconnect"),
    _route(r"experimental/chats", ChatViewSet, get="list", post="create"),
    _route(r"experimental/chats/files", FileViewSet, post="create"),
    _route(r"experimental/chats/files/(?P<file>[^/]+)", FileViewSet, get="retrieve"),
    _route(r"experimental/chats/models", CatalogViewSet, get="list"),
    _route(_CONFIGS, ModelConfigViewSet, get="list", post="create"),
    _route(rf"{_CONFIGS}/suggested-prices", SuggestedPricesViewSet, get="retrieve"),
    _route(
        rf"{_CONFIGS}/(?P<config>[^/]+)",
        ModelConfigViewSet,
        patch="partial_update",
        delete="destroy",
    ),
    _route(r"experimental/chats/by-workspace", ChatViewSet, get="by_workspace"),
    _route(r"experimental/chats/cost/users", CostViewSet, get="users"),
    _route(r"experimental/chats/cost/(?P<user>[^/]+)/summary", CostViewSet, get="summary"),
    _route(_LIMITS, UsageLimitViewSet, get="retrieve", put="update"),
    _route(f"{_LIMITS}/status", UsageLimitViewSet, get="status"),
    _route(
        rf"{_LIMITS}/overrides/(?P<user_id>[^/]+)",
        UsageLimitOverrideViewSet,
        put="update",
        delete="destroy",
    ),
    _route(
        rf"{_LIMITS}/group-overrides/(?P<group_id>[^/]+)",
        UsageLimitGroupOverrideViewSet,
        put="update",
        delete="destroy",
    ),
    _route(r"experimental/chats/watch", SocketViewSet, get="watch"),
    _route(rf"{_CHAT}/stream", SocketViewSet, get="stream"),
    _route(rf"{_CHAT}/stream/(?P<kind>git|desktop)", SocketViewSet, get="workspace"),
    *(
        _route(rf"experimental/chats/config/{path}", viewset, **methods)
        for path, viewset, methods in CONFIG_ROUTES
    ),
    _route(r"experimental/chats/providers", OlderProviderViewSet, get="list", post="create"),
    _route(
        rf"experimental/chats/providers/{_PROVIDER}",
        OlderProviderViewSet,
        patch="partial_update",
        delete="destroy",
    ),
    _route(r"experimental/chats/user-provider-configs", OlderOwnKeyViewSet, get="list"),
    _route(
        rf"experimental/chats/user-provider-configs/{_PROVIDER}",
        OlderOwnKeyViewSet,
        put="update",
        delete="destroy",
    ),
    re_path(rf"^experimental/chats/(?:{_LITERALS})(?:/.*)?$", route_not_found),
    _route(_CHAT, ChatViewSet, get="retrieve", patch="partial_update", delete="destroy"),
    _route(rf"{_CHAT}/acl", AclViewSet, get="retrieve", patch="partial_update"),
    _route(rf"{_CHAT}/diff", DiffViewSet, get="diff"),
    _route(rf"{_CHAT}/diff-status", DiffViewSet, get="status"),
    _route(rf"{_CHAT}/git-changes", DiffViewSet, get="changes"),
    _route(rf"{_CHAT}/debug/runs", DebugRunViewSet, get="list"),
    _route(rf"{_CHAT}/debug/runs/(?P<run>[^/]+)", DebugRunViewSet, get="retrieve"),
    _route(rf"{_CHAT}/prompts", MessageViewSet, get="prompts"),
    _route(rf"{_CHAT}/interrupt", ChatViewSet, post="interrupt"),
    _route(rf"{_CHAT}/messages", MessageViewSet, get="list", post="create"),
    _route(rf"{_CHAT}/messages/(?P<message>[^/]+)", MessageViewSet, patch="partial_update"),
    _route(rf"{_CHAT}/queue/(?P<queued>[^/]+)", QueueViewSet, delete="destroy"),
    _route(rf"{_CHAT}/queue/(?P<queued>[^/]+)/promote", QueueViewSet, post="promote"),
    _route(rf"{_CHAT}/title/regenerate", TitleViewSet, post="regenerate"),
    _route(rf"{_CHAT}/title/propose", TitleViewSet, post="propose"),
    _route(rf"{_CHAT}/tool-results", ToolResultsViewSet, post="create"),
    _route(rf"{_CHAT}/calls-in-doubt", CallsInDoubtViewSet, get="list"),
    _route(rf"{_CHAT}/calls-in-doubt/(?P<call>[^/]+)", CallsInDoubtViewSet, post="create"),
    re_path(r"", route_not_found),
]
