"""The tests bring their own PostgreSQL where none is installed."""

import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.support import services


@pytest.mark.slow
def test_the_postgresql_among_the_development_dependencies_starts_and_answers() -> None:
    binaries = services.wheel_binaries()
    assert binaries is not None
    with (
        tempfile.TemporaryDirectory(prefix="chatd-pg-") as folder,
        services._started_postgres(binaries, Path(folder)) as url,
        psycopg.connect(url) as connection,
    ):
        row = connection.execute("SELECT 1").fetchone()
    assert row == (1,)
