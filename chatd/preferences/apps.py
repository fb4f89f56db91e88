"""App registration: settings of the deployment and of people."""

from django.apps import AppConfig


class PreferencesConfig(AppConfig):
    name = "chatd.preferences"
