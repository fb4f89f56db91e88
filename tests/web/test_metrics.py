"""Who may read `/metrics`, and what a scrape asks the database."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.test import Client

from chatd.launch.beating import Beat
from chatd.launch.processes import Supervisor
from chatd.launch.shared_metrics import forget_process, fresh_metrics_folder
from chatd.providers.models import ModelConfig
from chatd.turns import scrape
from config.env import env
from tests.api.client import Chats
from tests.conftest import Cast
from tests.support.metrics import Exposition

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-tests"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("2001:db8::/32"))
    changed = replace(env, metrics_allowed=networks, metrics_token=TOKEN)
    monkeypatch.setattr(scrape, "env", changed)


def ask(address: str, *, method: str = "get", **headers: str) -> int:
    client = Client(enforce_csrf_checks=True)
    answer = getattr(client, method)("/metrics", REMOTE_ADDR=address, headers=headers)
    return int(answer.status_code)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "2001:db8::7"]
)
def test_this_host_and_allowed_networks_may_read(guarded, exposed, address: str) -> None:
    assert ask(address) == 200


@pytest.mark.parametrize(
    "address", ["10.2.0.1", "::ffff:10.2.0.1", "192.0.2.1", "2001:db9::1", "", "nonsense"]
)
def test_everybody_else_finds_nothing_whatever_they_send(guarded, exposed, address: str) -> None:
    for method in ("get", "head", "post", "put", "delete"):
        assert ask(address, method=method) == 404
    for header in (f"Bearer {TOKEN}x", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        assert ask(address, Authorization=header) == 404
    assert ask(address, **{"X-Forwarded-For": "127.0.0.1"}) == 404


def test_the_token_opens_it_from_anywhere(guarded, exposed) -> None:
    assert ask("192.0.2.1", Authorization=f"Bearer {TOKEN}") == 200
    assert ask("192.0.2.1", Authorization=f"bearer  {TOKEN}") == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer  ", ""])
def test_without_a_token_none_opens_it(exposed, header: str) -> None:
    assert env.metrics_token == ""
    assert ask("192.0.2.1", Authorization=header) == 404
    assert ask("127.0.0.1", Authorization=header) == 200


def test_it_is_only_read(exposed) -> None:
    assert ask("127.0.0.1", method="post") == 405


@pytest.mark.django_db(transaction=True)
def test_chats_that_wait_for_a_worker_are_counted(cast: Cast, model: ModelConfig) -> None:
    chats = Chats(cast.alice, cast.organization, model)
    assert scrape.waiting_chats() == 0
    chats.pending()
    chats.pending()
    chats.running()
    chats.waiting()
    assert scrape.waiting_chats() == 2
    shown = Exposition(scrape.exposition().decode())
    assert shown.value("coderd_chatd_chats", state="waiting") == 2


def test_a_database_that_does_not_answer_is_asked_once_and_left_out(monkeypatch) -> None:
    asked, released = [], threading.Event()

    def count() -> int:
        asked.append(1)
        released.wait(60)
        return 7

    monkeypatch.setattr(scrape, "_count_waiting", count)
    monkeypatch.setattr(scrape, "WAITING_SECONDS", 0.01)
    try:
        for _ in range(3):
            shown = Exposition(scrape.exposition().decode())
            states = [labels for name, labels, _ in shown.samples if name.endswith("_chats")]
            assert states == [{"state": "streaming"}]
        assert asked == [1]
    finally:
        released.set()
    pending = scrape._asked
    assert pending is not None
    assert pending.result(60) == 7


def test_processes_that_share_a_folder_are_shown_together(
    monkeypatch, exposed, tmp_path: Path
) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "counter_1.db").write_bytes(b"of an earlier start")
    folder = fresh_metrics_folder(tmp_path)
    assert list(folder.iterdir()) == []
    pids = [_counting(folder, entries) for entries in ([3, 4], [9])]
    monkeypatch.setattr(scrape, "env", replace(env, metrics_dir=str(folder)))
    prefix = "coderd_chatd_stream"
    shown = exposed()
    gauges = ("s_active", "_buffer_events", "_buffer_size_max")
    assert [shown.value(prefix + name) for name in gauges] == [3, 16, 9]
    assert shown.value(prefix + "_buffer_dropped_total") == 10
    forget_process(folder, pids[1])
    shown = exposed()
    assert [shown.value(prefix + name) for name in gauges] == [2, 7, 4]
    assert shown.value(prefix + "_buffer_dropped_total") == 10


def _counting(folder: Path, entries: list[int]) -> int:
    """Have another process show streams and lose five events; returns its pid."""
    script = (
        "import os; from chatd.core import metrics;"
        f" metrics.show_streams({entries!r}); metrics.count_dropped(5); print(os.getpid())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_a_process_that_ends_takes_its_gauges_along(tmp_path: Path) -> None:
    folder = fresh_metrics_folder(tmp_path)
    script = "from chatd.core import metrics; metrics.show_streams([1]); metrics.count_dropped(1)"
    roles = [("short", [sys.executable, "-c", script])]
    beat = Beat(tmp_path / "schedule")
    supervisor = Supervisor(roles, beat=beat, is_ready=lambda: False, metrics_folder=folder)
    (child,) = supervisor._children
    supervisor._start(child)
    assert child.process is not None
    assert child.process.wait(60) == 0
    pid = child.process.pid
    assert (folder / f"gauge_livesum_{pid}.db").exists()
    supervisor._watch(child)
    assert child.process is None
    assert [each.name for each in folder.glob("gauge_live*")] == []
    assert (folder / f"counter_{pid}.db").exists()
