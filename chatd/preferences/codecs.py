"""Values of settings and their text forms. Reading one never raises: None is "not understood"."""

import re
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from chatd.core.ids import NIL_UUID, canonical_uuid

_INT64 = Meta(ge=-(2**63), le=2**63 - 1)


def encode_flag(value: bool) -> str:
    return "true" if value else "false"


def decode_flag(text: str) -> bool:
    """Return whether the text is `true`; anything else is not."""
    return text == "true"


def decode_whole_number(text: str) -> int | None:
    """Return a number without a sign, of few enough digits for `int` to be cheap."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def encode_id(value: UUID | None) -> str:
    return str(value) if value else ""


def decode_id(text: str) -> UUID | None:
    """Return an id; the nil id names nothing."""
    found = canonical_uuid(text)
    return None if found == NIL_UUID else found


# Durations: as the original stores them, `1h30m0s`

_MILLIS_OF = {
    "ns": Fraction(1, 1_000_000),
    "us": Fraction(1, 1000),
    "µs": Fraction(1, 1000),
    "ms": Fraction(1),
    "s": Fraction(1000),
    "m": Fraction(60_000),
    "h": Fraction(3_600_000),
}
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ns|us|µs|ms|s|m|h)){1,6}")
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµ]+)")


def encode_millis(value: int) -> str:
    return f"{value}ms" if value else "0s"


def decode_millis(text: str) -> int | None:
    """Return a duration such as `90s` or `1h30m0s` in whole milliseconds."""
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return int(sum(Fraction(number) * _MILLIS_OF[unit] for number, unit in parts))


# JSON

_Shape = TypeVar("_Shape")


def _decode_json(text: str, shape: type[_Shape]) -> _Shape | None:
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def encode_ids(value: tuple[UUID, ...]) -> str:
    return msgspec.json.encode(value).decode()


def decode_ids(text: str) -> tuple[UUID, ...] | None:
    return _decode_json(text, tuple[UUID, ...])


class Advisor(Struct, frozen=True, kw_only=True):
    """The advisor's settings. 0 uses is any number of them, 0 tokens is the default.

    `model_config_id` is nil for the model of the chat.
    """

    enabled: bool = False
    max_uses_per_run: Annotated[int, _INT64] = 0
    max_output_tokens: Annotated[int, _INT64] = 0
    model_config_id: UUID = NIL_UUID


def encode_advisor(value: Advisor) -> str:
    return msgspec.json.encode(value).decode()


def decode_advisor(text: str) -> Advisor | None:
    """Return the settings, negative numbers as 0; unknown members are ignored."""
    stored = _decode_json(text, Advisor)
    if stored is None:
        return None
    return msgspec.structs.replace(
        stored,
        max_uses_per_run=max(stored.max_uses_per_run, 0),
        max_output_tokens=max(stored.max_output_tokens, 0),
    )


# Which model a person wants


class OverrideMode(StrEnum):
    CHAT_DEFAULT = "chat_default"
    DEPLOYMENT_DEFAULT = "deployment_default"
    MODEL = "model"


class PersonalOverride(Struct, frozen=True):
    """A person's choice of a model; there is an id in the mode `model` only."""

    mode: OverrideMode
    model_config_id: UUID | None = None


def encode_personal_override(value: PersonalOverride) -> str:
    if value.model_config_id is None:
        return str(value.mode)
    return f"{value.mode}:{value.model_config_id}"


def decode_personal_override(text: str) -> PersonalOverride | None:
    mode, separator, rest = text.partition(":")
    if not separator:
        plain = mode in (OverrideMode.CHAT_DEFAULT, OverrideMode.DEPLOYMENT_DEFAULT)
        return PersonalOverride(OverrideMode(mode)) if plain else None
    config_id = decode_id(rest)
    if mode != OverrideMode.MODEL or config_id is None:
        return None
    return PersonalOverride(OverrideMode.MODEL, config_id)


def decode_root_override(text: str) -> PersonalOverride | None:
    """As `decode_personal_override`; chats of one's own have no deployment default."""
    found = decode_personal_override(text)
    return None if found and found.mode == OverrideMode.DEPLOYMENT_DEFAULT else found
