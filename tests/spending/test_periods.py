"""Periods are whole UTC days, ISO weeks and months, whatever the zone of the clock."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.spending.periods import Period, window_of

TICK = timedelta(microseconds=1)
instants = st.datetimes(
    datetime(1971, 1, 1),
    datetime(2200, 1, 1),
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        (Period.DAY, utc(2024, 2, 29, 23, 59, 59, 999999), utc(2024, 2, 29), utc(2024, 3, 1)),
        (Period.DAY, utc(2024, 3, 1), utc(2024, 3, 1), utc(2024, 3, 2)),
        (Period.WEEK, utc(2026, 1, 4, 23, 59), utc(2025, 12, 29), utc(2026, 1, 5)),
        (Period.WEEK, utc(2026, 1, 5), utc(2026, 1, 5), utc(2026, 1, 12)),
        (Period.MONTH, utc(2024, 2, 29, 12), utc(2024, 2, 1), utc(2024, 3, 1)),
        (Period.MONTH, utc(2025, 12, 31, 23), utc(2025, 12, 1), utc(2026, 1, 1)),
        (
            Period.MONTH,
            datetime(2026, 7, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            utc(2026, 6, 1),
            utc(2026, 7, 1),
        ),
    ],
)
def test_windows_that_are_easily_got_wrong(
    period: Period, at: datetime, start: datetime, end: datetime
) -> None:
    found = window_of(period, at)
    assert (found.start, found.end) == (start, end)


@given(period=st.sampled_from(Period), at=instants)
def test_windows_follow_each_other_without_a_gap_and_begin_where_they_should(
    period: Period, at: datetime
) -> None:
    window = window_of(period, at)
    assert window.start <= at < window.end
    assert window_of(period, window.start) == window == window_of(period, window.end - TICK)
    assert window_of(period, window.end).start == window.end
    days = (window.end - window.start).days
    match period:
        case Period.DAY:
            assert days == 1
        case Period.WEEK:
            assert (days, window.start.weekday()) == (7, 0)
        case Period.MONTH:
            assert (window.start.day, window.end.day) == (1, 1)
            assert 28 <= days <= 31
    for edge in (window.start, window.end):
        assert edge.utcoffset() == timedelta(0)
        assert edge.time() == datetime.min.time()
