"""Pins stay the positions 1 to n of an owner's chats, whatever is done and by whom at once."""

import random
from typing import Any

import pytest

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.chats import properties, states, transition
from chatd.chats.models import Chat
from chatd.chats.properties import ChatChanges, update_chat
from chatd.core.errors import ChatdError
from chatd.providers.models import ModelConfig
from tests.chats.interleaving import Overlap
from tests.conftest import Cast
from tests.support.people import pending_chat

two_connections = pytest.mark.django_db(transaction=True)


def change(owner: User, chat: Chat, **fields: Any) -> None:
    update_chat(Actor(owner), chat.pk, lambda: ChatChanges(**fields))


def pin(chat: Chat, position: int) -> None:
    change(chat.owner, chat, pin_order=position)


def order_of(owner: User) -> list[str]:
    """Return the titles of the pinned chats in order; their positions must be dense."""
    pinned = list(Chat.objects.filter(owner=owner, pin_order__gt=0).order_by("pin_order"))
    assert [chat.pin_order for chat in pinned] == list(range(1, len(pinned) + 1))
    return [chat.title for chat in pinned]


@pytest.fixture
def made(cast: Cast, model: ModelConfig) -> dict[str, Chat]:
    """Chats a to e of alice."""
    found = {}
    for title in "abcde":
        chat = pending_chat(cast.alice, cast.organization, model)
        Chat.objects.filter(pk=chat.pk).update(title=title)
        found[title] = chat
    return found


@pytest.fixture
def pinned(made: dict[str, Chat]) -> dict[str, Chat]:
    for chat in made.values():
        pin(chat, 1)
    return made


def test_a_chat_is_pinned_at_the_end_whatever_is_asked(made, cast: Cast):
    for title, position in (("c", 1), ("a", 1), ("e", 900), ("b", 2**31 - 1)):
        pin(made[title], position)
    assert order_of(cast.alice) == ["c", "a", "e", "b"]


@pytest.mark.parametrize(
    ("title", "position", "expected"),
    [
        ("a", 1, "abcde"),
        ("a", 3, "bcade"),
        ("a", 5, "bcdea"),
        ("a", 6, "bcdea"),
        ("a", 2**31 - 1, "bcdea"),
        ("e", 1, "eabcd"),
        ("d", 2, "adbce"),
        ("b", 4, "acdbe"),
        ("c", 3, "abcde"),
        ("e", 5, "abcde"),
    ],
)
def test_a_pinned_chat_moves_and_its_neighbours_shift(title, position, expected, pinned, cast):
    pin(pinned[title], position)
    assert "".join(order_of(cast.alice)) == expected


@pytest.mark.parametrize("title", "abcde")
def test_unpinning_closes_the_gap(title, pinned, cast):
    pin(pinned[title], 0)
    assert "".join(order_of(cast.alice)) == "abcde".replace(title, "")
    pin(pinned[title], 0)
    assert "".join(order_of(cast.alice)) == "abcde".replace(title, "")


@pytest.mark.parametrize("title", "abcde")
def test_archiving_closes_the_gap(title, pinned, cast):
    change(cast.alice, pinned[title], archived=True)
    assert "".join(order_of(cast.alice)) == "abcde".replace(title, "")


def test_archiving_by_the_machine_itself_closes_the_gap(pinned, cast):
    states.archive_chat(pinned["b"].pk)
    assert order_of(cast.alice) == ["a", "c", "d", "e"]


def test_a_pin_does_not_come_back_from_the_archive(pinned, cast):
    change(cast.alice, pinned["b"], archived=True)
    change(cast.alice, pinned["b"], archived=False)
    assert order_of(cast.alice) == ["a", "c", "d", "e"]
    pin(pinned["b"], 1)
    assert order_of(cast.alice) == ["a", "c", "d", "e", "b"]


def test_gaps_and_duplicates_of_the_past_are_healed_by_any_pin(made, cast):
    for title, position in (("a", 4), ("b", 4), ("c", 9), ("d", 2)):
        Chat.objects.filter(pk=made[title].pk).update(pin_order=position)
    first, second = sorted((made["a"], made["b"]), key=lambda chat: chat.pk)
    pin(made["e"], 1)
    tied = [Chat.objects.get(pk=chat.pk).title for chat in (first, second)]
    assert order_of(cast.alice) == ["d", *tied, "c", "e"]


