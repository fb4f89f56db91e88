"""What was spent is kept by day, with every priced message, in its transaction."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.apps import apps
from django.db import connections, transaction

from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.new_messages import NewMessage
from chatd.chats.partial import Partial
from chatd.chats.runs import Fence
from chatd.chats.titles import store_title, title_claim
from chatd.chats.transition import StateConflictError
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from chatd.spending.models import SpendDay
from tests.conftest import Cast
from tests.support.people import pending_chat, text, user_content
from tests.support.plans import statements
from tests.support.spending import spend

pytestmark = pytest.mark.django_db

committed = pytest.mark.django_db(transaction=True)
NewChat = Callable[[], Chat]


@pytest.fixture
def new_chat(cast: Cast, model: ModelConfig) -> NewChat:
    return lambda: pending_chat(cast.alice, cast.organization, model)


def priced(micros: int | None) -> NewMessage:
    return NewMessage(role=Role.ASSISTANT, content=text("dear"), total_cost_micros=micros)


def start(chat: Chat) -> Fence:
    runner = uuid4()
    taken = runs.acquire(chat.pk, runner, lease_seconds=600)
    assert taken is not None
    return Fence(chat_id=chat.pk, runner_id=runner, history_version=taken.history_version)


def days() -> dict[date, int]:
    return dict(SpendDay.objects.order_by("day").values_list("day", "micros"))


def written_days(run: Callable[[], Any]) -> list[str]:
    return [sql for sql in statements(run) if "spending_spendday" in sql]


def test_a_turn_adds_what_its_messages_cost(new_chat: NewChat, cast: Cast) -> None:
    runs.finish(start(new_chat()), [priced(7), priced(None), priced(0), priced(5)])
    runs.finish(start(new_chat()), [priced(30)])
    (day,) = SpendDay.objects.all()
    assert (day.owner_id, day.organization_id) == (cast.alice.pk, cast.organization.pk)
    assert (day.day, day.micros) == (now().date(), 42)
    assert sorted(
        ChatMessage.objects.filter(role=Role.ASSISTANT)
        .exclude(total_cost_micros=None)
        .values_list("total_cost_micros", flat=True)
    ) == [0, 5, 7, 30], "a cost of zero is a price, and not the lack of one"


def test_each_step_counts_on_the_day_it_is_stored(new_chat: NewChat) -> None:
    with time_machine.travel(datetime(2026, 12, 31, 23, 59, 59, 999999, UTC), tick=False) as clock:
        fence = start(new_chat())
        progress = runs.commit_step(fence, [priced(1)])
        clock.move_to(datetime(2027, 1, 1, tzinfo=UTC))
        runs.finish(
            Fence(
                chat_id=fence.chat_id,
                runner_id=fence.runner_id,
                history_version=progress.history_version,
            ),
            [priced(2)],
        )
    assert days() == {date(2026, 12, 31): 1, date(2027, 1, 1): 2}


@pytest.mark.parametrize("cost", [None, 0])
def test_without_cost_nothing_is_written(new_chat: NewChat, cost: int | None) -> None:
    fence = start(new_chat())
    assert written_days(lambda: runs.finish(fence, [priced(cost)])) == []
    assert days() == {}


def test_a_transition_writes_once_however_much_it_inserts(new_chat: NewChat) -> None:
    chat = new_chat()
    runs.finish(start(chat), [priced(1)])
    states.send_message(chat.pk, user_content(chat.owner_id))
    fence = start(chat)
    states.send_message(chat.pk, user_content(chat.owner_id))
    # the answer, and then the message that waited
    assert len(written_days(lambda: runs.finish(fence, [priced(2), priced(3)]))) == 1
    assert list(days().values()) == [6]


def test_a_write_that_is_fenced_out_spends_nothing(new_chat: NewChat) -> None:
    fence = start(new_chat())
    states.interrupt(fence.chat_id, partial=Partial(None))
    with pytest.raises(StateConflictError):
        runs.finish(fence, [priced(9)])
    assert days() == {}


def test_what_is_rolled_back_was_not_spent(new_chat: NewChat) -> None:
    fence = start(new_chat())
    with transaction.atomic():
        runs.finish(fence, [priced(9)])
        transaction.set_rollback(True)
    assert days() == {}


def test_a_title_adds_what_it_cost_stored_or_not(new_chat: NewChat) -> None:
    chat = new_chat()
    runs.finish(start(chat), [priced(1)])
    for title in ("A title", ""):
        with title_claim(chat.pk) as claim:
            store_title(claim, title, cost=priced(10))
    with title_claim(chat.pk) as claim:
        store_title(claim, "Free", cost=None)
    assert list(days().values()) == [21]


def test_what_was_spent_stays_when_its_messages_are_gone(new_chat: NewChat) -> None:
    chat = new_chat()
    runs.finish(start(chat), [priced(12)])
    first = ChatMessage.objects.get(chat=chat, role=Role.USER)
    states.edit_message(chat.pk, first.pk, user_content(chat.owner_id))
    assert list(days().values()) == [12]
    chat.delete()
    assert list(days().values()) == [12]


def test_the_sums_of_what_was_there_before_are_filled_in(
    new_chat: NewChat, cast: Cast, model: ModelConfig
) -> None:
    mine, other = new_chat(), pending_chat(cast.bob, cast.organization, model)
    edge = datetime(2026, 3, 1, tzinfo=UTC)
    last = datetime(2026, 2, 28, 23, 59, 59, 999999, UTC)
    for chat, at, cost, deleted in [
        (mine, last, 5, False),
        (mine, last, 6, True),
        (mine, last, None, False),
        (mine, edge, 7, False),
        (other, edge, 8, False),
    ]:
        ChatMessage.objects.create(
            chat=chat,
            revision=1,
            role=Role.ASSISTANT,
            content=[],
            total_cost_micros=cost,
            deleted=deleted,
            created_at=at,
        )
    import_module("chatd.spending.migrations.0002_fill_days").fill(apps, None)
    assert set(SpendDay.objects.values_list("owner_id", "organization_id", "day", "micros")) == {
        (cast.alice.pk, cast.organization.pk, last.date(), 11),
        (cast.alice.pk, cast.organization.pk, edge.date(), 7),
        (cast.bob.pk, cast.organization.pk, edge.date(), 8),
    }


@committed
def test_what_eight_threads_spend_adds_up(new_chat: NewChat, cast: Cast) -> None:
    """The first of them makes the day, and the others find it made meanwhile."""
    fences = [start(new_chat()) for _ in range(8)]
    together = threading.Barrier(8)
    raised: list[Exception] = []

    def work(fence: Fence) -> None:
        try:
            together.wait(30)
            runs.finish(fence, [priced(1000)])
            for micros in range(20):
                with transaction.atomic():
                    spend(micros, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[fence]) for fence in fences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert raised == []
    assert list(days().values()) == [8 * (1000 + sum(range(20)))]


def test_what_no_column_can_hold_stops_nobody(new_chat: NewChat) -> None:
    chat = new_chat()
    fence = start(chat)
    most = 2**63 - 1
    runs.finish(fence, [priced(most), priced(most)])
    assert list(days().values()) == [most]
