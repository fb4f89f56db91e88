"""`manage.py check_spend`: compare the ledger with the messages, the holds and the sums by day."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatd.chats import books
from chatd.chats.books import Difference, compare_books


class Command(BaseCommand):
    help = (
        "Compare the ledger with the costs of messages, with what is held, and with the sums by"
        " day. Fails when they differ. May run while chatd serves."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair", action="store_true", help="enter corrections where the books differ"
        )

    def handle(self, *args: Any, repair: bool, **_: Any) -> None:
        found = compare_books()
        for difference in found:
            self.stdout.write(str(difference))
        if repair and found:
            found = self._repair(found)
        if found:
            raise CommandError(f"The books differ in {len(found)} places.")
        self.stdout.write("The books agree.")

    def _repair(self, found: list[Difference]) -> list[Difference]:
        """Correct the books of chats, then the days that these corrections belong to."""
        for difference in found:
            books.repair(difference)
        for difference in compare_books():
            books.repair(difference)
        left = compare_books()
        self.stdout.write(f"{len(found)} differences corrected.")
        return left
