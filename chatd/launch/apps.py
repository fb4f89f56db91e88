"""App registration: the commands `up` and `web`."""

from django.apps import AppConfig


class LaunchConfig(AppConfig):
    name = "chatd.launch"
