"""Who gets the next free slot."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from chatd.chats.models import Chat, Status
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from chatd.turns.fairness import FairShares, Waiting, who_waits
from tests.conftest import Cast
from tests.support.people import pending_chat

ALICE, BOB, CAROL = (UUID(int=number) for number in (1, 2, 3))
INSTANT = now()


def waiting(*owners: UUID) -> dict[UUID, Waiting]:
    """Return people who wait, the first one for longest."""
    return {
        owner: Waiting(uuid4(), INSTANT + timedelta(seconds=place))
        for place, owner in enumerate(owners)
    }


def order(shares: FairShares, who: dict[UUID, Waiting], slots: int) -> list[UUID]:
    """Return who starts when this many slots come free one after the other; nobody ends."""
    started = []
    for _ in range(slots):
        chosen = shares.choose(who)
        assert chosen is not None
        shares.start(chosen[0])
        started.append(chosen[0])
    return started


def test_who_has_fewest_running_turns_is_next() -> None:
    shares = FairShares(per_person=10)
    for owner in (ALICE, ALICE, BOB):
        shares.start(owner)
    assert order(shares, waiting(ALICE, BOB, CAROL), 4) == [CAROL, BOB, CAROL, ALICE]


def test_of_equals_the_one_who_started_longest_ago_is_next() -> None:
    """One slot: a person with a long backlog takes turns with the others."""
    shares = FairShares(per_person=1)
    both, started = waiting(ALICE, BOB), []
    for _ in range(4):
        chosen = shares.choose(both)
        assert chosen is not None
        shares.start(chosen[0])
        started.append(chosen[0])
        shares.end(chosen[0])
    assert started == [ALICE, BOB, ALICE, BOB]


def test_who_never_started_goes_by_how_long_they_wait() -> None:
    assert order(FairShares(per_person=9), waiting(CAROL, ALICE, BOB), 3) == [CAROL, ALICE, BOB]


def test_nobody_holds_more_than_one_may() -> None:
    shares = FairShares(per_person=2)
    assert order(shares, waiting(ALICE), 2) == [ALICE, ALICE]
    assert not shares.has_room_for(ALICE)
    assert shares.choose(waiting(ALICE)) is None
    assert shares.choose(waiting(ALICE, BOB))[0] == BOB  # type: ignore[index]
    shares.end(ALICE)
    assert shares.has_room_for(ALICE)


@pytest.mark.django_db
def test_everybody_who_waits_is_found_with_their_oldest_chat(
    cast: Cast, model: ModelConfig
) -> None:
    chats = {}
    for name, person, age in (
        ("new", cast.alice, 1),
        ("old", cast.alice, 9),
        ("of bob", cast.bob, 5),
        ("archived", cast.bob, 30),
        ("idle", cast.carol, 30),
    ):
        chat = chats[name] = pending_chat(person, cast.organization, model)
        Chat.objects.filter(pk=chat.pk).update(updated_at=INSTANT - timedelta(seconds=age))
    Chat.objects.filter(pk=chats["idle"].pk).update(status=Status.WAITING)
    Chat.objects.filter(pk=chats["archived"].pk).update(
        status=Status.WAITING, archived=True, archived_at=INSTANT
    )
    assert who_waits() == {
        cast.alice.pk: Waiting(chats["old"].pk, INSTANT - timedelta(seconds=9)),
        cast.bob.pk: Waiting(chats["of bob"].pk, INSTANT - timedelta(seconds=5)),
    }
