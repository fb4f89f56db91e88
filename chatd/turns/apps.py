"""App registration: the turn engine."""

from django.apps import AppConfig


class TurnsConfig(AppConfig):
    name = "chatd.turns"
