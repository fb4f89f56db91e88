"""One product per data directory: a file lock that the kernel drops with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataDirectoryInUseError(Exception):
    """Another `up` runs on the same data directory."""


@contextmanager
def data_directory_lock(data_dir: Path) -> Iterator[None]:
    """Hold the lock of `data_dir`. Raises DataDirectoryInUseError, naming the holder."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise DataDirectoryInUseError(
                f"chatd is already running on {data_dir} (process {holder}). "
                "Stop it first, or set CHATD_DATA to another directory."
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
