"""The product as real processes, for tests from the outside.

A `Product` owns a data directory, a database and what it has started, and ends all of it. It runs
embedded (`manage.py up` on SQLite) or split (webs and workers on PostgreSQL and Redis). Nothing of
the environment of the test run reaches the processes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, build_opener
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.support.client import Client
from tests.support.services import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
ADMIN_PASSWORD = "a-password-of-the-tests"
START_SECONDS = 180.0
COMMAND_SECONDS = 400.0
STOP_SECONDS = 90.0

_OUTER = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST")

SMALL = {
    ("anthropic", "claude-haiku-4-5"),
    ("azure", "gpt-4o-mini"),
    ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("google", "gemini-2.5-flash"),
    ("openai", "gpt-4o-mini"),
    ("openrouter", "anthropic/claude-3.5-haiku"),
    ("vercel", "anthropic/claude-haiku-4.5"),
}
"""Models that titles are asked of where they are there, whatever the model of a chat."""

_ADD_MODELS = """
import json
from decimal import Decimal
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.pricing import Prices
made = []
for row in json.loads({rows!r}):
    provider = save_provider(
        AIProvider(
            type=row["kind"],
            name=row["name"],
            display_name=row["display_name"],
            base_url=row["base_url"],
        ),
        new_key=row["key"],
    )
    config = ModelConfig(
        ai_provider=provider, model=row["model"], options=row["options"],
        is_default=row["is_default"],
    )
    prices = Prices(**{{name: Decimal(price) for name, price in row["prices"].items()}})
    made.append(str(save_model_config(config, prices=prices).pk))
print(json.dumps(made))
"""

_ENSURE_ADMIN = """
from chatd.launch.first_start import ensure_administrator
from config.env import env
ensure_administrator(env)
"""


def scrubbed_environment() -> dict[str, str]:
    """Return this process's environment without what configures the product or the test run."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _OUTER and not name.startswith(("CHATD_", "COV_", "OTEL_"))
    }


def has_redis_server() -> bool:
    return shutil.which("redis-server") is not None


