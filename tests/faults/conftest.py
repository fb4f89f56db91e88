"""What a run of the fault suite says in the end, whatever pytest captures."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.runs import pytest_collection_modifyitems, pytest_runtest_makereport

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print every fault of every seed, and what all of them cost by fault."""
    told = [
        pair
        for kind in ("passed", "failed", "skipped")
        for report in terminalreporter.getreports(kind)
        if report.when == "call"
        for pair in report.user_properties
    ]
    lines = [str(value) for name, value in told if name == "fault"]
    if not lines:
        return
    terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)
    verdicts = [value for name, value in told if name == "verdict"]
    by_fault: dict[str, list[Any]] = defaultdict(list)
    for verdict in verdicts:
        by_fault[verdict[1]].append(verdict)
    terminalreporter.section("faults in sum")
    for fault, rows in sorted(by_fault.items()):
        terminalreporter.write_line(f"{fault:25} {len(rows):3} times: {_summed(rows)}")
    seeds = len({seed for seed, *_ in verdicts})
    title = f"{seeds} seeds, {len(by_fault)} faults"
    terminalreporter.write_line(f"{title:25} {len(verdicts):3} times: {_summed(verdicts)}")


def _summed(verdicts: Sequence[tuple[int, str, float, Sequence[int]]]) -> str:
    """Return what verdicts (seed, fault, seconds, counts) come to together."""
    lost, doubled, stuck, unclean, money = map(
        sum, zip(*(each[3] for each in verdicts), strict=True)
    )
    slowest = max(seconds for _, _, seconds, _ in verdicts)
    return (
        f"lost {lost}, doubled {doubled}, stuck {stuck}, unclean {unclean}, money {money};"
        f" well after {slowest:.1f} s at most"
    )
