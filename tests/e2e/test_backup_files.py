"""Backups that are refused, that find no room, or that are of older migrations."""

import gzip
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.product import ROOT, Product, embedded

RUNS_ON = "embedded"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

_OLDER = """
from chatd.launch.backup.tables import applied_migrations, apps_at
apps = apps_at(applied_migrations())
fields = {f.name for f in apps.get_model("accounts", "ExternalIdentity")._meta.get_fields()}
assert "renewing_until" not in fields
person = apps.get_model("accounts", "User").objects.create(username="older", email="o@x.example")
apps.get_model("accounts", "ExternalIdentity").objects.create(
    user=person, issuer="i", subject="s", access_token="in-clear-before")
"""


def _tables(product: Product) -> list[str]:
    connection = sqlite3.connect(product.data / "chatd.sqlite3")
    try:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    finally:
        connection.close()


def test_a_damaged_file_and_a_filled_database_are_refused_with_nothing_changed(
    product: Product,
) -> None:
    with embedded() as second:
        backup, cut = second.folder / "a.backup", second.folder / "cut"
        product.manage("backup", str(backup))
        cut.write_bytes(backup.read_bytes()[:-1])
        refused = second.manage("restore", str(cut), check=False)
        assert refused.returncode
        assert "is damaged" in refused.stderr
        assert _tables(second) == []
        refused = product.manage("restore", str(backup), check=False)
        assert "The database is not empty" in refused.stderr
        assert "whole" in second.manage("restore", "--check", str(backup)).stdout
        assert _tables(second) == []


def test_a_disk_without_room_leaves_nothing(product: Product, tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "backup", str(tmp_path / "a.backup")]
    done = subprocess.run(
        # a process that may write no file of more than a KiB, as on a full disk
        ["bash", "-c", f"trap '' XFSZ; ulimit -f 1; exec {shlex.join(command)}"],
        cwd=ROOT,
        env=product.environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_backup_of_older_migrations_comes_to_ours() -> None:
    with embedded() as first, embedded() as second:
        first.manage("migrate", "accounts", "0002", "-v", "0")
        first.shell(_OLDER)
        backup = first.folder / "a.backup"
        first.manage("backup", str(backup))
        assert b"in-clear-before" not in gzip.decompress(backup.read_bytes())
        second.manage("restore", str(backup))
        assert second.manage("migrate", "--check", check=False).returncode == 0
        read = "from chatd.accounts.models import User; print(User.objects.get().username)"
        assert second.shell(read).strip() == "older"


def test_a_database_of_a_newer_version_is_not_backed_up(product: Product, tmp_path: Path) -> None:
    with embedded() as newer:
        newer.data.mkdir()
        source = sqlite3.connect(product.data / "chatd.sqlite3")
        copy = sqlite3.connect(newer.data / "chatd.sqlite3")
        source.backup(copy)
        with copy:
            copy.execute(
                "INSERT INTO django_migrations (app, name, applied)"
                " VALUES ('chats', '9999_later', '2030-01-01')"
            )
        source.close()
        copy.close()
        refused = newer.manage("backup", str(tmp_path / "a"), check=False)
        assert "does not know the migrations chats.9999_later" in refused.stderr
        assert list(tmp_path.iterdir()) == []
