"""What passed in one HTTP call to a provider, for who wants to look at it afterwards.

It holds keys and headers as they were sent: who stores it redacts it first (`redaction`).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from chatd.llm.errors import LLMError

CAPTURED_BYTES = 50_000


class AttemptStatus(StrEnum):
    COMPLETED = "completed"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(slots=True, kw_only=True)
class HttpAttempt:
    """One request and what came back. `response_body` begins as the answer did, and may be cut.

    `error` is set when the call failed, also by what a good answer held.
    """

    method: str = ""
    url: str = ""
    request_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_body: bytes = field(default=b"", repr=False)
    response_status: int = 0
    response_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    response_chunks: list[bytes] = field(default_factory=list, repr=False)
    response_bytes: int = 0
    status: AttemptStatus = AttemptStatus.INTERRUPTED
    error: LLMError | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration_seconds: float = 0.0

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def response_body(self) -> bytes:
        return b"".join(self.response_chunks)

    def sent(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method, self.url, self.request_headers, self.request_body = method, url, headers, body

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self.response_status, self.response_headers = status, dict(headers)

    def received(self, chunk: bytes) -> None:
        """Keep a piece of the answer; those after the first `CAPTURED_BYTES` are only counted."""
        if self.response_bytes < CAPTURED_BYTES:
            self.response_chunks.append(chunk)
        self.response_bytes += len(chunk)


Observer = Callable[[HttpAttempt], None]
"""Told of each HTTP call when it has ended, however it did. Must neither wait nor raise."""


@contextmanager
def observed(observer: Observer | None) -> Iterator[HttpAttempt]:
    """Yield what a call is to write down, and tell the observer when it is over."""
    attempt, began = HttpAttempt(), time.monotonic()
    try:
        yield attempt
        attempt.status = AttemptStatus.COMPLETED
    except LLMError as error:
        attempt.status, attempt.error = AttemptStatus.ERROR, error
        raise
    finally:
        attempt.duration_seconds = time.monotonic() - began
        if observer is not None:
            observer(attempt)
