"""Model fields shared by the apps: JSON and text that keep NUL characters, encrypted text."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from chatd.core.crypto import KeyRingError, SecretState, key_ring, reading_ring
from chatd.core.errors import ChatdError, ErrorCode

if TYPE_CHECKING:  # Django's own classes take no type arguments at run time
    _JSONField = models.JSONField[Any, Any]
    _TextField = models.TextField[str, str]
    _AnyTextField = models.JSONField[Any, Any]  # attributes hold JSON; the column is text
    _WordsField = models.TextField[Sequence[str], Sequence[str]]
    _DecimalField = models.Field[Decimal | None, Decimal | None]
else:
    _JSONField = models.JSONField
    _TextField = models.TextField
    _AnyTextField = models.TextField
    _WordsField = models.TextField
    _DecimalField = models.Field

_NUL = "\x00"
_MARK = "\ue000"
_ESCAPED_NUL = "\ue000\ue001"
_ESCAPED_MARK = "\ue000\ue000"


def escape_nul(text: str) -> str:
    """Return `text` in a form a database can hold; `unescape_nul` gives it back exactly."""
    if _NUL not in text and _MARK not in text:
        return text
    return text.replace(_MARK, _ESCAPED_MARK).replace(_NUL, _ESCAPED_NUL)


def unescape_nul(text: str) -> str:
    """Undo `escape_nul`."""
    if _MARK not in text:
        return text
    parts = text.split(_ESCAPED_MARK)
    return _MARK.join(part.replace(_ESCAPED_NUL, _NUL) for part in parts)


def _map_texts(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): _map_texts(item, change) for key, item in value.items()}
    return value


class NulSafeJSONField(_JSONField):
    """JSON whose strings may hold U+0000, which PostgreSQL's jsonb refuses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("encoder", DjangoJSONEncoder)
        super().__init__(*args, **kwargs)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, str | list | dict):
            value = _map_texts(value, escape_nul)
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        loaded = super().from_db_value(value, expression, connection)
        return _map_texts(loaded, unescape_nul)


class NulSafeTextField(_TextField):
    """Text that may hold U+0000, which PostgreSQL refuses."""

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return escape_nul(prepared) if isinstance(prepared, str) else prepared

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else unescape_nul(value)


class ExactDecimalField(_DecimalField):
    """A decimal, exactly as it was given.

    SQLite has no decimals: Django keeps them there as floats of 15 digits, this field as text.
    """

    def db_type(self, connection: Any) -> str:
        return "numeric" if connection.vendor == "postgresql" else "text"

    def get_prep_value(self, value: Any) -> Decimal | None:
        return None if value is None else Decimal(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        exact = self.get_prep_value(value)
        return exact if exact is None or connection.vendor == "postgresql" else format(exact, "f")

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        return None if value is None else Decimal(value)


class JSONTextField(_AnyTextField):
    """JSON kept as text: keys stay in order and numbers as they were; the database cannot query it.

    PostgreSQL's jsonb sorts keys and rewrites numbers, which would change what a model sees of
    its own calls and break a provider's prompt cache.
    """

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else msgspec.json.encode(value).decode()

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else msgspec.json.decode(value)


class WordsField(_WordsField):
    """The words of a text, in order, for a full-text index. Written as a list, never read.

    A `tsvector` on PostgreSQL, words with spaces between them elsewhere.
    """

    def db_type(self, connection: Any) -> str | None:
        return "tsvector" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "%s::tsvector" if connection.vendor == "postgresql" else "%s"

    def get_prep_value(self, value: Any) -> Any:
        return value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if connection.vendor != "postgresql":
            return " ".join(value)
        return " ".join(f"'{word}':{place}" for place, word in enumerate(value, start=1))


class EncryptedTextField(_TextField):
    """Text that is stored encrypted. The attribute holds the stored form, never the plain text.

    Use `seal()` to make a value, `open_secret()` to read one and `secret_state()` to tell whether
    it can be read: a row that is dumped, compared or logged shows only ciphertext. Columns of this
    type, and of types made from it, are found and re-sealed by `rotate_keys`.
    """


def seal(plain: str) -> str:
    """Return the stored form of a secret; blank stays blank. Raises ChatdError 503."""
    if not plain:
        return ""
    try:
        return key_ring().encrypt(plain)
    except KeyRingError as error:
        raise ChatdError(
            ErrorCode.UNAVAILABLE,
            "Secrets cannot be stored now: the encryption keys are not configured.",
            detail=f"{error} Correct it and restart.",
        ) from None


def open_secret(stored: str) -> str:
    """Return the plain text of a stored secret. Raises UndecryptableError."""
    return reading_ring().open(stored)


def secret_state(stored: str | None) -> SecretState:
    """Return whether a stored secret can be read, and under which key it is."""
    return reading_ring().state(stored or "")
