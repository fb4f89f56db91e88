"""The tests bring their own PostgreSQL where none is installed."""

import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.support import services


@pytest.mark.slow
def test_the_postgresql_among_the_development_dependencies_survives_being_killed() -> None:
    binaries = services.wheel_binaries()
    assert binaries is not None
    with (
        tempfile.TemporaryDirectory(prefix="chatd-pg-") as folder,
        services.PostgresServer(Path(folder), binaries=binaries) as server,
    ):
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            connection.execute("CREATE TABLE kept AS SELECT 2 AS number")
        server.kill()
        assert not server.pids
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (2,)
