"""What a wire has to offer, so that the transport needs to know none of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chatd.llm.errors import LLMError
from chatd.llm.types import Answer, Event, Provider, Request

EVENT_STREAM = "text/event-stream"


class Decoder(Protocol):
    """Turns the bytes of one streamed answer into events; never raises.

    After each `feed` and after `close`, `failure` tells whether the stream went wrong. Once
    `finished` or failed, further bytes are ignored. `events_seen` grows with each event of the
    provider's, so that comments which only keep a connection open do not count as progress.
    `answered`: the answer is whole, so that a lost end marker does not matter.
    """

    failure: LLMError | None
    finished: bool
    events_seen: int

    @property
    def answered(self) -> bool: ...

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes, in arrival order."""

    def close(self) -> list[Event]:
        """Judge the end of the body: finish if the answer is complete, else set `failure`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes and what it takes; secrets in the headers stay out of repr."""

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """How a provider tells which models it has: a GET of `path`, and what comes back."""

    path: str
    decode: Callable[[bytes, Provider], list[str]]


class Path(Protocol):
    def __call__(self, request: Request, *, is_stream: bool) -> str: ...


class Url(Protocol):
    def __call__(self, request: Request, provider: Provider, *, is_stream: bool) -> str: ...


class Encode(Protocol):
    def __call__(self, request: Request, provider: Provider, *, is_stream: bool) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One wire.

    `path` of a request stands behind the base URL; `root` is what a base URL has to end with and
    is added where it does not. `authorised` returns the headers that prove who calls, for a
    method, a URL and a body. A wire whose addresses depend on more than the request says
    the `url` itself, and `path` is not asked. `encode` may raise TypeError and ValueError for what
    the wire cannot carry, and LLMError; `answer` raises LLMError.
    """

    path: Path
    encode: Encode
    decoder: Callable[[Request, Provider], Decoder]
    answer: Callable[[bytes, Request, Provider], Answer]
    authorised: Callable[[Provider, str, str, bytes], Mapping[str, str]]
    root: str = ""
    accept: str = EVENT_STREAM
    models: ModelList | None = None
    url: Url | None = None


def bearer(provider: Provider, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """Return the key as most servers want it; nothing when there is none."""
    key = provider.api_key.strip()
    return {"Authorization": f"Bearer {key}"} if key else {}
