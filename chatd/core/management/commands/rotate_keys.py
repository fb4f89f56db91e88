"""`manage.py rotate_keys`: put every stored secret under the first encryption key."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatd.core.coverage import (
    Coverage,
    EncryptedColumn,
    count_by_opening,
    encrypted_columns,
    total_coverage,
)
from chatd.core.crypto import KeyRing, key_ring
from chatd.core.rotation import reseal

_HEADINGS = ("total", "first key", "other keys", "unreadable", "in clear")


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret anew with the first key of CHATD_ENCRYPTION_KEYS and count"
        " them. May run while chatd serves, be stopped, and be run again."
    )
    requires_system_checks = ["security"]
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="only count; fail when a secret is not under the first key",
        )

    def handle(self, *args: Any, check: bool, **_: Any) -> None:
        ring, columns = key_ring(), encrypted_columns()
        if not ring.primary_id:
            raise CommandError("CHATD_ENCRYPTION_KEYS is empty: there is no key to encrypt with.")
        if not check:
            self._rotate(columns, ring)
        self._report(columns, ring)

    def _rotate(self, columns: list[EncryptedColumn], ring: KeyRing) -> None:
        done = 0
        try:
            for column in columns:
                for batch in reseal(column, ring):
                    done += batch.resealed
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped after {done} secrets, which stay re-sealed. Run it again for the rest."
            ) from None
        self.stdout.write(f"{done} secrets re-sealed.\n\n")

    def _report(self, columns: list[EncryptedColumn], ring: KeyRing) -> None:
        """Print the counts. Raises CommandError when a secret is not under the first key."""
        found = {str(column): count_by_opening(column, ring) for column in columns}
        width = max(map(len, [*found, "column"]))
        self.stdout.write(_line("column", _HEADINGS, width))
        for name, coverage in found.items():
            self.stdout.write(_line(name, _numbers(coverage), width))
        whole = total_coverage(found.values())
        if whole.current < whole.total:
            raise CommandError(_advice(whole))
        self.stdout.write(f"All {whole.total} secrets are under the first key.")


def _line(name: str, cells: tuple[object, ...], width: int) -> str:
    return f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells)


def _numbers(coverage: Coverage) -> tuple[int, ...]:
    return (
        coverage.total,
        coverage.current,
        coverage.older,
        coverage.unreadable,
        coverage.clear,
    )


def _advice(whole: Coverage) -> str:
    sentences = [
        f"{whole.total - whole.current} of {whole.total} secrets are not under the first key."
    ]
    if whole.older or whole.clear:
        sentences.append("Run rotate_keys, and keep the other keys until it has succeeded.")
    if whole.unreadable:
        sentences.append(
            f"{whole.unreadable} cannot be read: add their key at the end of CHATD_ENCRYPTION_KEYS,"
            " or enter them again."
        )
    return " ".join(sentences)
