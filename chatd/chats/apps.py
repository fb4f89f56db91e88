"""App registration: chats, messages and the queue."""

from django.apps import AppConfig


class ChatsConfig(AppConfig):
    name = "chatd.chats"
