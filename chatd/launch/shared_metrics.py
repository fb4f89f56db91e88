"""The folder in which the processes of one start keep their metrics for each other."""

from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead


def fresh_metrics_folder(data_dir: Path) -> Path:
    """Return the folder, empty: what an earlier start counted is not counted again."""
    folder = data_dir / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    return folder


def forget_process(folder: Path, pid: int) -> None:
    """Drop the gauges of a process that has ended; what it counted stays."""
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
