"""The periods of a limit, from the clock alone: nothing is ever reset."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_never

from django.db import models


class Period(models.TextChoices):
    DAY = "day", "Day"
    WEEK = "week", "Week"
    MONTH = "month", "Month"


@dataclass(frozen=True, slots=True)
class Window:
    """A running period: `start` belongs to it, `end` is when the next one begins. Midnights UTC."""

    start: datetime
    end: datetime


def window_of(period: Period, at: datetime) -> Window:
    """Return the UTC day, the ISO week (from Monday) or the calendar month that `at` is in."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case Period.DAY:
            start, length = midnight, timedelta(days=1)
        case Period.WEEK:
            start, length = midnight - timedelta(days=midnight.weekday()), timedelta(days=7)
        case Period.MONTH:
            start = midnight.replace(day=1)
            length = (start + timedelta(days=31)).replace(day=1) - start
        case _:
            assert_never(period)
    return Window(start, start + length)
