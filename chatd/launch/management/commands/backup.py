"""`manage.py backup`: everything the database holds, in one file, while the product runs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatd.core.errors import ChatdError
from chatd.launch.backup.archive import BackupError
from chatd.launch.backup.taking import take_backup


class Command(BaseCommand):
    help = (
        "Write the database, files of chats included, to FILE. May run while chatd serves. The"
        " encryption keys are not in it: keep them apart."
    )
    requires_system_checks = ["security"]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a file that is not there yet")

    def handle(self, *args: Any, file: Path, **_: Any) -> None:
        try:
            rows = take_backup(file.absolute())
        except (BackupError, ChatdError) as error:
            raise CommandError(str(error)) from None
        size = file.stat().st_size
        self.stdout.write(f"{rows} rows in {size / 1024 / 1024:.1f} MiB: {file}")
        self.stdout.write("The encryption keys are not in it: keep them apart.")
