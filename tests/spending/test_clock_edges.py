"""What belongs to a period or a range: everything from its first moment to before its end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import time_machine

from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.clock import rfc3339
from chatd.providers.models import ModelConfig
from chatd.spending.periods import Period
from tests.api.client import Answer, Api, Chats, api_of, text_part
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend_in

pytestmark = pytest.mark.django_db

TICK = timedelta(microseconds=1)
LIMIT = 100
STATUS = "/chats/usage-limits/status"

BORDERS = [
    (Period.DAY, "2025-03-01T00:00:00Z", "2025-02-28T00:00:00Z", "2025-03-02T00:00:00Z"),
    (Period.DAY, "2024-02-29T00:00:00Z", "2024-02-28T00:00:00Z", "2024-03-01T00:00:00Z"),
    (Period.DAY, "2024-03-01T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-02T00:00:00Z"),
    (Period.DAY, "2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z", "2026-01-02T00:00:00Z"),
    # Clocks go forward and back in Europe on these days; UTC has none of it.
    (Period.DAY, "2025-03-31T00:00:00Z", "2025-03-30T00:00:00Z", "2025-04-01T00:00:00Z"),
    (Period.DAY, "2025-10-27T00:00:00Z", "2025-10-26T00:00:00Z", "2025-10-28T00:00:00Z"),
    (Period.WEEK, "2025-03-03T00:00:00Z", "2025-02-24T00:00:00Z", "2025-03-10T00:00:00Z"),
    (Period.WEEK, "2024-12-30T00:00:00Z", "2024-12-23T00:00:00Z", "2025-01-06T00:00:00Z"),
    (Period.WEEK, "2024-03-04T00:00:00Z", "2024-02-26T00:00:00Z", "2024-03-11T00:00:00Z"),
    (Period.MONTH, "2025-03-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-04-01T00:00:00Z"),
    (Period.MONTH, "2024-03-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-04-01T00:00:00Z"),
    (Period.MONTH, "2025-05-01T00:00:00Z", "2025-04-01T00:00:00Z", "2025-06-01T00:00:00Z"),
    (Period.MONTH, "2025-08-01T00:00:00Z", "2025-07-01T00:00:00Z", "2025-09-01T00:00:00Z"),
    (Period.MONTH, "2026-01-01T00:00:00Z", "2025-12-01T00:00:00Z", "2026-02-01T00:00:00Z"),
    (Period.MONTH, "2000-03-01T00:00:00Z", "2000-02-01T00:00:00Z", "2000-04-01T00:00:00Z"),
    (Period.MONTH, "2100-03-01T00:00:00Z", "2100-02-01T00:00:00Z", "2100-04-01T00:00:00Z"),
]
"""When a period begins, when the one before it did, and when it ends."""


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(1999, 12, 31, tzinfo=UTC), tick=False) as traveller:
        yield traveller


@pytest.fixture
def chat(cast: Cast, model: ModelConfig) -> Chat:
    return Chats(cast.alice, cast.organization, model).pending()


def begin(api: Api, cast: Cast) -> Answer:
    body = {"organization_id": str(cast.organization.pk), "content": [text_part()]}
    return api.post("/chats", body)


@pytest.mark.parametrize(("period", "border", "before", "end"), BORDERS)
def test_a_period_begins_with_its_first_moment_and_ends_before_the_next(
    clock: time_machine.Traveller,
    cast: Cast,
    chat: Chat,
    period: Period,
    border: str,
    before: str,
    end: str,
) -> None:
    limit_everybody(LIMIT, period)
    at = datetime.fromisoformat(border)

    clock.move_to(at - TICK)
    alice = api_of(cast.alice)
    spend_in(chat, LIMIT)
    refused = begin(alice, cast)
    assert (refused.status, refused.body["resets_at"]) == (409, border)
    status = alice.get(STATUS).body
    assert (status["period_start"], status["period_end"]) == (before, border)
    assert status["current_spend"] == LIMIT

    clock.move_to(at)
    alice = api_of(cast.alice)
    status = alice.get(STATUS).body
    assert (status["period_start"], status["period_end"]) == (border, end)
    assert status["current_spend"] == 0
    assert begin(alice, cast).status == 201

    spend_in(chat, LIMIT - 1)
    assert begin(alice, cast).status == 201
    spend_in(chat, 1)
    assert begin(alice, cast).body["spent_micros"] == LIMIT

    clock.move_to(datetime.fromisoformat(end) - TICK)
    alice = api_of(cast.alice)
    assert alice.get(STATUS).body["current_spend"] == LIMIT
    assert begin(alice, cast).body["resets_at"] == end


@pytest.fixture
def answers(chat: Chat) -> datetime:
    """Answers at a moment, a tick before and a tick after it, told apart by what they cost."""
    at = datetime(2024, 3, 1, 0, 0, 0, 500_000, UTC)
    for ticks, micros in ((-1, 1), (0, 10), (1, 100)):
        ChatMessage.objects.create(
            chat=chat,
            revision=1,
            role=Role.ASSISTANT,
            content=[],
            total_cost_micros=micros,
            created_at=at + ticks * TICK,
        )
    return at


FAR = {"start_date": "2024-01-01T00:00:00Z", "end_date": "2025-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "text", "micros"),
    [
        ("start_date", "2024-03-01T00:00:00.5Z", 110),
        ("start_date", "2024-03-01T00:00:00.499999Z", 111),
        ("start_date", "2024-03-01T00:00:00.500001Z", 100),
        ("start_date", "2024-03-01T00:00:00.5000001Z", 100),
        ("start_date", "2024-03-01T00:00:00.500001001Z", 0),
        ("end_date", "2024-03-01T00:00:00.5Z", 1),
        ("end_date", "2024-03-01T00:00:00.499999Z", 0),
        ("end_date", "2024-03-01T00:00:00.500001Z", 11),
        ("end_date", "2024-03-01T00:00:00.5000001Z", 11),
        ("end_date", "2024-03-01T00:00:00.500001001Z", 111),
        ("start_date", "2024-02-29T18:30:00.5-05:30", 110),
        ("start_date", "2024-03-01T14:00:00.5+14:00", 110),
        ("end_date", "2024-02-29T12:00:00.5-12:00", 1),
        ("end_date", "2024-03-01T05:45:00.500001+05:45", 11),
    ],
)
def test_a_range_begins_with_its_first_moment_and_ends_before_its_last(
    cast: Cast, answers: datetime, name: str, text: str, micros: int
) -> None:
    asked = "&".join(f"{key}={quote(value)}" for key, value in (FAR | {name: text}).items())
    summary = api_of(cast.alice).get(f"/chats/cost/me/summary?{asked}").body
    listed = api_of(cast.root).get(f"/chats/cost/users?{asked}").body
    assert summary["total_cost_micros"] == micros
    assert sum(row["total_cost_micros"] for row in listed["users"]) == micros
    assert listed["count"] == (micros > 0)
    assert summary[name] == listed[name]


def test_a_range_that_ends_before_it_begins_has_nothing_in_it(
    cast: Cast, answers: datetime
) -> None:
    at = rfc3339(answers)
    for start, end in ((at, at), (FAR["end_date"], FAR["start_date"])):
        body = api_of(cast.alice).get(f"/chats/cost/me/summary?start_date={start}&end_date={end}")
        assert (body.status, body.body["by_chat"], body.body["total_cost_micros"]) == (200, [], 0)
        assert (body.body["start_date"], body.body["end_date"]) == (start, end)


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2024-03-01T12:00:00Z", "2024-01-31T12:00:00Z"),
        ("2025-03-01T12:00:00Z", "2025-01-30T12:00:00Z"),
        ("2024-03-30T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("2025-01-29T23:59:59.999999Z", "2024-12-30T23:59:59.999999Z"),
    ],
)
def test_thirty_days_before_now_are_meant_when_nothing_is_said(
    clock: time_machine.Traveller, cast: Cast, chat: Chat, now: str, start: str
) -> None:
    clock.move_to(datetime.fromisoformat(now))
    begins, ends = datetime.fromisoformat(start), datetime.fromisoformat(now)
    for at, micros in ((begins - TICK, 1), (begins, 10), (ends - TICK, 100), (ends, 1000)):
        ChatMessage.objects.create(
            chat=chat,
            revision=1,
            role=Role.ASSISTANT,
            content=[],
            total_cost_micros=micros,
            created_at=at,
        )
    body = api_of(cast.alice).get("/chats/cost/me/summary").body
    assert (body["start_date"], body["end_date"]) == (start, now)
    assert body["total_cost_micros"] == 110
