"""App registration of the core: system checks live here."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "chatd.core"

    def ready(self) -> None:
        from chatd.core import checks  # noqa: F401 - registers the system checks
