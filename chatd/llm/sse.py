"""Incremental decoder of server-sent events, bounded in memory.

Belongs here: bytes in, events out, whatever the cuts between reads. Does not belong here: JSON,
HTTP, what an event means.
"""

from dataclasses import dataclass

MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_STRAY_BYTES = 64 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event is larger than `MAX_EVENT_BYTES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One dispatched event; several data lines are joined with line feeds."""

    name: str
    data: bytes


class EventDecoder:
    """Turn the bytes of one response body into events.

    Lines that are no event-stream fields are kept in `stray` (the first 64 KiB): servers answer
    with plain JSON or HTML where a stream was expected.
    """

    __slots__ = ("_after_cr", "_data", "_name", "_partial", "_size", "_started", "stray")

    def __init__(self) -> None:
        self.stray = bytearray()
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Return the events that `chunk` completes.

        Raises: EventTooLargeError.
        """
        if self._after_cr and chunk:
            # a line ended with CR at the last cut: a leading LF belongs to that line end
            self._after_cr = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        if self._partial:
            chunk = b"".join((*self._partial, chunk))
            self._size -= sum(map(len, self._partial))
            self._partial.clear()
        return self._lines(chunk)

    def close(self) -> list[ServerEvent]:
        """Return the event left open when the body ended without a blank line, if any.

        Raises: EventTooLargeError.
        """
        events = self._lines(b"".join(self._partial) + b"\n") if self._partial else []
        self._partial.clear()
        last = self._dispatch()
        return [*events, last] if last else events

    def _lines(self, text: bytes) -> list[ServerEvent]:
        lines = text.splitlines()
        self._after_cr = text.endswith(b"\r")
        rest = b"" if self._after_cr or text.endswith(b"\n") else lines.pop()
        events = []
        for line in lines:
            if line:
                self._field(line)
            elif event := self._dispatch():
                events.append(event)
        self._keep(rest)
        return events

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._partial.append(piece)
            self._grow(len(piece))

    def _field(self, line: bytes) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._grow(len(value))
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif not line.startswith((b":", b"id:", b"retry:")):
            room = MAX_STRAY_BYTES - len(self.stray)
            self.stray += (line + b"\n")[:room]

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._name = ""
        if not data:
            return None
        self._data = []
        self._size = 0
        return ServerEvent(name=name, data=data[0] if len(data) == 1 else b"\n".join(data))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"a streamed event is larger than {MAX_EVENT_BYTES} bytes")