def wait_until(
    is_met: Callable[[], bool], seconds: float, what: str, *, pause: float = 0.02
) -> None:
    """Return as soon as a state outside of this process is reached. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not is_met():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(pause)


class Process:
    """One started process; everything it prints is in `log`."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log_file = log
        with log.open("wb") as out:
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started, not to its children."""
        if self.is_alive:
            self.popen.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Return the exit code. Raises AssertionError when the process does not end in time."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:g} s") from None

    def kill(self) -> None:
        """End it like a crash: no clean-up of its own runs."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end, as a supervisor does, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait_for_log(self, text: str, seconds: float = START_SECONDS) -> None:
        """Return when `text` has been printed. Raises AssertionError with the log."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            if not self.is_alive or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} never said {text!r}:\n{self.log}")
            time.sleep(0.02)


class Web(Process):
    """A process that serves HTTP on `port`."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a plain GET; 0 while nothing answers."""
        opener = build_opener(ProxyHandler({}))
        try:
            with opener.open(self.url + path, timeout=120) as answer:
                return int(answer.status), answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()
        except (URLError, OSError):
            return 0, b""

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when `/readyz` says so. Raises AssertionError with the log."""
        deadline = time.monotonic() + seconds
        while self.get("/readyz")[0] != 200:
            if not self.is_alive or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not ready:\n{self.log}")
            time.sleep(0.05)


class RedisProcess:
    """A Redis server of one product, which tests may stop, start again and empty."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def start(self) -> Self:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._popen = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self._popen, START_SECONDS)
        return self

    def kill(self) -> None:
        """End it at once; what it held is lost."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None


class Product:
    """A deployment under test. Use `embedded()` or `split()` to get one."""

    running: "list[Product]" = []

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str = "",
        redis_url: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.processes: list[Process] = []
        self.redis: RedisProcess | None = None
        self._started = 0
        self._token = ""
        self.environment = scrubbed_environment() | {
            "CHATD_DATA": str(self.data),
            "CHATD_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **({"DATABASE_URL": database_url} if database_url else {}),
            **({"REDIS_URL": redis_url} if redis_url else {}),
            **(settings or {}),
        }

    # processes

    def start(
        self,
        name: str,
        command: Sequence[str],
        kind: type[Process] = Process,
        *,
        without: Sequence[str] = (),
        **extra: str,
    ) -> Any:
        """Start a command of the product and return its process."""
        self._started += 1
        environment = {**self.environment, **extra}
        for variable in without:
            environment.pop(variable, None)
        log = self.folder / f"{self._started:02}-{name}.log"
        process = kind(f"{name} #{self._started}", command, environment, log)
        self.processes.append(process)
        return process

    def up(
        self, *, port: int | None = None, ready: bool = True, without: Sequence[str] = ()
    ) -> Web:
        """Start `manage.py up` and return it, ready to serve."""
        port = port or free_port()
        command = [sys.executable, "manage.py", "up", "--port", str(port)]
        web: Web = self.start("up", command, Web, without=without)
        web.port = port
        if ready:
            web.wait_until_ready()
            web.wait_for_log("chatd is ready")
        return web

    def web(self, *, ready: bool = True, **extra: str) -> Web:
        """Start one web process and return it, ready to serve."""
        port = free_port()
        command = [sys.executable, "manage.py", "web", "--port", str(port)]
        web: Web = self.start("web", command, Web, **extra)
        web.port = port
        if ready:
            web.wait_until_ready()
        return web

    def worker(self, *, ready: bool = True, turns: int = 8, **extra: str) -> Process:
        """Start one worker process of so many turns at once and return it, consuming."""
        command = [sys.executable, "-m", "celery", "-A", "config.celery", "worker"]
        command += ["-P", "threads", "-c", str(turns), "-Q", "turns,default"]
        command += ["--without-gossip", "--without-mingle", "-n", f"w{self._started}@%h"]
        worker: Process = self.start("worker", command, **extra)
        if ready:
            worker.wait_for_log(" ready.")
        return worker

    def manage(
        self, *arguments: str, check: bool = True, seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"manage.py {arguments[0]}: {done.stdout}{done.stderr}")
        return done

    def shell(self, script: str) -> str:
        """Run Python inside the product and return what it printed."""
        return self.manage("shell", "--no-imports", "-v", "0", "-c", script).stdout

    # people and models

    def token(self, username: str = "admin") -> str:
        """Return a new API token."""
        return self.manage("token", username).stdout.strip()

    def client(self, web: Web) -> Client:
        """Return a client of `web` that acts as the administrator."""
        self._token = self._token or self.token()
        return Client(web.url, self._token)

    def add_models(self, *rows: Mapping[str, Any]) -> list[str]:
        """Create a provider with one model per row and return the ids of the model configs.

        Members of a row: base_url; kind, display_name, key, model, options, prices (texts),
        is_default where they matter.
        """
        whole = [
            {
                "kind": "openai-compat",
                "name": f"fake-{uuid4().hex[:8]}",
                "display_name": "",
                "key": "e2e-fake-provider-key",
                "model": "fake-model",
                "options": {},
                "prices": {},
                "is_default": False,
                **row,
            }
            for row in rows
        ]
        # titles of all other chats of the product would be asked of it
        assert not SMALL & {(row["kind"], row["model"]) for row in whole}, "a small model"
        made: list[str] = json.loads(self.shell(_ADD_MODELS.format(rows=json.dumps(whole))))
        return made

    # the end

    def logs(self, lines: int = 60) -> str:
        """Return the last lines of every process, for reports of failures."""
        pieces = []
        for process in self.processes:
            code = process.popen.poll()
            pieces.append(f"--- {process.name} pid {process.pid} exit {code}")
            pieces += process.log.splitlines()[-lines:]
        return "\n".join(pieces)

    def close(self) -> None:
        """End whatever still runs: asked first, then forced."""
        alive = [process for process in self.processes if process.is_alive]
        for process in alive:
            process.signal(signal.SIGTERM)
        for process in alive:
            try:
                process.wait(STOP_SECONDS)
            except AssertionError:
                process.kill()


@contextmanager
def embedded(**settings: str) -> Iterator[Product]:
    """Yield a product on SQLite that has not been started; `up()` starts it."""
    with _folder() as folder, _open(Product(folder, settings=settings)) as product:
        yield product


@contextmanager
def split(server_url: str, *, prepared: bool = True, **settings: str) -> Iterator[Product]:
    """Yield a product on a fresh PostgreSQL database and a Redis of its own.

    It is migrated and has an administrator; with `prepared=False` the database is empty.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        redis = RedisProcess(folder).start()
        stack.callback(redis.kill)
        database_url = stack.enter_context(_fresh_database(server_url))
        product = Product(folder, database_url=database_url, redis_url=redis.url, settings=settings)
        product.redis = redis
        stack.enter_context(_open(product))
        if prepared:
            product.manage("migrate", "-v", "0")
            product.shell(_ENSURE_ADMIN)
        yield product


@contextmanager
def _open(product: Product) -> Iterator[Product]:
    Product.running.append(product)
    try:
        yield product
    finally:
        try:
            product.close()
        finally:
            Product.running.remove(product)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chatd-e2e-") as name:
        yield Path(name)


@contextmanager
def _fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new database on a server, and drop it in the end."""
    name = f"chatd_e2e_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
