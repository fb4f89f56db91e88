"""CPU and memory of process trees, from /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants that are alive."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        if not Path(f"/proc/{current}").exists():
            continue
        found.append(current)
        for task in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return what the trees have used so far, user and system, with their children that ended."""
    return sum(_cpu_of(pid) for root in roots for pid in tree(root))


def _cpu_of(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS  # utime, stime, cutime, cstime


def resident_mib(pid: int) -> float:
    """Return the resident memory of one process, shared pages included."""
    return _mib_in(Path(f"/proc/{pid}/status"), "VmRSS:")


def proportional_mib(pid: int) -> float:
    """Return the memory of one process, each shared page divided by those who share it."""
    return _mib_in(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _mib_in(file: Path, name: str) -> float:
    """Return what a file says in KiB under a name; 0 of a process that has ended."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / _KIB for line in lines if line.startswith(name)), 0.0)
