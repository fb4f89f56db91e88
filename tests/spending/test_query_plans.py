"""Whether somebody may spend is known from a few indexed rows, however much there is to read."""

import re
from datetime import timedelta

import pytest
from django.db import connection

from chatd.accounts.models import Group, GroupMember, User
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from chatd.spending.admission import check_limit
from chatd.spending.models import SpendDay
from chatd.spending.periods import Period
from tests.conftest import Cast
from tests.support.plans import analyze, scans, statements
from tests.support.spending import limit_everybody, spend

pytestmark = pytest.mark.django_db

PEOPLE = 3000
SPENDERS = 200
DAYS = 60
TABLES = ("spending_spendday", "accounts_user", "accounts_group", "accounts_groupmember")


@pytest.fixture
def history(cast: Cast, model: ModelConfig) -> None:
    """Two months of many people, in groups with limits; alice has many chats and messages."""
    people = User.objects.bulk_create(User(username=f"u{number}") for number in range(PEOPLE))
    groups = Group.objects.bulk_create(
        Group(organization=cast.organization, name=f"g{number}", chat_spend_limit_micros=10**9)
        for number in range(PEOPLE)
    )
    GroupMember.objects.bulk_create(
        GroupMember(group=group, user=user) for group, user in zip(groups, people, strict=True)
    )
    GroupMember.objects.create(group=groups[0], user=cast.alice)
    today = now().date()
    SpendDay.objects.bulk_create(
        SpendDay(
            owner=user, organization=cast.organization, day=today - timedelta(days=day), micros=1
        )
        for user in [cast.alice, *people[:SPENDERS]]
        for day in range(DAYS)
    )
    chats = Chat.objects.bulk_create(
        Chat(
            owner=cast.alice,
            organization=cast.organization,
            last_model_config=model,
            status=Status.WAITING,
        )
        for _ in range(300)
    )
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, revision=1, role=Role.ASSISTANT, content=[], total_cost_micros=10**9)
        for chat in chats
    )
    limit_everybody(10**6)
    analyze()


def test_a_check_reads_no_chat_and_no_message(history: None, cast: Cast) -> None:
    asked = statements(lambda: check_limit(cast.alice.pk, cast.organization.pk))
    assert any("spending_spendday" in sql for sql in asked)
    assert [sql for sql in asked if "chats_" in sql] == []


@pytest.mark.parametrize("period", Period)
@pytest.mark.parametrize("own", [None, 10**6])
def test_a_check_goes_through_no_table(
    history: None, cast: Cast, period: Period, own: int | None
) -> None:
    limit_everybody(10**6, period)
    User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=own)
    assert scans(lambda: check_limit(cast.alice.pk, cast.organization.pk), TABLES) == []


def test_a_check_reads_a_month_of_days_at_most(history: None, cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=10**6)
    (sql,) = [
        sql
        for sql in statements(lambda: check_limit(cast.alice.pk, cast.organization.pk))
        if "spending_spendday" in sql
    ]
    read = re.sub(r'SUM\(\w+\."micros"\)', "COUNT(*)", sql)
    assert read != sql
    with connection.cursor() as cursor:
        cursor.execute(read)
        days, holds = cursor.fetchone()
        assert 1 <= days <= 31 < DAYS
        assert holds == 0


def test_spending_finds_its_day_by_the_index(history: None, cast: Cast) -> None:
    def pay() -> None:
        spend(1, owner_id=cast.alice.pk, organization_id=cast.organization.pk)

    assert len(statements(pay)) == 2
    assert scans(pay, TABLES) == []


def test_this_test_sees_a_scan_when_there_is_one(history: None) -> None:
    assert scans(lambda: list(SpendDay.objects.filter(micros=7)), TABLES)
