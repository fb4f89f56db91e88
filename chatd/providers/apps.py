"""App registration: model providers and model configs."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "chatd.providers"

    def ready(self) -> None:
        # These need a set-up Django.
        from chatd.accounts.users import USER_ENDINGS
        from chatd.providers.own_keys import drop_keys_of

        USER_ENDINGS.register(drop_keys_of)
