"""Making a database of a backup: an empty one, at the migrations of the backup, then at ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps.registry import Apps
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from chatd.chats.reindexing import index_everything
from chatd.launch.backup.archive import (
    BackupError,
    Header,
    TableEnd,
    TableStart,
    read_header,
    read_lines,
    verify,
)
from chatd.launch.backup.tables import Table, apps_at, check_known, tables_of, writer_of
from chatd.launch.migrating import migration_lock


def restore_backup(path: Path) -> int:
    """Fill an empty database with a backup and return the number of rows.

    The file is read to its end before anything is changed, and all rows come in one transaction.
    Raises BackupError when the file is damaged or of a newer version, or the database is not empty.
    """
    header = read_header(path)
    verify(path)
    with migration_lock():
        _check_target(header)
        _migrate_to(header)
        apps = apps_at(header.migrations)
        with transaction.atomic():
            rows = _load(path, {table.name: table for table in tables_of(apps)})
            index_everything(apps)
        call_command("migrate", interactive=False, verbosity=0)
    return rows


def _check_target(header: Header) -> None:
    loader = MigrationLoader(connection)
    check_known(loader, header.migrations)
    if set(loader.applied_migrations) - set(header.migrations):
        raise BackupError(
            "The database has migrations that the backup has not. Restore into a new database."
        )
    filled = [name for name in _present(apps_at(loader.applied_migrations)) if _has_rows(name)]
    if filled:
        raise BackupError(
            f"The database is not empty ({', '.join(filled[:3])}). Restore into a new one, before"
            " the first start."
        )


def _present(apps: Apps) -> Iterator[str]:
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
    yield from (table.name for table in tables_of(apps) if table.name in there)


def _has_rows(table: str) -> bool:
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(table)
        cursor.execute(f"SELECT 1 FROM {name} LIMIT 1")  # noqa: S608 - the name of a model's table
        return cursor.fetchone() is not None


def _migrate_to(header: Header) -> None:
    """Bring an empty database to the migrations of the backup, whatever came after them."""
    executor = MigrationExecutor(connection)
    wanted = set(header.migrations)
    followed = {
        parent.key
        for key in wanted
        for parent in executor.loader.graph.node_map[key].parents
        if parent.key[0] == key[0]
    }
    executor.migrate(sorted(wanted - followed))


def _load(path: Path, tables: dict[str, Table]) -> int:
    lines, rows = read_lines(path), 0
    for line in lines:
        assert isinstance(line, TableStart), line
        table = tables.get(line.table)
        if table is None:
            raise BackupError(
                f"The backup has a table {line.table} that its migrations do not make."
            )
        loading = _RowsOfTable(lines)
        _insert(table, line.columns, loading)
        rows += loading.count
        _continue_numbers(table, loading.last_id)
    return rows


class _RowsOfTable:
    """The rows up to the end of a table, of which count and last id are known afterwards."""

    def __init__(self, lines: Iterator[TableStart | TableEnd | list[Any]]) -> None:
        self._lines = lines
        self.count = 0
        self.last_id = 0

    def __iter__(self) -> Iterator[list[Any]]:
        for line in self._lines:
            if isinstance(line, list):
                self.count += 1
                yield line
            else:
                assert isinstance(line, TableEnd), line
                self.last_id = line.last_id
                return


def _insert(table: Table, columns: list[str], rows: _RowsOfTable) -> None:
    writers = [writer_of(table.fields[column]) for column in columns]
    quote = connection.ops.quote_name
    name, listed = quote(table.name), ", ".join(map(quote, columns))
    values = ([write(v) for write, v in zip(writers, row, strict=True)] for row in rows)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {name} ({listed}) FROM STDIN") as copy:
                for row in values:
                    copy.write_row(row)
        else:
            marks = ", ".join("?" for _ in columns)
            # Django's cursor would keep every row until the last one is in.
            connection.connection.executemany(
                f"INSERT INTO {name} ({listed}) VALUES ({marks})",  # noqa: S608 - names of models
                values,
            )


def _continue_numbers(table: Table, last_id: int) -> None:
    """Have the next row get a number that none ever had."""
    if not table.numbered or not last_id:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            name, column = connection.ops.quote_name(table.name), table.model._meta.pk.column
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, %s), %s)", [name, column, last_id]
            )
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table.name])
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table.name, last_id]
            )
