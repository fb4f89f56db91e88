"""Celery's beat on a thread of a process that has other work: it only sends what is due."""

from pathlib import Path
from typing import Any

import structlog
from celery import beat

from config.celery import app

log = structlog.get_logger(__name__)

_JOIN_SECONDS = 5.0


class Beat:
    """One beat. A second one beside it is harmless: every periodic task may run twice."""

    def __init__(self, schedule: Path) -> None:
        self._schedule = schedule
        self._service: Any = None

    def start(self) -> None:
        """Begin, or begin again."""
        schedule = str(self._schedule)
        self._service = beat.EmbeddedService(app, thread=True, schedule_filename=schedule)
        self._service.start()

    def watch(self) -> None:
        """Begin again when the thread has ended by itself."""
        if self._service is not None and not self._service.is_alive():
            log.error("beat ended; it is started again")
            self.start()

    def stop(self) -> None:
        """End it; waits a moment for what is being sent."""
        if self._service is not None:
            # Not its own `stop`: that waits for ever for a beat that could not write its schedule.
            self._service.service.stop()
            self._service.join(_JOIN_SECONDS)
