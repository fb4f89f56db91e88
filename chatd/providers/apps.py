"""App registration: model providers and model configs."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "chatd.providers"
