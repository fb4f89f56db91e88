"""The runner of the whole suite: what runs when, and what it says in the end."""

from contextlib import nullcontext

import pytest

from tests import run
from tests.support import services

Started = list[tuple[str, list[str]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Runs that were started, with their arguments; each passes one test, but faults fail one."""
    started: Started = []

    def noted(name: str, database_url: str, redis_url: str, arguments: list[str]) -> run.Outcome:
        started.append((name, arguments))
        failed = int("faults" in name)
        return failed, {"passed": 1 - failed, "failed": failed, "skipped": 0}

    monkeypatch.setattr(run, "_run", noted)
    monkeypatch.setattr(services, "postgres", lambda: nullcontext("postgres://there"))
    monkeypatch.setattr(services, "redis", lambda: nullcontext("redis://there"))
    return started


def test_faults_are_played_once_after_all_other_tests_and_in_one_process(started: Started) -> None:
    run.main(["-n", "2"])
    names, arguments = zip(*started, strict=True)
    assert names == ("SQLite", "PostgreSQL", "a deployment under faults")
    assert [f"--ignore={run.FAULTS}" in each for each in arguments] == [True, True, False]
    assert arguments[2] == [str(run.FAULTS), "-n", "2", "-n", "0"]


def test_named_files_run_alone_on_both_databases(started: Started) -> None:
    run.main(["tests/faults", "-n", "0"])
    assert [name for name, _ in started] == ["SQLite", "PostgreSQL"]
    assert not any(f"--ignore={run.FAULTS}" in arguments for _, arguments in started)


def test_a_failure_of_any_run_fails_the_whole_and_is_in_its_one_summary(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["-n", "2"]) == 1
    summaries = [line for line in capsys.readouterr().out.splitlines() if " passed, " in line]
    assert summaries == ["2 passed, 1 failed, 0 skipped"]
