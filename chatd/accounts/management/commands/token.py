"""`manage.py token USERNAME`: print a new API token and nothing else."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatd.accounts.api_keys import issue_token
from chatd.accounts.models import User
from chatd.audit.actions import Author
from chatd.core.errors import ChatdError

COMMAND = Author(None, "manage.py token")


class Command(BaseCommand):
    help = "Create an API token for a user and print it. It is not shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="a name to recognise the token by")
        parser.add_argument("--days", type=float, default=None, help="lifetime in days")

    def handle(self, *args: Any, username: str, name: str, days: float | None, **_: Any) -> None:
        user = User.objects.named(username).first()
        if user is None:
            raise CommandError(f'There is no user named "{username}".')
        try:
            lifetime = timedelta(days=days) if days is not None else None
        except (ValueError, OverflowError):
            raise CommandError(f"--days must be a number of days, got {days}.") from None
        try:
            text = issue_token(COMMAND, user=user, name=name, lifetime=lifetime)
        except ChatdError as error:
            raise CommandError(" ".join(filter(None, [error.message, error.detail]))) from None
        self.stdout.write(text)
