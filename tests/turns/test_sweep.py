"""The sweep: each chat on its own, a backlog not multiplied, a broker that is away."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from chatd.chats import runs
from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from chatd.spending.ledger_models import LedgerEntry, OpenHold
from chatd.turns import sweep
from tests.conftest import Cast
from tests.support.people import pending_chat

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    sent: list[Any] = []

    def enqueue(chat_id: Any, owner_id: Any) -> bool:
        sent.append(chat_id)
        return True

    monkeypatch.setattr(sweep, "enqueue_turn", enqueue)
    return sent


def pending_since(chat: Chat, seconds: float, *, sent_ago: float | None = None) -> None:
    instant = now()
    Chat.objects.filter(pk=chat.pk).update(
        updated_at=instant - timedelta(seconds=seconds),
        dispatched_at=None if sent_ago is None else instant - timedelta(seconds=sent_ago),
    )


@pytest.mark.parametrize(
    ("waits", "sent_ago", "again"),
    [
        (1, None, False),
        (3, None, True),
        (40, 20, False),
        (60, 35, True),
        (600, 200, False),
        (600, 320, True),
    ],
)
def test_a_pending_chat_is_sent_again_at_growing_intervals(
    cast: Cast,
    model: ModelConfig,
    sent: list[Any],
    waits: float,
    sent_ago: float | None,
    again: bool,
) -> None:
    chat = pending_chat(cast.alice, cast.organization, model)
    pending_since(chat, waits, sent_ago=sent_ago)
    sweep.sweep()
    assert bool(sent) is again


def test_a_broker_that_is_away_is_asked_once_a_round(
    cast: Cast, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def enqueue(chat_id: Any, owner_id: Any) -> bool:
        asked.append(chat_id)
        return False

    monkeypatch.setattr(sweep, "enqueue_turn", enqueue)
    for _ in range(3):
        pending_since(pending_chat(cast.alice, cast.organization, model), 10)
    sweep.sweep()
    assert len(asked) == 1


@pytest.mark.parametrize(("waits", "sent_ago"), [(3, None), (600, 320)])
def test_a_chat_that_could_not_be_sent_is_sent_as_soon_as_the_broker_is_back(
    cast: Cast,
    model: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
    waits: float,
    sent_ago: float | None,
) -> None:
    answers = iter([False, False, True])
    asked: list[bool] = []

    def enqueue(chat_id: Any, owner_id: Any) -> bool:
        asked.append(next(answers))
        return asked[-1]

    monkeypatch.setattr(sweep, "enqueue_turn", enqueue)
    chat = pending_chat(cast.alice, cast.organization, model)
    pending_since(chat, waits, sent_ago=sent_ago)
    for _ in range(4):
        sweep.sweep()
    assert asked == [False, False, True]


def test_a_chat_that_cannot_be_recovered_keeps_no_other_from_it(
    cast: Cast, model: ModelConfig, monkeypatch: pytest.MonkeyPatch, sent: list[Any]
) -> None:
    chats = [pending_chat(cast.alice, cast.organization, model) for _ in range(2)]
    for chat in chats:
        runs.acquire(chat.pk, uuid4(), lease_seconds=-1)
    real = runs.recover

    def recover(chat_id: Any) -> bool:
        if chat_id == chats[0].pk:
            raise RuntimeError("a row that cannot be read")
        return real(chat_id)

    monkeypatch.setattr(runs, "recover", recover)
    sweep.sweep()
    assert Chat.objects.get(pk=chats[1].pk).status == "pending"


def hold(chat: Chat, **ends: Any) -> UUID:
    made = OpenHold.objects.create(
        id=uuid4(),
        owner_id=chat.owner_id,
        organization_id=chat.organization_id,
        chat_id=chat.pk,
        root_chat_id=chat.pk,
        micros=7,
        created_at=now() - timedelta(hours=1),
        **ends,
    )
    return made.pk


def test_holds_that_nobody_will_settle_are_given_back(cast: Cast, model: ModelConfig) -> None:
    chat = pending_chat(cast.alice, cast.organization, model)
    running = runs.acquire(chat.pk, uuid4(), lease_seconds=30)
    assert running is not None
    ended = now() - timedelta(seconds=1)
    kept = {
        hold(chat, runner_id=running.runner_id),
        hold(chat, expires_at=now() + timedelta(minutes=1)),
    }
    lost = {hold(chat, runner_id=uuid4()), hold(chat, expires_at=ended)}
    just_now = hold(chat, runner_id=uuid4())
    OpenHold.objects.filter(pk=just_now).update(created_at=now())
    sweep.sweep()
    assert set(OpenHold.objects.values_list("pk", flat=True)) == kept | {just_now}
    released = LedgerEntry.objects.values_list("call_id", "kind", "held_micros")
    assert set(released) == {(call_id, "release", -7) for call_id in lost}
    sweep.sweep()
    assert LedgerEntry.objects.count() == 2


def test_a_sweep_without_a_database_gives_up_at_once(
    cast: Cast, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chat would wait for a connection as long as the first one did."""
    tried: list[UUID] = []

    def broken(chat_id: UUID) -> bool:
        tried.append(chat_id)
        raise OperationalError("away")

    monkeypatch.setattr(runs, "recover", broken)
    for _ in range(3):
        chat = pending_chat(cast.alice, cast.organization, model)
        runs.acquire(chat.pk, uuid4(), lease_seconds=-1)
    monkeypatch.setattr(sweep, "is_database_answering", lambda: False)
    with pytest.raises(OperationalError):
        sweep.sweep()
    assert len(tried) == 1
    monkeypatch.setattr(sweep, "is_database_answering", lambda: True)
    sweep.sweep()
    assert len(tried) == 4


def test_a_chat_that_is_pending_since_a_time_to_come_is_sent_again(
    cast: Cast, model: ModelConfig, sent: list[Any]
) -> None:
    chat = pending_chat(cast.alice, cast.organization, model)
    pending_since(chat, -3600)
    sweep.sweep()
    assert sent == [chat.pk]
