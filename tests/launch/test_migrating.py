"""One process migrates, the others wait, and not for ever."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
from django.core.management import CommandError
from django.db import OperationalError, connection

from chatd.launch import migrating
from chatd.launch.migrating import migration_lock, missing_migrations, wait_until_migrated
from config.env import env

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "env", replace(env, migration_wait_seconds=0.05))
    monkeypatch.setattr(migrating, "_POLL_SECONDS", 0.01)


def _lock_timeout() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        (found,) = cursor.fetchone()
    return str(found)


def test_who_waits_too_long_is_told_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        with migration_lock():
            return
    with migration_lock():
        monkeypatch.setattr(migrating, "_held", False)  # as in another process
        with pytest.raises(CommandError, match="CHATD_MIGRATION_WAIT_SECONDS"), migration_lock():
            pass
    with migration_lock(), migration_lock():
        assert _lock_timeout() == "10s"
    assert _lock_timeout() == "0"


def test_a_worker_starts_on_a_migrated_database() -> None:
    assert missing_migrations() == 0
    wait_until_migrated()


@pytest.mark.parametrize("found", [3, OperationalError("away")])
def test_a_worker_waits_for_its_database(monkeypatch: pytest.MonkeyPatch, found: object) -> None:
    monkeypatch.setattr(migrating, "env", replace(env, migration_wait_seconds=60))
    asked = Mock(side_effect=[found, found, 0])
    monkeypatch.setattr(migrating, "missing_migrations", asked)
    wait_until_migrated()
    assert asked.call_count == 3


def test_a_worker_whose_database_stays_as_it_is_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "missing_migrations", Mock(return_value=3))
    with pytest.raises(SystemExit):
        wait_until_migrated()
