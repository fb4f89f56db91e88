"""The JSON objects of MCP servers as clients see them."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from chatd.core.shapes import Timestamp, Uuid, documented, one_of
from chatd.mcp.models import AuthType, Availability, Transport


class MCPServerConfig(TypedDict):
    """An MCP server. Who may not read the settings of the deployment gets enabled ones alone,
    with `url`, `transport` and what is said of OAuth and of the key's header left blank."""

    id: Uuid
    display_name: str
    slug: Annotated[str, Meta(description="Tools are named `<slug>__<tool>`.")]
    description: str
    icon_url: str
    transport: Annotated[str, documented(enum=[*Transport.values, ""])]
    url: str
    auth_type: Annotated[str, one_of(AuthType)]
    oauth2_client_id: NotRequired[str]
    has_oauth2_secret: bool
    oauth2_auth_url: NotRequired[str]
    oauth2_token_url: NotRequired[str]
    oauth2_scopes: NotRequired[str]
    api_key_header: NotRequired[str]
    has_api_key: bool
    has_custom_headers: bool
    unreadable_secrets: NotRequired[
        Annotated[list[str], Meta(description="These have to be entered again.")]
    ]
    tool_allow_list: list[str]
    tool_deny_list: list[str]
    availability: Annotated[str, one_of(Availability)]
    enabled: bool
    model_intent: bool
    allow_in_plan_mode: bool
    forward_coder_headers: bool
    created_at: Timestamp
    updated_at: Timestamp
    auth_connected: Annotated[
        bool,
        Meta(description="The caller's calls are let in; always false in answers to writes."),
    ]
