"""The processes of a measurement: provider, floor, and the product in the shape of production.

PostgreSQL and Redis are started here, with the durability they are run with, so that what they
compute and hold can be counted; nothing that runs on the machine already is used.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.chat import processes
from tests.support.product import Product, Web, embedded, split
from tests.support.services import (
    PostgresServer,
    free_port,
    wait_for_port,
)

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 30.0


@dataclass(slots=True)
class Staged:
    """What runs. `services` are PostgreSQL and Redis by name, with their process ids."""

    product: Product
    web: Web
    model: str
    token: str
    services: dict[str, int] = field(default_factory=dict)
    started_in_seconds: float = 0.0

    def cpu(self) -> float:
        """Return the CPU seconds of all processes: chatd's, PostgreSQL's and Redis'."""
        return processes.cpu_seconds([self.web.pid, *self.services.values()])

    def cpu_by_role(self) -> dict[str, float]:
        found = {name: processes.cpu_seconds([pid]) for name, pid in self.services.items()}
        for name, pid in self.roles().items():
            found[name] = processes.cpu_seconds([pid])
        children = sum(found[name] for name in self.roles() if name != "supervisor")
        found["supervisor"] -= children  # what was counted with its tree
        return found

    def roles(self) -> dict[str, int]:
        """Return the processes of chatd by role: supervisor, web, worker, beat."""
        children = processes.tree(self.web.pid)[1:]
        return {"supervisor": self.web.pid} | {_role(pid): pid for pid in children}


def _role(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next((role for role in ("web", "worker", "beat") if role in words), f"child {pid}")


@contextmanager
def started(command: list[str], port: int) -> Iterator[int]:
    """Run a server of this folder on a port and yield its process id."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.defpath}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_for_port(port, process, _START_SECONDS)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def provider(port: int = 0) -> Iterator[str]:
    """Yield the base URL of a paced provider."""
    port = port or free_port()
    with started([sys.executable, "-m", "bench.chat.provider", str(port)], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def floor(provider_url: str) -> Iterator[tuple[str, int]]:
    """Yield URL and process id of the floor."""
    port = free_port()
    command = [sys.executable, "-m", "bench.chat.floor", str(port), f"{provider_url}/v1"]
    with started(command, port) as pid:
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def postgres() -> Iterator[tuple[str, int]]:
    """Yield URL and process id of a PostgreSQL server that loses nothing it has committed."""
    with (
        tempfile.TemporaryDirectory(prefix="chatd-bench-pg-") as folder,
        PostgresServer(Path(folder), shared_buffers="256MB") as server,
    ):
        yield server.url, server.pids[0]


@contextmanager
def production(provider_url: str, **settings: str) -> Iterator[Staged]:
    """Yield the product as it is run in production: web, worker, beat, PostgreSQL, Redis."""
    with ExitStack() as stack:
        url, postgres_pid = stack.enter_context(postgres())
        product = stack.enter_context(split(url, **settings))
        assert product.redis is not None
        services = {"PostgreSQL": postgres_pid, "Redis": product.redis.pid}
        yield _up(product, provider_url, services)


@contextmanager
def single(provider_url: str, **settings: str) -> Iterator[Staged]:
    """Yield the product as a newcomer runs it: one process, SQLite, no Redis."""
    with embedded(**settings) as product:
        product.manage("prepare")
        yield _up(product, provider_url, {})


def _up(product: Product, provider_url: str, services: dict[str, int]) -> Staged:
    [model] = product.add_models({"base_url": f"{provider_url}/v1", "model": "bench"})
    began = time.monotonic()
    web = product.up()
    seconds = time.monotonic() - began
    return Staged(product, web, model, product.token(), services, seconds)


def use_uvloop() -> None:
    uvloop.install()
