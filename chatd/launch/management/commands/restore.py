"""`manage.py restore`: fill a new database with a backup."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatd.core.coverage import secrets_notice
from chatd.launch.backup.archive import BackupError, read_header, verify
from chatd.launch.backup.restoring import restore_backup


class Command(BaseCommand):
    help = (
        "Fill a new, empty database with a backup of this or an older version, of either kind of"
        " database. Nothing may run on it yet."
    )
    requires_system_checks = ["security"]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="what `manage.py backup` wrote")
        parser.add_argument(
            "--check", action="store_true", help="only read the file, and tell what it is"
        )

    def handle(self, *args: Any, file: Path, check: bool, **_: Any) -> None:
        try:
            header = read_header(file)
            rows = verify(file) if check else restore_backup(file)
        except BackupError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{rows} rows of {header.created_at}, from {header.database}, chatd"
            f" {header.product_version}: {'whole' if check else 'restored'}."
        )
        if not check:
            self.stdout.write(secrets_notice() or "All stored secrets can be read.")
