"""App registration: users, organisations and tokens."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "chatd.accounts"
    verbose_name = "People"
