"""What a run of the fault suite says in the end, whatever pytest captures."""

from collections import defaultdict
from typing import Any

import pytest

from tests.support.runs import pytest_collection_modifyitems, pytest_runtest_makereport

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print every fault of every seed, and what all of them cost by fault."""
    told = [
        pair
        for kind in ("passed", "failed")
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
    by_fault: dict[str, list[Any]] = defaultdict(list)
    for name, value in told:
        if name == "verdict":
            by_fault[value[1]].append(value)
    terminalreporter.section("faults in sum")
    for fault, rows in sorted(by_fault.items()):
        lost, doubled, stuck, unclean, money = (
            sum(row[3][place] for row in rows) for place in range(5)
        )
        slowest = max(row[2] for row in rows)
        terminalreporter.write_line(
            f"{fault:22} {len(rows):3} times: lost {lost}, doubled {doubled}, stuck {stuck},"
            f" unclean {unclean}, money {money}; well after {slowest:.1f} s at most"
        )
