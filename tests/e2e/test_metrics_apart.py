"""`/metrics` of roles that were started apart, and while the database is away."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.support.metrics import Exposition
from tests.support.product import Product, Web, split, wait_until
from tests.support.services import free_port

RUNS_ON = "split"
pytestmark = pytest.mark.slow

WAITING = {"state": "waiting"}
CHATS = "coderd_chatd_chats"


@pytest.fixture(scope="module")
def product(server_url: str) -> Iterator[Product]:
    with split(server_url, CHATD_METRICS_PORT=str(free_port())) as started:
        yield started


def _shown(web: Web) -> Exposition | None:
    status, body = web.get("/metrics")
    return Exposition(body.decode()) if status == 200 else None


def _counts_waiting(web: Web) -> bool:
    shown = _shown(web)
    assert shown is not None
    return any((name, labels) == (CHATS, WAITING) for name, labels, _ in shown.samples)


def test_a_worker_serves_its_own_metrics_at_its_port(product: Product) -> None:
    worker = product.worker()
    asked = Web.__new__(Web)
    asked.port = int(product.environment["CHATD_METRICS_PORT"])
    wait_until(lambda: asked.get("/metrics")[0] == 200, 120, "the worker answers")
    shown = _shown(asked)
    assert shown is not None
    assert shown.types["coderd_chatd_steps_total"] == "counter"
    assert asked.get("/")[0] == 404
    assert worker.is_alive


def test_a_scrape_answers_while_the_database_is_away(product: Product, server_url: str) -> None:
    web = product.web()
    wait_until(lambda: _counts_waiting(web), 120, "the database says how many wait")
    name = urlsplit(product.environment["DATABASE_URL"]).path.strip("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(server_url, autocommit=True) as connection:
        try:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            assert web.get("/readyz")[0] == 503
            assert not _counts_waiting(web)
            assert not _counts_waiting(web), "nor does a second scrape wait for the first"
        finally:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    wait_until(lambda: _counts_waiting(web), 120, "the database says it again", pause=0.2)
