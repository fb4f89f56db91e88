"""Taking a backup while the product runs: one snapshot of the database, read bit by bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from chatd.core.clock import now
from chatd.launch.backup.archive import BackupWriter, Header, new_backup
from chatd.launch.backup.tables import (
    Table,
    applied_migrations,
    apps_at,
    reader_of,
    tables_of,
)

_ROWS_AT_ONCE = 200
_HEAVY_ROWS_AT_ONCE = 4


def take_backup(path: Path) -> int:
    """Write everything the database holds at one moment to `path`; return the number of rows.

    Nobody waits for it. Raises BackupError; there is no file then.
    """
    with _snapshot():
        applied = applied_migrations()
        header = Header(
            product_version=str(settings.SPECTACULAR_SETTINGS["VERSION"]),
            created_at=now().isoformat(),
            database=connection.vendor,
            migrations=applied,
        )
        with new_backup(path, header) as writer:
            for table in tables_of(apps_at(applied)):
                _write(table, writer)
            return writer.rows


@contextmanager
def _snapshot() -> Iterator[None]:
    """Read one state of the database, whatever is written meanwhile.

    On SQLite the transaction is begun by hand: Django's would take the lock of the writers.
    """
    if connection.vendor == "postgresql":
        with transaction.atomic():
            _execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
        return
    _execute("BEGIN DEFERRED")
    try:
        yield
    finally:
        _execute("ROLLBACK")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _write(table: Table, writer: BackupWriter) -> None:
    columns = list(table.fields)
    readers = [reader_of(field) for field in table.fields.values()]
    writer.start(table.name, columns)
    for row in _rows(table, columns):
        writer.row([read(value) for read, value in zip(readers, row, strict=True)])
    writer.end(table.name, last_id=_last_id(table))


def _rows(table: Table, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    quote = connection.ops.quote_name
    size = _HEAVY_ROWS_AT_ONCE if table.is_heavy else _ROWS_AT_ONCE
    wanted = ", ".join(map(quote, columns))
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT {wanted} FROM {quote(table.name)}")  # noqa: S608 - names of models
        while rows := cursor.fetchmany(size):
            yield from rows


def _last_id(table: Table) -> int:
    """Return the highest number that was given, also to rows that are gone: none is given twice."""
    if not table.numbered:
        return 0
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            column = table.model._meta.pk.column
            name = connection.ops.quote_name(table.name)
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [name, column])
            (sequence,) = cursor.fetchone()
            cursor.execute(
                f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"  # noqa: S608
            )
        else:
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table.name])
        found = cursor.fetchone()
    return int(found[0]) if found else 0
