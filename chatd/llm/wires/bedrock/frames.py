"""The event stream of AWS: bytes in, data of events out, whatever the cuts, bounded in memory.

A frame is: its length, the length of its headers, a checksum of these, headers, payload, a checksum
of all. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

import struct
from collections.abc import Mapping
from zlib import crc32

import msgspec
import orjson

MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_HEADERS_BYTES = 128 * 1024
MAX_STRAY_BYTES = 64 * 1024

_PRELUDE = struct.Struct(">III")
_NUMBER = struct.Struct(">I")
_FRAME_BYTES = _PRELUDE.size + _NUMBER.size
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Sizes of header values by type; those of the other two come with a length."""

_PLAIN_TEXT = b"{[< \t\r\n"
_KNOWN_HEADERS = 16

_STATUS = {
    "throttlingexception": 429,
    "servicequotaexceededexception": 429,
    "validationexception": 400,
    "accessdeniedexception": 403,
    "resourcenotfoundexception": 404,
    "modeltimeoutexception": 408,
    "internalserverexception": 500,
    "modelstreamerrorexception": 500,  # the vendor says to try again
    "serviceunavailableexception": 503,
    "modelnotreadyexception": 503,
}


class _Chunk(msgspec.Struct):
    """The payload of an event; msgspec takes the bytes out of their base64."""

    data: bytes | None = msgspec.field(default=None, name="bytes")


class EventStreamFrames:
    """Cuts a body into events. An exception becomes an error event of the Messages wire.

    A body that is text is kept in `stray` (the first 64 KiB): servers between answer with JSON.
    """

    __slots__ = ("_buffer", "_chunks", "_is_text", "_known", "_started", "stray")

    def __init__(self) -> None:
        self.stray = b""
        self._buffer = bytearray()
        self._chunks = msgspec.json.Decoder(_Chunk)
        self._known: dict[bytes, Mapping[str, str]] = {}
        self._started = False
        self._is_text = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes. Raises ValueError."""
        if chunk and not self._started:
            self._started = True
            self._is_text = chunk[0] in _PLAIN_TEXT
        if self._is_text:
            self.stray = (self.stray + chunk)[:MAX_STRAY_BYTES]
            return []
        self._buffer += chunk
        found, at = [], 0
        while len(self._buffer) - at >= _PRELUDE.size:
            size = self._frame_size(at)
            if len(self._buffer) - at < size:
                break
            if (data := self._event(bytes(self._buffer[at : at + size]))) is not None:
                found.append(data)
            at += size
        del self._buffer[:at]
        return found

    def close(self) -> list[bytes]:
        """Return nothing: a frame that lacks its end cannot be trusted."""
        return []

    def _frame_size(self, at: int) -> int:
        """Return the size of a frame; checked before its bytes are waited for."""
        prelude = bytes(self._buffer[at : at + _PRELUDE.size])
        size, headers, checksum = _PRELUDE.unpack(prelude)
        if crc32(prelude[:8]) != checksum:
            raise ValueError("A frame begins with a wrong checksum.")
        if size > MAX_FRAME_BYTES or headers > min(MAX_HEADERS_BYTES, size - _FRAME_BYTES):
            raise ValueError("A frame has a size that cannot be.")
        return int(size)

    def _event(self, frame: bytes) -> bytes | None:
        if crc32(frame[:-4]) != _NUMBER.unpack(frame[-4:])[0]:
            raise ValueError("A frame ends with a wrong checksum.")
        begin = _PRELUDE.size + _NUMBER.unpack(frame[4:8])[0]
        headers = self._headers(frame[_PRELUDE.size : begin])
        payload = frame[begin:-4]
        if headers.get(":message-type", "event") != "event":
            return _error(headers, payload)
        try:
            return self._chunks.decode(payload).data
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ValueError("A frame holds no event.") from None

    def _headers(self, raw: bytes) -> Mapping[str, str]:
        """Return the headers that are texts. Nearly all frames have the same ones."""
        known = self._known.get(raw)
        if known is None:
            known = _read_headers(raw)
            if len(self._known) < _KNOWN_HEADERS:
                self._known[raw] = known
        return known


def _read_headers(raw: bytes) -> Mapping[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            end = at + 1 + raw[at]
            name, kind, at = raw[at + 1 : end].decode("utf-8", "replace"), raw[end], end + 1
            size = _FIXED.get(kind)
            if size is None:
                size, at = int.from_bytes(raw[at : at + 2], "big"), at + 2
            if kind == 7:
                found[name] = raw[at : at + size].decode("utf-8", "replace")
            at += size
    except IndexError:
        at = len(raw) + 1
    if at > len(raw):
        raise ValueError("The headers of a frame are torn.")
    return found


def _error(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return an exception as the error event that the Messages wire has for it."""
    kind = headers.get(":exception-type") or headers.get(":error-code") or "error"
    message = headers.get(":error-message") or _message(payload)
    code = _STATUS.get(kind.lower())
    error = {"type": kind, "message": message} | ({"code": code} if code else {})
    return orjson.dumps({"type": "error", "error": error})


def _message(payload: bytes) -> str:
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return payload.decode("utf-8", "replace")
    texts = document if isinstance(document, dict) else {}
    found = texts.get("message") or texts.get("Message")
    return found if isinstance(found, str) else ""
