"""Several hosts start on one empty database at the same time."""

import json
import sys

import psycopg
import pytest

from tests.support.product import Process, Product, split, wait_until

RUNS_ON = "split"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

_PATIENCE = 180.0


def _prepare(product: Product) -> Process:
    process: Process = product.start("prepare", [sys.executable, "manage.py", "prepare"])
    return process


def test_one_host_migrates_and_the_others_wait_for_it(server_url: str) -> None:
    with split(server_url, prepared=False) as product:
        web, worker = product.web(ready=False), product.worker(ready=False)
        worker.wait_for_log("manage.py prepare", _PATIENCE)
        wait_until(lambda: web.get("/readyz")[0] == 503, _PATIENCE, "the web process serves")
        assert json.loads(web.get("/readyz")[1])["checks"]["database"] == "not migrated"
        hosts = [_prepare(product) for _ in range(2)]
        assert [host.wait(_PATIENCE) for host in hosts] == [0, 0], product.logs()
        made = [host for host in hosts if "administrator: admin" in host.log]
        assert len(made) == 1, "each found an administrator missing"
        worker.wait_for_log(" ready.", _PATIENCE)
        web.wait_until_ready(_PATIENCE)
        _gives_up_on_what_is_in_use(product)


def _gives_up_on_what_is_in_use(product: Product) -> None:
    """A migration neither waits for ever for a table nor leaves anything half done."""
    product.environment |= {"CHATD_MIGRATION_LOCK_SECONDS": "0.2"}
    with psycopg.connect(product.environment["DATABASE_URL"]) as reader:
        reader.execute("SELECT 1 FROM chats_chatmessage")
        refused = product.manage("migrate", "chats", "0013", check=False)
        assert refused.returncode == 1
        assert "was in use for too long" in refused.stderr, refused.stderr
    assert product.manage("migrate", "--check", check=False).returncode == 0
