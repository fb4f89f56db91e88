"""Instants as clients write them."""

from datetime import UTC, datetime

import pytest

from chatd.core.clock import parse_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-03-01t00:00:00.5z", "2026-03-01T00:00:00.500000Z"),
        ("2026-03-01T00:00:00.123456Z", "2026-03-01T00:00:00.123456Z"),
        ("2026-03-01T00:00:00.123456000Z", "2026-03-01T00:00:00.123456Z"),
        ("2026-03-01T00:00:00.1234560001Z", "2026-03-01T00:00:00.123457Z"),
        ("2026-02-28T23:59:59.9999999Z", "2026-03-01T00:00:00Z"),
        ("2026-03-01T00:00:00+05:30", "2026-02-28T18:30:00Z"),
        ("2026-02-28T19:00:00-05:00", "2026-03-01T00:00:00Z"),
        ("2024-02-29T23:30:00-00:30", "2024-03-01T00:00:00Z"),
    ],
)
def test_an_instant_is_read_in_any_zone_and_fineness(text: str, instant: str) -> None:
    found = parse_rfc3339(text)
    assert (rfc3339(found), found.tzinfo) == (instant, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026-03-01",
        "2026-03-01T00:00Z",
        "2026-03-01T00:00:00",
        "2026-03-01 00:00:00Z",
        "2026-03-01T00:00:00.Z",
        "2026-03-01T00:00:00+0530",
        "2026-03-01T00:00:00+24:00",
        "2026-03-01T00:00:00+01:60",
        "2026-02-29T00:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T00:00:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59.9999999Z",
        "٢٠٢٦-03-01T00:00:00Z",
        "2026-03-01T00:00:00Z\n",
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339(text)


def test_what_is_shown_is_read_again() -> None:
    for instant in (datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert parse_rfc3339(rfc3339(instant)) == instant
