"""App registration: chats, messages and the queue."""

from django.apps import AppConfig


class ChatsConfig(AppConfig):
    name = "chatd.chats"

    def ready(self) -> None:
        # These need a set-up Django.
        from chatd.chats.mcp_servers import forget_mcp_server
        from chatd.mcp.actions import SERVER_ENDINGS

        SERVER_ENDINGS.register(forget_mcp_server)
