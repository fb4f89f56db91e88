"""The file of a backup: whole, or refused."""

import gzip
from pathlib import Path
from random import Random

import pytest

from chatd.launch.backup.archive import (
    BackupError,
    Header,
    TableEnd,
    TableStart,
    new_backup,
    read_header,
    read_lines,
    verify,
)

HEADER = Header(
    product_version="1", created_at="2026-01-01", database="sqlite", migrations=[("chats", "0001")]
)


def _write(path: Path, *, rows: int = 3) -> None:
    with new_backup(path, HEADER) as writer:
        writer.start("things", ["id", "text"])
        for number in range(rows):
            writer.row([number, f'{{"rows": {number}}}\n"'])
        writer.end("things", last_id=rows)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    _write(path)
    assert read_header(path) == HEADER
    assert verify(path) == 3
    first, *rows, last = list(read_lines(path))
    assert first == TableStart(table="things", columns=["id", "text"])
    assert rows == [[n, f'{{"rows": {n}}}\n"'] for n in range(3)]
    assert last == TableEnd(end_of_table="things", rows=3, last_id=3)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_cut_or_changed_anywhere_is_refused(tmp_path: Path) -> None:
    path, broken = tmp_path / "a.backup", tmp_path / "broken"
    _write(path, rows=50)
    whole, chance = path.read_bytes(), Random(1)
    for at in range(len(whole)):
        broken.write_bytes(whole[:at])
        with pytest.raises(BackupError):
            verify(broken)
    for at in range(10, len(whole)):  # the bytes before say when and on what it was compressed
        changed = bytearray(whole)
        changed[at] ^= 1 << chance.randrange(8)
        broken.write_bytes(changed)
        with pytest.raises(BackupError):
            verify(broken)


@pytest.mark.parametrize("change", ["drop", "double", "swap", "add", "forge"])
def test_lines_that_were_dropped_doubled_swapped_or_added_are_refused(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "a.backup"
    _write(path)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    match change:
        case "drop":
            del lines[3]
        case "double":
            lines.insert(3, lines[3])
        case "swap":
            lines[2], lines[3] = lines[3], lines[2]
        case "add":
            lines.append(lines[3])
        case "forge":
            lines.append(lines[-1])
    path.write_bytes(gzip.compress(b"".join(lines)))
    with pytest.raises(BackupError, match="damaged"):
        verify(path)


@pytest.mark.parametrize("lines", [None, b"", b"{}\n"])
def test_what_is_no_backup_is_refused(tmp_path: Path, lines: bytes | None) -> None:
    path = tmp_path / "a.backup"
    path.write_bytes(b"not gzip" if lines is None else gzip.compress(lines))
    with pytest.raises(BackupError):
        read_header(path)
    with pytest.raises(BackupError):
        verify(path)


def test_a_backup_of_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    path.write_bytes(gzip.compress(b'{"format":"chatd backup","format_version":2}\n'))
    with pytest.raises(BackupError, match="no backup that this version can read"):
        read_header(path)


def test_a_failure_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    class BreakError(Exception):
        pass

    with pytest.raises(BreakError), new_backup(tmp_path / "a.backup", HEADER):
        raise BreakError
    assert list(tmp_path.iterdir()) == []


def test_a_backup_never_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    _write(path)
    before = path.read_bytes()
    with pytest.raises(BackupError, match="there already"):
        _write(path, rows=1)
    assert path.read_bytes() == before
