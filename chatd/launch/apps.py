"""App registration: the commands, and a worker that waits for its database."""

from typing import Any

from celery.signals import worker_init
from django.apps import AppConfig


class LaunchConfig(AppConfig):
    name = "chatd.launch"

    def ready(self) -> None:
        worker_init.connect(_wait_until_migrated, dispatch_uid="chatd-wait-until-migrated")


def _wait_until_migrated(**_: Any) -> None:
    from chatd.launch.migrating import wait_until_migrated

    wait_until_migrated()
