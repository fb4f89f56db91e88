"""App registration: the pages."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "chatd.web"
