"""App registration: the WebSocket consumers."""

from django.apps import AppConfig


class SocketsConfig(AppConfig):
    name = "chatd.sockets"
