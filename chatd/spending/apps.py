"""App registration: usage limits."""

from django.apps import AppConfig


class SpendingConfig(AppConfig):
    name = "chatd.spending"
