"""The whole test suite: on SQLite, then on PostgreSQL, with Redis and Chromium where they are.

What is about no database runs once, in the first run. Faults are played in the end, beside nothing
else: they are about moments, which load on the machine moves.

`python tests/run.py [pytest arguments]`. CHATD_TEST_STRICT=1 makes a missing service a failure
instead of a loud skip. The last line sums up all runs for people and programs. Where arguments name
files, those run on both databases, and nothing else.
"""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import services  # noqa: E402 - the root must be importable first

WITHOUT_DATABASE = ("tests/chattest", "tests/live", "tests/llm")
"""What does the same in either run: wires, the testing kit, the live layer."""

FAULTS = ROOT / "tests" / "faults" / "test_faults.py"
"""Minutes of killing and restarting servers of its own; `make test-faults` plays all seeds."""

Outcome = tuple[int, dict[str, int]]
"""The exit code of a run of pytest, and how many tests passed, failed and were skipped."""

_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


def main(arguments: list[str]) -> int:
    with ExitStack() as stack:
        database_url = stack.enter_context(services.postgres())
        redis_url = stack.enter_context(services.redis())
        missing = [
            name
            for name, found in (
                ("PostgreSQL", database_url),
                ("Redis", redis_url),
                ("Chromium", services.chromium()),
                ("nginx", services.nginx()),
                ("libfaketime", services.faketime()),
            )
            if not found
        ]
        for name in missing:
            print(f"*** {name} was not found: the tests that need it are SKIPPED ***", flush=True)
        outcomes = _all_runs(arguments, database_url or "", redis_url or "")
    totals = {
        word: sum(counts[word] for _, counts in outcomes)
        for word in ("passed", "failed", "skipped")
    }
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    codes = [code for code, _ in outcomes]
    if any(code != _NOTHING_TO_RUN for code in codes):  # what was asked for may run on one alone
        codes = [code for code in codes if code != _NOTHING_TO_RUN]
    code = max(codes)
    if os.environ.get("CHATD_TEST_STRICT") == "1" and (missing or totals["skipped"]):
        print("a skipped test counts as a failure here (CHATD_TEST_STRICT=1)")
        code = code or 1
    return code


def _all_runs(arguments: list[str], database_url: str, redis_url: str) -> list[Outcome]:
    """Run pytest on either database; when no file is named, then on faults, in one process."""
    is_whole = not any((ROOT / each.partition("::")[0]).exists() for each in arguments)
    both = [*arguments, f"--ignore={FAULTS}"] if is_whole else arguments
    outcomes = [_run("SQLite", "", redis_url, both)]
    if database_url:
        print(f"=== what is about no database has run: {', '.join(WITHOUT_DATABASE)} ===")
        left_out = [f"--ignore={ROOT / folder}" for folder in WITHOUT_DATABASE]
        outcomes.append(_run("PostgreSQL", database_url, redis_url, [*both, *left_out]))
    if database_url and is_whole:
        alone = [str(FAULTS), *arguments, "-n", "0"]
        outcomes.append(_run("a deployment under faults", database_url, redis_url, alone))
    return outcomes


def _run(name: str, database_url: str, redis_url: str, arguments: list[str]) -> Outcome:
    print(f"=== tests on {name} ===", flush=True)
    with tempfile.TemporaryDirectory(prefix="chatd-test-") as data:
        environment = _environment() | {
            "CHATD_DATA": data,
            "DATABASE_URL": database_url,
            "CHATD_TEST_REDIS_URL": redis_url,
            "CHATD_LOG_LEVEL": os.environ.get("CHATD_LOG_LEVEL", "ERROR"),
        }
        command = [sys.executable, "-m", "pytest", *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        code = process.wait()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for number, word in _COUNT.findall(lines[-1] if lines else ""):
        counts["failed" if word.startswith("error") else word] += int(number)
    return code, counts


def _environment() -> dict[str, str]:
    """The environment without what would point the tests at somebody's deployment."""
    dropped = ("REDIS_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in dropped
        and (not name.startswith(("CHATD_", "OTEL_")) or name.startswith(_KEPT))
    }


_KEPT = ("CHATD_RECORDINGS", "CHATD_TEST_")
_NOTHING_TO_RUN = 5


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
