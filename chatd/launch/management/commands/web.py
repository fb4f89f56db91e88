"""`manage.py web`: one web process (pages, API, sockets); run as many as are needed."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from chatd.core.coverage import log_secrets_notice
from chatd.launch.embedded import run_server
from chatd.sockets.server import ChatdServer, server_config


class Command(BaseCommand):
    help = "Serve pages, API and sockets. Needs REDIS_URL and workers beside it; see `up`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, host: str, port: int, **_: Any) -> None:
        log_secrets_notice()
        run_server(ChatdServer(server_config(host=host, port=port)))
