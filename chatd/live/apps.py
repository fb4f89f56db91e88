"""App registration: notifications and the part log."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "chatd.live"

    def ready(self) -> None:
        import config.celery  # noqa: F401 - makes it the app that `dispatch` sends through
