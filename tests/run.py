"""The whole test suite: on SQLite, then on PostgreSQL, with Redis and Chromium where they are.

What is about no database runs once, in the first run.

`python tests/run.py [pytest arguments]`. CHATD_TEST_STRICT=1 makes a missing service a failure
instead of a loud skip. The last line sums up both runs for people and programs.
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
"""Minutes of killing and restarting, run where seeds are asked for (`make test-faults`)."""

_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


def main(arguments: list[str]) -> int:
    strict = os.environ.get("CHATD_TEST_STRICT") == "1"
    if "CHATD_TEST_FAULT_SEEDS" not in os.environ:
        arguments = [*arguments, f"--ignore={FAULTS}"]
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
            )
            if not found
        ]
        for name in missing:
            print(f"*** {name} was not found: the tests that need it are SKIPPED ***", flush=True)
        outcomes = [_run("SQLite", "", redis_url or "", arguments)]
        if database_url:
            print(f"=== what is about no database has run: {', '.join(WITHOUT_DATABASE)} ===")
            left_out = [f"--ignore={ROOT / folder}" for folder in WITHOUT_DATABASE]
            again = [*arguments, *left_out]
            outcomes.append(_run("PostgreSQL", database_url, redis_url or "", again))
    totals = {
        word: sum(counts[word] for _, counts in outcomes)
        for word in ("passed", "failed", "skipped")
    }
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    codes = [code for code, _ in outcomes]
    if any(code != _NOTHING_TO_RUN for code in codes):  # what was asked for may run on one alone
        codes = [code for code in codes if code != _NOTHING_TO_RUN]
    code = max(codes)
    if strict and (missing or totals["skipped"]):
        print("a skipped test counts as a failure here (CHATD_TEST_STRICT=1)")
        code = code or 1
    return code


def _run(
    name: str, database_url: str, redis_url: str, arguments: list[str]
) -> tuple[int, dict[str, int]]:
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
