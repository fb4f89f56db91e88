"""A process per role, started and watched by one supervisor, which is also the beat.

A child that dies is started again, with a growing pause. A signal to the supervisor ends them
all; should the supervisor itself be killed, the kernel ends them.
"""

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

from chatd.launch.beating import Beat
from chatd.launch.shared_metrics import forget_process
from config.env import BASE_DIR, Environment, environment_of_child

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_STOP_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 10.0
_SETTLED_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Child:
    """One role: its command, its process, and when it may be started again."""

    name: str
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    not_before: float = field(default=0.0)


def commands(env: Environment, *, host: str, port: int) -> list[tuple[str, list[str]]]:
    """Return the documented command of each role."""
    celery = [sys.executable, "-m", "celery", "-A", "config.celery"]
    worker = [*celery, "worker", "-P", "threads", "-c", str(env.turn_slots)]
    return [
        ("web", [sys.executable, "manage.py", "web", "--host", host, "--port", str(port)]),
        ("worker", [*worker, "-Q", "turns,default", "--without-gossip", "--without-mingle"]),
    ]


def listens(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with socket.create_connection((reachable, port), timeout=1):
            return True
    except OSError:
        return False


class Supervisor:
    """Keeps children running until a signal comes."""

    def __init__(
        self,
        roles: Sequence[tuple[str, list[str]]],
        *,
        beat: Beat,
        is_ready: Callable[[], bool],
        metrics_folder: Path,
    ) -> None:
        self._children = [_Child(name, command) for name, command in roles]
        self._beat = beat
        self._is_ready = is_ready
        self._metrics_folder = metrics_folder
        self._stopping = False

    def run(self, announce: Callable[[], None]) -> None:
        """Start everything, watch it, announce when it is ready, return when a signal ended it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            for child in self._children:
                self._start(child)
            self._beat.start()
            announced = False
            while not self._stopping:
                for child in self._children:
                    self._watch(child)
                self._beat.watch()
                if not announced and self._is_ready():
                    announced = True
                    announce()
                time.sleep(_POLL_SECONDS)
        finally:
            self._beat.stop()
            self._stop_all()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self, child: _Child) -> None:
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(  # noqa: S603 - our own commands
            child.command,
            cwd=BASE_DIR,
            env=environment_of_child(PROMETHEUS_MULTIPROC_DIR=str(self._metrics_folder)),
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
        log.info("process started", role=child.name, pid=child.process.pid)

    def _watch(self, child: _Child) -> None:
        instant = time.monotonic()
        if child.process is None:
            if instant >= child.not_before:
                self._start(child)
        elif child.process.poll() is not None:
            settled = instant - child.started_at > _SETTLED_SECONDS
            child.failures = 1 if settled else child.failures + 1
            pause = min(0.5 * 2 ** (child.failures - 1), _LONGEST_PAUSE_SECONDS)
            log.error(
                "process ended",
                role=child.name,
                code=child.process.returncode,
                restart_in_seconds=pause,
            )
            forget_process(self._metrics_folder, child.process.pid)
            child.process, child.not_before = None, instant + pause

    def _stop_all(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _die_with_parent() -> None:
    """Have the kernel end this child when the supervisor is gone (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
