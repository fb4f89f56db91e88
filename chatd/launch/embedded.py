"""Everything in one process: web server, turn loop, Celery worker and beat on memory."""

import asyncio
import signal
import threading
from collections.abc import Callable

from celery.worker import WorkController
from celery.worker import state as worker_state

from chatd.core.coverage import log_secrets_notice
from chatd.launch.beating import Beat
from chatd.sockets.server import ChatdServer, server_config
from chatd.turns.runtime import process_runtime, stop_process_runtime
from config.celery import app
from config.env import Environment

_JOIN_SECONDS = 5.0


class BackgroundWorker:
    """A Celery worker and beat on threads of this process."""

    def __init__(self, env: Environment) -> None:
        self._worker: WorkController = app.WorkController(
            app=app,
            pool="threads",
            concurrency=env.turn_slots,
            queues=["turns", "default"],
            loglevel=env.log_level,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._thread = threading.Thread(target=self._worker.start, name="chatd-celery", daemon=True)
        self._beat = Beat(env.data_dir / "beat-schedule")

    def start(self) -> None:
        process_runtime()
        self._thread.start()
        self._beat.start()

    def stop(self) -> None:
        """Give running turns back, then end worker and beat."""
        stop_process_runtime()
        worker_state.should_stop = 0  # type: ignore[assignment]
        self._beat.stop()
        self._thread.join(_JOIN_SECONDS)


def serve_embedded(env: Environment, *, host: str, port: int, announce: Callable[[], None]) -> None:
    """Serve until a signal comes; running turns are given back before sockets are closed."""
    log_secrets_notice()
    worker = BackgroundWorker(env)
    worker.start()
    server = ChatdServer(
        server_config(host=host, port=port), announce=announce, before_close=worker.stop
    )
    run_server(server)


def run_server(server: ChatdServer) -> None:
    """Run a server on uvloop; an interrupt from the keyboard and SIGTERM are normal ends.

    The server raises the signal that stopped it once more when it is done. By default SIGTERM would
    then kill the process before its own clean-up, with the exit code of a crash.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve())
    except KeyboardInterrupt:
        return
