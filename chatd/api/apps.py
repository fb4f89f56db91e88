"""App registration: the REST API."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "chatd.api"