def test_pins_of_another_owner_are_left_alone(pinned, cast, model):
    his = pending_chat(cast.bob, cast.organization, model)
    pin(his, 3)
    pin(pinned["a"], 5)
    assert order_of(cast.bob) == ["A chat"]
    assert "".join(order_of(cast.alice)) == "bcdea"


def test_an_administrator_pins_among_the_owners_chats(pinned, cast, model):
    own = pending_chat(cast.root, cast.organization, model)
    pin(own, 1)
    change(cast.root, pinned["e"], pin_order=1)
    assert "".join(order_of(cast.alice)) == "eabcd"
    assert order_of(cast.root) == ["A chat"]


def test_pins_move_no_instant_and_no_version(pinned):
    before = Chat.objects.in_bulk()
    pin(pinned["a"], 5)
    for chat in Chat.objects.all():
        assert chat.updated_at == before[chat.pk].updated_at
        assert chat.snapshot_version == before[chat.pk].snapshot_version


@pytest.mark.parametrize("seed", range(5))
def test_after_any_sequence_the_positions_are_as_in_a_list(seed, made, cast):
    chance = random.Random(seed)
    expected: list[str] = []
    archived: set[str] = set()
    for _ in range(40):
        title, position = chance.choice("abcde"), chance.randint(-1, 7)
        if chance.random() < 0.2:
            change(cast.alice, made[title], archived=title not in archived)
            archived ^= {title}
            expected = [other for other in expected if other != title]
        elif position < 0 or (position and title in archived):
            with pytest.raises(ChatdError):
                pin(made[title], position)
        else:
            index = position - 1 if title in expected else len(expected)
            expected = [other for other in expected if other != title]
            if position:
                expected.insert(index, title)
            pin(made[title], position)
        assert order_of(cast.alice) == expected


@pytest.fixture
def overlap(monkeypatch: pytest.MonkeyPatch) -> Overlap:
    """Two requests at once; the first stops where it has locked its chat."""
    monkeypatch.setattr(properties, "lock_chat", lambda chat_id: transition.lock_chat(chat_id))
    return Overlap(monkeypatch)


@two_connections
@pytest.mark.parametrize("already", ["", "c", "abc"])
def test_two_pins_at_once_get_two_positions(already, made, cast, overlap):
    for title in already:
        pin(made[title], 1)
    outcomes = overlap.run(lambda: pin(made["d"], 1), lambda: pin(made["e"], 1))
    assert outcomes == (None, None)
    assert "".join(order_of(cast.alice)) == f"{already}de"


@two_connections
def test_an_archive_and_a_move_at_once_leave_no_gap(pinned, cast, overlap):
    outcomes = overlap.run(
        lambda: change(cast.alice, pinned["b"], archived=True), lambda: pin(pinned["e"], 2)
    )
    assert outcomes == (None, None)
    assert "".join(order_of(cast.alice)) == "aecd"


@two_connections
def test_a_move_and_an_archive_at_once_leave_no_gap(pinned, cast, overlap):
    outcomes = overlap.run(lambda: pin(pinned["e"], 2), lambda: states.archive_chat(pinned["b"].pk))
    assert isinstance(outcomes[1], list)
    assert "".join(order_of(cast.alice)) == "aecd"


@two_connections
def test_of_two_archives_at_once_one_is_told_that_it_is_late(pinned, cast, overlap):
    first, second = overlap.run(
        lambda: change(cast.alice, pinned["a"], archived=True),
        lambda: change(cast.alice, pinned["a"], archived=True),
    )
    assert first is None
    assert isinstance(second, ChatdError)
    assert second.message == "Chat is already archived."
    assert "".join(order_of(cast.alice)) == "bcde"


@two_connections
def test_a_pin_that_comes_second_sees_the_archive(pinned, cast, overlap):
    first, second = overlap.run(
        lambda: change(cast.alice, pinned["a"], archived=True), lambda: pin(pinned["a"], 3)
    )
    assert first is None
    assert isinstance(second, ChatdError)
    assert second.message == "Cannot pin an archived chat."
    assert "".join(order_of(cast.alice)) == "bcde"
