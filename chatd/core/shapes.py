"""What the JSON shapes of all apps are made of: texts with a documented form, and leaving out.

A shape is a TypedDict named like the object in the contract. The type checker holds the functions
that build it to it, and the OpenAPI document shows it. Members that are left out when they are
empty are `NotRequired`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from django.db.models import TextChoices
from msgspec import Meta

REQUIRED = "x-required"
"""Marks a member of a request that may decode as absent, and is refused then in better words."""


def documented(*, required: bool = False, **schema: Any) -> Meta:
    """Return what adds `schema` to the JSON Schema of a member; it checks nothing itself."""
    return Meta(extra_json_schema={**schema, **({REQUIRED: True} if required else {})})


Uuid = Annotated[str, documented(format="uuid")]
Timestamp = Annotated[str, documented(format="date-time")]

S = TypeVar("S")


def one_of(choices: type[TextChoices]) -> Meta:
    """Return what documents a text as one of the values of `choices`."""
    return documented(enum=list(choices.values))


def shaped(shape: type[S], members: S) -> S:
    """Return `members` without those that `shape` lets be left out and that are empty."""
    optional = getattr(shape, "__optional_keys__")  # noqa: B009 - not known of a type variable
    kept = cast("Mapping[str, Any]", members).items()
    return cast("S", {name: value for name, value in kept if value or name not in optional})
