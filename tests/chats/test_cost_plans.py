"""What chats have cost is read by indexes: of one person, or of a range of days, and no more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from chatd.accounts.models import User
from chatd.chats.costs import Range, cost_summary, list_people_costs
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from tests.conftest import Cast
from tests.support.plans import analyze, scans, statements, steps

pytestmark = pytest.mark.django_db

PEOPLE = 300
CHATS = 3000
MESSAGES = 12_000
DAYS = 120


@pytest.fixture
def spenders(cast: Cast, model: ModelConfig) -> list[User]:
    """So many people with so many chats and so much to read that reading it all would be slow."""
    people = User.objects.bulk_create(User(username=f"u{number}") for number in range(PEOPLE))
    chats = Chat.objects.bulk_create(
        Chat(
            owner=people[number % PEOPLE],
            organization=cast.organization,
            last_model_config=model,
            status=Status.WAITING,
        )
        for number in range(CHATS)
    )
    answer = {"revision": 1, "model_config": model, "total_cost_micros": 7, "input_tokens": 5}
    start = now()
    ChatMessage.objects.bulk_create(
        ChatMessage(
            chat=chats[number * 7 % CHATS],
            role=Role.USER if number % 3 == 0 else Role.ASSISTANT,
            content=[{"type": "text", "text": "word " * 100}],
            created_at=start - timedelta(days=DAYS * (MESSAGES - number) / MESSAGES),
            **answer,
        )
        for number in range(MESSAGES)
    )
    analyze()
    return people


def last(days: int) -> Range:
    at = now()
    return Range(start=at - timedelta(days=days), end=at)


def reads(read: Callable[[], Any]) -> list[str]:
    """Return the steps that read messages, one for each statement that does."""
    plans = [steps(sql) for sql in statements(read) if '"chats_chatmessage"' in sql]
    found = [step for plan in plans for step in plan if "message_" in step]
    assert len(found) == len(plans)
    return found


def test_a_summary_reads_the_answers_of_one_person_s_chats(spenders: list[User]) -> None:
    def read() -> None:
        found = cost_summary(spenders[7], last(DAYS))
        assert (len(found.by_chat), len(found.by_model)) == (CHATS // PEOPLE, 1)

    assert scans(read, ("chats_chat", "chats_chatmessage", "accounts_user")) == []
    found = reads(read)
    assert len(found) == 3
    assert all("message_cost_by_chat" in step for step in found)


def test_the_list_of_people_reads_the_answers_of_its_days(spenders: list[User]) -> None:
    def read() -> None:
        found = list_people_costs(last(5), search="", limit=10, offset=0)
        assert found.count > len(found.people) == 10

    assert scans(read, ("chats_chatmessage",)) == []
    found = reads(read)
    assert len(found) == 2
    assert all("message_cost_by_age" in step for step in found)
