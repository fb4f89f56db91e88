"""`manage.py prepare`: what `up` does before it serves, for deployments that start roles apart."""

from typing import Any

from django.core.management.base import BaseCommand

from chatd.launch.first_start import prepare
from config.env import env


class Command(BaseCommand):
    help = "Migrate the database and create the first administrator."
    requires_system_checks = ["security"]

    def handle(self, *args: Any, **_: Any) -> None:
        administrator = prepare(env)
        if administrator is None:
            return
        self.stdout.write(f"administrator: {administrator.username}")
        if administrator.password:
            self.stdout.write(f"password: {administrator.password}   (shown only now)")
