"""What reports are about, and what they say: values, without a query."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

NOTHING = UUID(int=0)
"""The key of what has none: corrections name no model, and old ones no chat."""


class By(StrEnum):
    """What a report is broken down by."""

    USER = "user"
    GROUP = "group"
    MODEL = "model"
    PROVIDER = "provider"
    CHAT = "chat"
    KIND = "kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a report is about: UTC days, `last` included, and what it is narrowed down to.

    A group stands for its members of today, and what they spend in its organisation.
    """

    first: date
    last: date
    user: UUID | None = None
    group: UUID | None = None
    model: UUID | None = None
    provider: UUID | None = None
    chat: UUID | None = None
    kind: str = ""

    @property
    def days(self) -> list[date]:
        count = (self.last - self.first).days + 1
        return [self.first + timedelta(days=number) for number in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What calls came to. Those without a price count as nothing; `overruns` cost more than held.

    Corrections add to what was spent, and are no calls.
    """

    spent_micros: int = 0
    calls: int = 0
    unpriced: int = 0
    estimated: int = 0
    overruns: int = 0

    @property
    def priced(self) -> int:
        return self.calls - self.unpriced

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            spent_micros=self.spent_micros + other.spent_micros,
            calls=self.calls + other.calls,
            unpriced=self.unpriced + other.unpriced,
            estimated=self.estimated + other.estimated,
            overruns=self.overruns + other.overruns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A part of the spend: `key` is an id, or the kind of calls."""

    key: Any
    sums: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All days of a scope, and its models, those that cost most first."""

    days: Sequence[tuple[date, Sums]]
    models: Sequence[Line]
    total: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCost:
    """What a chat cost, by the kinds of calls."""

    total: Sums
    kinds: Sequence[Line] = field(default=())
