"""App registration: MCP servers and people's connections to them."""

from django.apps import AppConfig


class MCPConfig(AppConfig):
    name = "chatd.mcp"
    verbose_name = "MCP"

    def ready(self) -> None:
        # These need a set-up Django.
        from chatd.accounts.users import USER_ENDINGS
        from chatd.mcp.connections import drop_connections_of

        USER_ENDINGS.register(drop_connections_of)
