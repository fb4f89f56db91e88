"""`manage.py migrate`: Django's, by one process at a time."""

from typing import Any

from django.core.management.commands import migrate

from chatd.launch.migrating import migration_lock


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with migration_lock():
            super().handle(*args, **options)
