"""Reading requests: bodies as typed structs under a size cap, ids and cursors of the URL.

Decoding is as strict about types as a Go client expects and as lenient about the rest: unknown
fields are ignored, null is "not given".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from chatd.chats.content import InputPart
from chatd.core.clock import parse_rfc3339
from chatd.core.errors import Validation, bad_request, given_repeatedly
from chatd.core.ids import canonical_uuid
from chatd.core.nesting import MAX_NESTING, is_nested_too_deeply
from chatd.core.shapes import documented

T = TypeVar("T")

MAX_BODY_BYTES = 3 * 1024 * 1024
"""A message must fit one socket frame of 4 MiB."""

MAX_CREATE_BODY_BYTES = 2 * 128 * 1024

MAX_PEOPLE_BODY_BYTES = 64 * 1024
"""Of what says something about one person, organisation, group or token."""

MAX_CONTENT_BYTES = MAX_BODY_BYTES + 512 * 1024
"""Of a message as it is shown, where left-out fields of its parts stand again."""

BAD_JSON = "Request body must be valid JSON."
MAX_INT64 = 2**63 - 1
MAX_INT32 = 2**31 - 1

Int64 = Annotated[int, Meta(ge=-MAX_INT64 - 1, le=MAX_INT64)]
Int32 = Annotated[int, Meta(ge=-MAX_INT32 - 1, le=MAX_INT32)]


class ConfidentialBody(Struct, kw_only=True):
    """A body, or a piece of one, with secrets in it: its repr shows nothing of it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class ContentPart(InputPart, kw_only=True):
    """An input part whose numbers fit what clients read them back as."""

    start_line: Int64 | None = None
    end_line: Int64 | None = None


Content = Annotated[
    list[ContentPart] | None,
    documented(
        required=True, minItems=1, examples=[[{"type": "text", "text": "What is a lease?"}]]
    ),
]


class RawBodyParser(BaseParser):
    """Leaves the body to `decode_body`; takes any content type, or none."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return None


def decode_body(request: Request, shape: type[T], *, cap: int = MAX_BODY_BYTES) -> T:
    """Return the body as `shape`. Raises ChatdError 400; `cap` is in bytes."""
    raw = request._request.read(cap + 1)
    if len(raw) > cap:
        raise bad_request(BAD_JSON, detail=f"http: request body too large (at most {cap} bytes)")
    return decode_json(raw, shape)


def decode_json(raw: bytes, shape: type[T]) -> T:
    """Return JSON text as `shape`. Raises ChatdError 400 with the parser's words."""
    try:
        raw.decode()  # also where no field is read: what is no text is no JSON
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise bad_request(BAD_JSON, detail=str(error) or "the JSON is nested too deeply") from None


def check_content_size(content: Sequence[ContentPart] | None) -> None:
    """Raise the 400 for a message that would not fit a frame once it is shown."""
    if len(msgspec.json.encode(content)) > MAX_CONTENT_BYTES:
        raise bad_request(BAD_JSON, detail="the parts of the message are too large together")


def check_nesting(value: Any) -> None:
    """Raise the 400 for a value nested too deeply to be stored and shown again."""
    if is_nested_too_deeply(value):
        raise bad_request(BAD_JSON, detail=f"nested more than {MAX_NESTING} levels deep")


def path_uuid(raw: str) -> UUID:
    """Return the chat id of a path. Raises ChatdError 400."""
    return parse_uuid(raw, f'Invalid UUID "{raw}".')


def parse_uuid(raw: str, message: str) -> UUID:
    """Return an id in its canonical form, any letter case. Raises ChatdError 400 with `message`."""
    if len(raw) != 36:
        raise bad_request(message, detail=f"invalid UUID length: {len(raw)}")
    parsed = canonical_uuid(raw)
    if parsed is None:
        raise bad_request(message, detail="invalid UUID format")
    return parsed


def parse_int(raw: str, message: str) -> int:
    """Return a 64-bit integer of the URL. Raises ChatdError 400 with `message`."""
    if not is_integer(raw) or not -MAX_INT64 - 1 <= int(raw) <= MAX_INT64:
        raise bad_request(message, detail=f'strconv.ParseInt: parsing "{raw}": invalid syntax')
    return int(raw)


def is_integer(raw: str) -> bool:
    """True for decimal digits with an optional sign, few enough for `int` to be cheap."""
    digits = raw[1:] if raw[:1] in ("-", "+") else raw
    return digits.isascii() and digits.isdigit() and len(digits) <= 19


_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})


class QueryReader:
    """Reads query parameters and collects what is wrong with them; empty counts as absent."""

    def __init__(self, request: Request, message: str) -> None:
        self._query = request._request.GET
        self._message = message
        self._wrong: list[Validation] = []

    def integer(self, name: str, *, least: int = 0, largest: int) -> int:
        """Return an integer, 0 when absent."""
        raw = self._single(name)
        if not raw:
            return 0
        if not is_integer(raw) or not least <= int(raw) <= largest:
            kind = "integer" if least else "non-negative integer"
            self._add(name, f'must be a valid {kind}: invalid value "{raw}"')
            return 0
        return int(raw)

    def instant(self, name: str) -> datetime | None:
        """Return an instant in RFC 3339."""
        raw = self._single(name)
        if not raw:
            return None
        try:
            return parse_rfc3339(raw)
        except ValueError:
            self._add(name, f'must be a valid date-time: invalid value "{raw}"')
            return None

    def refuse_others(self, *known: str) -> None:
        """Note each parameter that is none of those known."""
        for name in self._query:
            if name not in known:
                self._wrong.append(
                    Validation(name, f'Query param "{name}" is not a valid query param')
                )

    def uuid(self, name: str) -> UUID | None:
        raw = self._single(name)
        if not raw:
            return None
        try:
            return UUID(raw)
        except ValueError:
            self._add(name, f'must be a valid UUID: invalid value "{raw}"')
            return None

    def text(self, name: str) -> str:
        return self._single(name)

    def boolean(self, name: str) -> bool:
        """Return whether a flag is set, in what Go clients write for it."""
        raw = self._single(name)
        if raw not in _TRUE | _FALSE:
            self._add(name, f'must be a valid boolean: invalid value "{raw}"')
        return raw in _TRUE

    def check(self) -> None:
        """Raise ChatdError 400 when anything was wrong."""
        if self._wrong:
            raise bad_request(self._message, validations=self._wrong)

    def _single(self, name: str) -> str:
        values = self._query.getlist(name)
        if len(values) > 1:
            self._wrong.append(given_repeatedly(name, len(values)))
            return ""
        return values[0].strip() if values else ""

    def _add(self, name: str, reason: str) -> None:
        self._wrong.append(Validation(name, f'Query param "{name}" {reason}'))
