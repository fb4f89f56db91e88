"""The file of a backup: compressed lines of JSON, whole or refused.

The first line is the header. A table is a line `{"table", "columns"}`, its rows as arrays, and a
line `{"end_of_table", "rows", "last_id"}`. The last line has the number of rows and the SHA-256 of
all lines before it. Belongs here: bytes. What a row holds is in `tables`.
"""

import gzip
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

_LEVEL = 5
_encode = msgspec.json.encode


class BackupError(Exception):
    """A backup cannot be written, read or used; the text says why and what to do."""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup is. `migrations` are those that its database had, as (app, name)."""

    format: Literal["chatd backup"] = "chatd backup"
    format_version: Literal[1] = 1
    product_version: str
    created_at: str
    database: str
    migrations: list[tuple[str, str]]


class TableStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows that follow are of this table; their values come in the order of these columns."""

    table: str
    columns: list[str]


class TableEnd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`last_id`: the highest number that the table ever gave a row; 0 where it gives none."""

    end_of_table: str
    rows: int
    last_id: int


class _End(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows: int
    sha256: str


class BackupWriter:
    """Writes lines and keeps count of them."""

    def __init__(self, out: IO[bytes], header: Header) -> None:
        self._out = out
        self._digest = sha256()
        self._rows = 0
        self.rows = 0
        self._line(header)

    def start(self, table: str, columns: Sequence[str]) -> None:
        self._rows = 0
        self._line(TableStart(table=table, columns=list(columns)))

    def row(self, values: Sequence[Any]) -> None:
        """Write one row. UUIDs, instants and decimals become text, bytes become Base64."""
        self._line(values)
        self._rows += 1

    def end(self, table: str, *, last_id: int) -> None:
        self._line(TableEnd(end_of_table=table, rows=self._rows, last_id=last_id))
        self.rows += self._rows

    def finish(self) -> None:
        """Write the last line; without it nothing will read the file."""
        self._line(_End(rows=self.rows, sha256=self._digest.hexdigest()))

    def _line(self, value: Any) -> None:
        line = _encode(value) + b"\n"
        self._digest.update(line)
        self._out.write(line)


@contextmanager
def new_backup(path: Path, header: Header) -> Iterator[BackupWriter]:
    """Yield the writer of a file that appears under its name once it is whole and on the disk.

    The file is for its owner alone. Whatever goes wrong before leaves nothing behind. Raises
    BackupError when there is such a file already, or when the disk does not take it.
    """
    if path.exists():
        raise BackupError(f"{path} is there already. Choose another name, or remove it.")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as out:
                    writer = BackupWriter(out, header)  # type: ignore[arg-type]
                    yield writer
                    writer.finish()
                raw.flush()
                os.fsync(raw.fileno())
            draft.replace(path)
            _sync_folder(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror or error}.") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_header(path: Path) -> Header:
    """Return what a file says of itself. Raises BackupError."""
    with _opened(path) as lines:
        return _header(path, next(lines, b""))


def verify(path: Path) -> int:
    """Read a backup to its end; return the number of rows. Raises BackupError if damaged."""
    digest, rows, end = sha256(), 0, None
    with _opened(path) as lines:
        for number, line in enumerate(lines):
            if not number:
                _header(path, line)
            if end is not None:
                raise _damaged(path, "it goes on after its end")
            if line.startswith(b'{"rows":'):
                end = msgspec.json.decode(line, type=_End)
                if end != _End(rows=rows, sha256=digest.hexdigest()):
                    raise _damaged(path, "its checksum is another")
            digest.update(line)
            rows += line.startswith(b"[")
    if end is None:
        raise _damaged(path, "its end is missing")
    return rows


def read_lines(path: Path) -> Iterator[TableStart | TableEnd | list[Any]]:
    """Return tables and rows of a backup that was verified."""
    with _opened(path) as lines:
        next(lines)
        for line in lines:
            if line.startswith(b"["):
                yield msgspec.json.decode(line)
            elif line.startswith(b'{"table"'):
                yield msgspec.json.decode(line, type=TableStart)
            elif line.startswith(b'{"end_of_table"'):
                yield msgspec.json.decode(line, type=TableEnd)


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[bytes]]:
    try:
        with gzip.open(path) as lines:
            yield iter(lines)
    except (gzip.BadGzipFile, zlib.error, EOFError, msgspec.MsgspecError) as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror or error}.") from None


def _header(path: Path, line: bytes) -> Header:
    try:
        return msgspec.json.decode(line, type=Header)
    except msgspec.MsgspecError:
        raise BackupError(
            f"{path} is no backup that this version can read. Nothing was changed."
        ) from None


def _damaged(path: Path, why: str) -> BackupError:
    return BackupError(f"{path} is damaged: {why}. Nothing was changed; take another backup.")
