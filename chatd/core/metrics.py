"""Every metric of the product, as data, and the functions that count.

Belongs here: names, types, labels and buckets, which are what existing dashboards read. Does not
belong here: who may read them, and what a scrape looks up (`turns/scrape.py`).

Processes that share a folder (`PROMETHEUS_MULTIPROC_DIR`) are shown together by each of them.
Labels never name people or chats, and have few values.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

CHATD = "coderd_chatd_"
PURGE = "coderd_dbpurge_"
"""Deleting and archiving what is due is under the name that dashboards know it by."""

UNKNOWN_TOOL = "unknown"
"""Stands for every name that a model made up."""

_MODEL = ("provider", "model")
_TOOL = (*_MODEL, "tool_name")


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. `kind`: counter, gauge, histogram; `across`: how processes become one gauge."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    across: str = "livesum"


def _powers(first: float, factor: int, count: int) -> tuple[float, ...]:
    return tuple(first * factor**exponent for exponent in range(count))


DEFINITIONS = (
    Definition(CHATD + "chats", "gauge", "Chats being worked on, by state.", ("state",)),
    Definition(
        CHATD + "message_count",
        "histogram",
        "Messages in the prompt of a step.",
        _MODEL,
        _powers(1, 2, 11),
    ),
    Definition(
        CHATD + "prompt_size_bytes",
        "histogram",
        "Bytes of the request of a step.",
        _MODEL,
        _powers(1024, 4, 10),
    ),
    Definition(
        CHATD + "tool_result_size_bytes",
        "histogram",
        "Bytes of the result of a tool call.",
        _TOOL,
        _powers(64, 4, 9),
    ),
    Definition(CHATD + "tool_errors_total", "counter", "Tool calls that ended in an error.", _TOOL),
    Definition(
        CHATD + "ttft_seconds",
        "histogram",
        "Seconds from a model call to the first piece of its answer.",
        _MODEL,
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    ),
    Definition(
        CHATD + "compaction_total",
        "counter",
        "Compactions of a history, by result.",
        (*_MODEL, "result"),
    ),
    Definition(CHATD + "steps_total", "counter", "Steps that were begun.", _MODEL),
    Definition(
        CHATD + "stream_retries_total",
        "counter",
        "Model calls that failed and are made again.",
        (*_MODEL, "kind", "chain_broken"),
    ),
    Definition(
        CHATD + "stream_buffer_dropped_total",
        "counter",
        "Streamed events that a buffer lost, and that were made good from what is kept elsewhere.",
    ),
    Definition(CHATD + "streams_active", "gauge", "Model calls that are streamed now."),
    Definition(
        CHATD + "stream_buffer_size_max",
        "gauge",
        "Entries of the longest part log that is written now.",
        across="livemax",
    ),
    Definition(
        CHATD + "stream_buffer_events", "gauge", "Entries of all part logs that are written now."
    ),
    Definition(CHATD + "stream_subscribers", "gauge", "Sockets that follow a chat."),
    Definition(
        PURGE + "chat_auto_archive_records_archived_total",
        "counter",
        "Chats archived because nobody wrote in them, sub-chats included.",
    ),
    Definition(
        PURGE + "records_purged_total",
        "counter",
        "Rows deleted because their time had come.",
        ("record_type",),
    ),
    Definition(
        PURGE + "iteration_duration_seconds",
        "histogram",
        "Seconds of one round of deleting and archiving.",
        ("success",),
        (1, 5, 10, 30, 60, 300, 600),
    ),
)

REGISTRY = CollectorRegistry(auto_describe=False)


def _made(definition: Definition) -> Any:
    given = (definition.name, definition.meaning, definition.labels)
    match definition.kind:
        case "counter":
            return Counter(*given, registry=REGISTRY)
        case "gauge":
            mode: Any = definition.across
            return Gauge(*given, registry=REGISTRY, multiprocess_mode=mode)
        case "histogram":
            return Histogram(*given, registry=REGISTRY, buckets=definition.buckets)
    raise ValueError(definition.kind)


# Instants of creation would be metrics that nobody asked for.
disable_created_metrics()  # type: ignore[no-untyped-call]
_metrics = {definition.name: _made(definition) for definition in DEFINITIONS}
CHATS = CHATD + "chats"
_metrics[CHATS].labels("streaming")  # shown from the start, as 0


def _of(name: str, *labels: str) -> Any:
    metric = _metrics[name]
    return metric.labels(*labels) if labels else metric


# turns


def running_turn() -> AbstractContextManager[None]:
    """Count a turn as one that a worker has in hand, until the block is left."""
    tracking: AbstractContextManager[None] = _of(CHATS, "streaming").track_inprogress()
    return tracking


class StepMeter:
    """Counts one step: its model calls until one of them answers.

    `first_piece_seconds` is how long the latest of them took to say something; None before it has.
    """

    def __init__(self, provider: str, model: str, *, messages: int) -> None:
        self.first_piece_seconds: float | None = None
        self._labels = (provider, model)
        self._is_sized = False
        _of(CHATD + "steps_total", *self._labels).inc()
        _of(CHATD + "message_count", *self._labels).observe(messages)

    def sized(self, size: int) -> None:
        """Take the bytes of the request; those of later tries are the same."""
        if not self._is_sized:
            self._is_sized = True
            _of(CHATD + "prompt_size_bytes", *self._labels).observe(size)

    def first_piece(self, asked_at: float) -> None:
        """Take the time since `asked_at` (monotonic seconds)."""
        seconds = time.monotonic() - asked_at
        self.first_piece_seconds = seconds
        _of(CHATD + "ttft_seconds", *self._labels).observe(seconds)

    def retried(self, kind: str, *, chain_broken: bool) -> None:
        """Count a failure after which the call is made again."""
        self.first_piece_seconds = None
        broken = "true" if chain_broken else "false"
        _of(CHATD + "stream_retries_total", *self._labels, kind, broken).inc()


def count_tool_result(
    provider: str, model: str, tool_name: str, *, size: int, is_error: bool
) -> None:
    """Count the result of a tool call; `tool_name` is of an active tool, or `UNKNOWN_TOOL`."""
    labels = (provider, model, tool_name)
    _of(CHATD + "tool_result_size_bytes", *labels).observe(size)
    if is_error:
        _of(CHATD + "tool_errors_total", *labels).inc()


def count_compaction(provider: str, model: str, result: str) -> None:
    """Count a compaction; `result` is success, error or timeout."""
    _of(CHATD + "compaction_total", provider, model, result).inc()


# streams


def count_dropped(events: int) -> None:
    """Count events that a buffer lost."""
    _of(CHATD + "stream_buffer_dropped_total").inc(events)


def count_subscriber(change: int) -> None:
    """Count a socket that begins (1) or ends (-1) to follow a chat."""
    _of(CHATD + "stream_subscribers").inc(change)


def show_streams(entries: list[int]) -> None:
    """Show the streams of this process: the entries in the part log of each."""
    _of(CHATD + "streams_active").set(len(entries))
    _of(CHATD + "stream_buffer_events").set(sum(entries))
    _of(CHATD + "stream_buffer_size_max").set(max(entries, default=0))


looked_at: list[Callable[[], None]] = []
"""What is not counted as it happens: each shows its gauges when it is called."""


def refresh() -> None:
    """Bring the gauges of this process up to date; cheap, and from any thread."""
    for show in looked_at:
        show()


# time


def count_purged(record_type: str, count: int) -> None:
    """Count rows that were deleted: chats, chat_files, chat_debug_runs."""
    _of(PURGE + "records_purged_total", record_type).inc(count)


def count_archived(chats: int) -> None:
    """Count chats that were archived because nobody wrote in them."""
    _of(PURGE + "chat_auto_archive_records_archived_total").inc(chats)


@contextmanager
def purge_round() -> Iterator[None]:
    """Measure one round of deleting and archiving; an exception is no success."""
    started, success = time.monotonic(), "false"
    try:
        yield
        success = "true"
    finally:
        seconds = time.monotonic() - started
        _of(PURGE + "iteration_duration_seconds", success).observe(seconds)
