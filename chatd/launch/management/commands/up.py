"""`manage.py up`: start the product with one command.

Without REDIS_URL everything runs in this process on SQLite (or DATABASE_URL). With REDIS_URL
this process supervises one web and one worker process, and is the beat itself.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatd.chattest.demo import DEMO_MODEL, serve_demo
from chatd.launch.beating import Beat
from chatd.launch.embedded import serve_embedded
from chatd.launch.first_start import (
    AddressUnusableError,
    Administrator,
    check_address,
    ensure_demo_model,
    prepare,
)
from chatd.launch.lock import DataDirectoryInUseError, data_directory_lock
from chatd.launch.processes import Supervisor, commands, listens
from chatd.launch.shared_metrics import fresh_metrics_folder
from config.env import env


class Command(BaseCommand):
    help = "Start chatd: web, worker and periodic jobs, with an offline demo model."
    requires_system_checks = ["security"]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on")

    def handle(self, *args: Any, host: str, port: int, **_: Any) -> None:
        try:
            with data_directory_lock(env.data_dir):
                check_address(host, port)
                self._start(host, port)
        except (DataDirectoryInUseError, AddressUnusableError) as error:
            raise CommandError(str(error)) from None

    def _start(self, host: str, port: int) -> None:
        administrator = prepare(env)
        demo = serve_demo("127.0.0.1", 0, pace=env.demo_pace)
        try:
            ensure_demo_model(base_url=demo.base_url, model=DEMO_MODEL)
            self._serve(host, port, administrator)
        finally:
            demo.stop()

    def _serve(self, host: str, port: int, administrator: Administrator | None) -> None:
        def announce() -> None:
            self._announce(host, port, administrator)

        if env.embedded:
            serve_embedded(env, host=host, port=port, announce=announce)
        else:
            roles = commands(env, host=host, port=port)
            folder = fresh_metrics_folder(env.data_dir)
            supervisor = Supervisor(
                roles,
                beat=Beat(env.data_dir / "beat-schedule"),
                is_ready=lambda: listens(host, port),
                metrics_folder=folder,
            )
            supervisor.run(announce)

    def _announce(self, host: str, port: int, administrator: Administrator | None) -> None:
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
        lines = [
            "",
            f"  chatd is ready:  http://{shown}:{port}/",
            f"  data directory:  {env.data_dir}",
        ]
        if administrator is not None:
            lines.append(f"  sign in as:      {administrator.username}")
            if administrator.password:
                lines.append(f"  password:        {administrator.password}   (shown only now)")
        lines += ["  stop with Ctrl-C", ""]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()
