"""What reports read from the ledger: days, parts, filters, what is held; a chat's own cost."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine

from chatd.accounts.models import Group, GroupMember, User
from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.providers.models import AIProvider, ModelConfig
from chatd.spending.ledger_models import CallKind, EntryKind, LedgerEntry
from chatd.spending.reports import (
    cost_of_chat,
    entries_of,
    held_now,
    iterate_entries,
    iterate_lines,
    list_lines,
    overview_of,
)
from chatd.spending.scopes import NOTHING, By, Scope, Sums
from tests.conftest import Cast
from tests.support.people import pending_chat
from tests.support.plans import analyze, scans, statements
from tests.support.spending import call_model, hold, spend

pytestmark = pytest.mark.django_db

TODAY = date(2026, 7, 15)
MONTH = Scope(first=TODAY - timedelta(days=29), last=TODAY)
ChatOf = Callable[..., Chat]


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 7, 15, 12, tzinfo=UTC), tick=False):
        yield


@pytest.fixture
def chat_of(cast: Cast, model: ModelConfig) -> ChatOf:
    def build(user: User | None = None, **columns: Any) -> Chat:
        chat = pending_chat(user or cast.alice, cast.organization, model)
        Chat.objects.filter(pk=chat.pk).update(**columns)
        chat.refresh_from_db()
        return chat

    return build


@pytest.fixture
def other_model(model: ModelConfig) -> ModelConfig:
    provider = AIProvider.objects.create(type="openai-compat", name="b", base_url="http://b/v1")
    return ModelConfig.objects.create(ai_provider=provider, provider=provider.type, model="b")


def lines(by: By, scope: Scope = MONTH) -> list[tuple[Any, int]]:
    models = overview_of(scope).models
    found = list_lines(scope, by, models, limit=100)
    whole = [line for piece in iterate_lines(scope, by) for line in piece]
    assert whole == found, "what is downloaded is what is shown"
    return [(line.key, line.sums.spent_micros) for line in found]


def test_every_day_of_the_range_is_there_and_no_other(chat_of: ChatOf) -> None:
    chat = chat_of()
    midnight = datetime(2026, 7, 15, tzinfo=UTC)
    call_model(chat, 7, at=midnight)
    call_model(chat, 5, at=midnight - timedelta(microseconds=1))
    call_model(chat, 3, at=datetime(2026, 6, 16, tzinfo=UTC))
    call_model(chat, 100, at=datetime(2026, 6, 15, 23, 59, 59, tzinfo=UTC))
    call_model(chat, 100, at=midnight + timedelta(days=1))
    days = {day: sums.spent_micros for day, sums in overview_of(MONTH).days}
    assert len(days) == 30
    assert {day: micros for day, micros in days.items() if micros} == {
        date(2026, 6, 16): 3,
        date(2026, 7, 14): 5,
        date(2026, 7, 15): 7,
    }
    assert overview_of(MONTH).total.spent_micros == 15


def test_calls_are_counted_by_what_is_odd_about_them(chat_of: ChatOf) -> None:
    chat = chat_of()
    call_model(chat, 10, held=50)
    call_model(chat, 60, held=50, is_estimated=True)
    call_model(chat, 0)
    call_model(chat, None)
    spend(-5, owner_id=chat.owner_id, organization_id=chat.organization_id)
    total = overview_of(MONTH).total
    assert total == Sums(spent_micros=65, calls=4, unpriced=1, estimated=1, overruns=1)
    assert total.priced == 3


def test_each_breakdown_says_who_or_what_cost_most_first(
    chat_of: ChatOf, cast: Cast, other_model: ModelConfig, model: ModelConfig
) -> None:
    first, second = chat_of(), chat_of(cast.bob)
    child = chat_of(root_chat=first, parent_chat=first)
    call_model(first, 5)
    call_model(child, 20, kind=CallKind.COMPACTION)
    call_model(second, 10, kind=CallKind.TITLE, model_id=other_model.pk)
    spend(3, owner_id=cast.bob.pk, organization_id=cast.organization.pk)
    assert lines(By.USER) == [(cast.alice.pk, 25), (cast.bob.pk, 13)]
    assert lines(By.CHAT) == [(first.pk, 25), (second.pk, 10), (NOTHING, 3)]
    assert lines(By.MODEL) == [(model.pk, 25), (other_model.pk, 10), (NOTHING, 3)]
    assert lines(By.PROVIDER) == [
        (model.ai_provider_id, 25),
        (other_model.ai_provider_id, 10),
        (NOTHING, 3),
    ]
    assert lines(By.KIND) == [("compaction", 20), ("title", 10), ("turn", 8)]


def test_groups_have_what_their_members_spend_in_their_organisation(
    chat_of: ChatOf, cast: Cast
) -> None:
    group = Group.objects.create(organization=cast.organization, name="research")
    GroupMember.objects.create(group=group, user=cast.alice)
    GroupMember.objects.create(group=group, user=cast.carol)  # is not in the organisation
    call_model(chat_of(), 5)
    call_model(chat_of(cast.bob), 20)
    spend(7, owner_id=cast.carol.pk, organization_id=cast.organization.pk)
    elsewhere = cast.carol.memberships.get().organization_id
    spend(11, owner_id=cast.carol.pk, organization_id=elsewhere)
    spend(13, owner_id=cast.alice.pk, organization_id=elsewhere)
    everyone = cast.organization.pk
    assert lines(By.GROUP) == [(everyone, 25), (elsewhere, 11), (group.pk, 5)]
    for key, micros in lines(By.GROUP):
        narrowed = overview_of(Scope(first=MONTH.first, last=MONTH.last, group=key))
        assert narrowed.total.spent_micros == micros


@pytest.mark.parametrize("by", [each for each in By if each != By.GROUP])
def test_a_part_that_is_opened_has_what_its_line_says(
    chat_of: ChatOf, cast: Cast, other_model: ModelConfig, by: By
) -> None:
    for number, user in enumerate((cast.alice, cast.bob, cast.alice)):
        chat = chat_of(user)
        kind = list(CallKind)[number]
        call_model(chat, 10 + number, kind=kind)
        call_model(chat, 20 + number, model_id=other_model.pk, held=9)
    spend(3, owner_id=cast.bob.pk, organization_id=cast.organization.pk)
    found = lines(by)
    assert sum(micros for _, micros in found) == overview_of(MONTH).total.spent_micros == 99
    for key, micros in found:
        about: dict[str, Any] = {by.value: key}
        narrowed = Scope(first=MONTH.first, last=MONTH.last, **about)
        assert overview_of(narrowed).total.spent_micros == micros
        assert sum(entry.settled_micros for entry in entries_of(narrowed)) == micros


def test_filters_stack(chat_of: ChatOf, cast: Cast, other_model: ModelConfig) -> None:
    chat, other = chat_of(), chat_of(cast.bob)
    call_model(chat, 1, model_id=other_model.pk)
    call_model(chat, 2)
    call_model(other, 4, model_id=other_model.pk)
    call_model(chat, 8, model_id=other_model.pk, kind=CallKind.LABEL)
    assert other_model.ai_provider_id is not None
    narrowed = Scope(
        first=MONTH.first,
        last=MONTH.last,
        user=cast.alice.pk,
        provider=other_model.ai_provider_id,
        chat=chat.pk,
        kind="turn",
    )
    assert overview_of(narrowed).total.spent_micros == 1


def test_what_is_held_now_is_counted_whatever_the_days(chat_of: ChatOf, cast: Cast) -> None:
    hold(chat_of(), 30, at=now() - timedelta(days=90))
    hold(chat_of(cast.bob), 12)
    assert held_now(MONTH) == 42
    assert held_now(Scope(first=TODAY, last=TODAY, user=cast.bob.pk)) == 12
    assert held_now(Scope(first=TODAY, last=TODAY, kind="title")) == 0


def test_the_rows_of_the_ledger_come_newest_first_with_holds_when_they_are_wanted(
    chat_of: ChatOf,
) -> None:
    chat = chat_of()
    call_model(chat, 1, held=5)
    call_model(chat, 2, at=now() - timedelta(hours=1))
    kinds = [(entry.kind, entry.settled_micros) for entry in entries_of(MONTH)]
    assert kinds == [(EntryKind.SETTLE, 1), (EntryKind.SETTLE, 2)]
    everything = [piece for pieces in iterate_entries(MONTH, everything=True) for piece in pieces]
    assert sorted(entry.kind for entry in everything) == ["hold", "release", "settle", "settle"]
    assert sum(entry.held_micros for entry in everything) == 0


def test_a_chat_costs_what_its_sub_chats_and_side_calls_do(chat_of: ChatOf) -> None:
    chat = chat_of()
    child = chat_of(root_chat=chat, parent_chat=chat)
    call_model(chat, 10)
    call_model(chat, None, kind=CallKind.LABEL)
    call_model(child, 5)
    call_model(chat, 3, kind=CallKind.TITLE)
    call_model(chat_of(), 100)
    cost = cost_of_chat(chat.pk)
    assert [(line.key, line.sums.spent_micros) for line in cost.kinds] == [
        ("turn", 15),
        ("title", 3),
        ("label", 0),
    ]
    assert (cost.total.spent_micros, cost.total.unpriced) == (18, 1)
    assert cost_of_chat(chat.pk, chat_id=child.pk).total.spent_micros == 5
    assert not cost_of_chat(uuid4()).kinds
    assert len(statements(lambda: cost_of_chat(chat.pk))) == 1


@pytest.fixture
def many(cast: Cast) -> UUID:
    """Entries of many chats and days; returns the id of a chat."""
    chats = [uuid4() for _ in range(500)]
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            kind=EntryKind.SETTLE,
            call_id=uuid4(),
            owner=cast.alice if number < 50 else cast.bob,
            organization=cast.organization,
            chat_id=chats[number % 500],
            root_chat_id=chats[number % 500],
            settled_micros=1,
            created_at=now() - timedelta(hours=number),
        )
        for number in range(5000)
    )
    analyze()
    return chats[7]


def test_no_report_of_a_day_a_person_or_a_chat_goes_through_the_ledger(
    many: UUID, cast: Cast
) -> None:
    day = Scope(first=TODAY, last=TODAY)
    tables = ("spending_ledgerentry",)
    for scope in (
        day,
        Scope(first=MONTH.first, last=MONTH.last, user=cast.alice.pk),
        Scope(first=MONTH.first, last=MONTH.last, chat=many),
    ):
        for by in (By.USER, By.CHAT, By.KIND):
            assert scans(lambda: list_lines(scope, by, (), limit=51), tables) == []  # noqa: B023
        assert scans(lambda: overview_of(scope), tables) == []  # noqa: B023
        assert scans(lambda: list(entries_of(scope)[:51]), tables) == []  # noqa: B023
    assert scans(lambda: cost_of_chat(many), tables) == []


def test_this_test_sees_a_scan_when_there_is_one(many: UUID) -> None:
    assert scans(lambda: list(LedgerEntry.objects.filter(step=7)), ("spending_ledgerentry",))
