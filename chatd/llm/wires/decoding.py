"""What the decoders of all wires share: frames, bodies that are no stream, how a stream ends."""

from abc import ABC, abstractmethod
from typing import Any, Protocol, TypeGuard

import orjson

from chatd.llm.error_answers import read_error_body
from chatd.llm.errors import LLMError, broken_stream, classify
from chatd.llm.sse import EventDecoder
from chatd.llm.types import Event, Provider, Request

UNREADABLE = "A streamed event could not be read."
NO_STREAM = "The provider did not answer with an event stream."


class Framing(Protocol):
    """Cuts the bytes of a body into the data of events. `stray` is what was no event."""

    @property
    def stray(self) -> bytes: ...

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes. Raises ValueError."""

    def close(self) -> list[bytes]:
        """Return the data of an event that only lacks its end. Raises ValueError."""


class ServerSentEvents:
    """Frames as most providers send them; names of events are not needed."""

    def __init__(self) -> None:
        self._decoder = EventDecoder()

    @property
    def stray(self) -> bytes:
        return bytes(self._decoder.stray)

    def feed(self, chunk: bytes) -> list[bytes]:
        return [event.data for event in self._decoder.feed(chunk)]

    def close(self) -> list[bytes]:
        return [event.data for event in self._decoder.close()]


class StreamDecoder(ABC):
    """Turn the bytes of one streamed answer into events; never raises.

    A wire takes the data of one event after the other in `_take`, and says what an answer that
    has come to its end amounts to in `_complete`. It calls `_finish` at the end that the wire
    itself marks; where the body ends without it, an answer that is `answered` is complete all the
    same, and any other one is broken.
    """

    failure: LLMError | None
    finished: bool
    events_seen: int

    def __init__(
        self, request: Request, provider: Provider, framing: Framing | None = None
    ) -> None:
        self.failure = None
        self.finished = False
        self.events_seen = 0
        self._provider = provider
        self._framing = framing or ServerSentEvents()

    @property
    def answered(self) -> bool:
        """Whether the answer is whole, so that a lost end marker does not matter."""
        return False

    @abstractmethod
    def _take(self, data: bytes, out: list[Event]) -> None:
        """Read one event."""

    @abstractmethod
    def _complete(self, out: list[Event]) -> None:
        """Add what is still to be said, the `Finish` last."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes, in arrival order."""
        out: list[Event] = []
        if self.finished or self.failure:
            return out
        try:
            frames = self._framing.feed(chunk)
        except ValueError as exc:
            self.failure = broken_stream(self._provider, str(exc))
            return out
        for data in frames:
            self._event(data, out)
        return out

    def close(self) -> list[Event]:
        """Judge the end of the body: finish if the answer is complete, else set `failure`."""
        out: list[Event] = []
        if self.finished or self.failure:
            return out
        self._tail(out)
        if self.finished or self.failure:
            return out
        if self.answered:
            self._finish(out)
        else:
            self.failure = self._closed_early()
        return out

    def _event(self, data: bytes, out: list[Event]) -> None:
        if self.finished or self.failure:
            return
        self.events_seen += 1
        if data.strip() == b"[DONE]":
            self._ended(out)
        else:
            self._take(data, out)

    def _ended(self, out: list[Event]) -> None:
        """Take the mark behind the last event that OpenAI's wires and their kin have."""
        self._finish(out)

    def _finish(self, out: list[Event]) -> None:
        self.finished = True
        self._complete(out)

    def _tail(self, out: list[Event]) -> None:
        """Read an event that lacks its blank line; a torn one says nothing about the answer."""
        try:
            rest = self._framing.close()
        except ValueError:
            return
        for data in rest:
            if data.strip() == b"[DONE]" or is_json(data):
                self._event(data, out)

    def _closed_early(self) -> LLMError:
        stray = self._framing.stray.strip()
        if (
            stray
            and not self.events_seen
            and is_json(stray)
            and read_error_body(stray).words.strip()
        ):
            return self._error_in(stray)
        return broken_stream(self._provider, NO_STREAM if stray else "")

    def _error_in(self, document: bytes) -> LLMError:
        """Return the error that a document inside of the stream tells of."""
        return classify((0, document, {}), self._provider)

    def _break(self, hint: str = UNREADABLE) -> None:
        self.failure = broken_stream(self._provider, hint)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether decoded JSON is an object."""
    return isinstance(value, dict)


def count_in(numbers: Any, name: str) -> int | None:
    """Return a number of tokens from a decoded object, None for what is none."""
    value = numbers.get(name) if is_object(numbers) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return int(value)


def is_json(document: bytes) -> bool:
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        return False
    return True
