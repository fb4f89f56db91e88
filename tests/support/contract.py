"""Facts of the contract that tests of several layers hold answers against."""

CHAT_ALWAYS = {
    "id",
    "organization_id",
    "owner_id",
    "owner_username",
    "root_chat_id",
    "last_model_config_id",
    "title",
    "status",
    "last_turn_summary",
    "created_at",
    "updated_at",
    "archived",
    "pin_order",
    "mcp_server_ids",
    "labels",
    "has_unread",
    "client_type",
    "children",
}
"""Members of a Chat object that are never left out."""
