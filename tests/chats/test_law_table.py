"""Every event in every state: where it leads, or that it is refused and changes nothing.

The tables below are written by hand from the contract and name the exact target of each pair,
so that a change of the law's data is seen here.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from chatd.chats.law import LAW, Event, allowed_targets
from chatd.chats.models import Chat, Status
from chatd.chats.transition import StateConflictError
from chatd.core.errors import ChatdError, ErrorCode
from tests.chats.invariants import check_chat, check_step, dump
from tests.chats.recorder import Recorder
from tests.chats.situations import CALLS, Attempt, put_into

pytestmark = pytest.mark.django_db

LETTERS = {
    "W": Status.WAITING,
    "P": Status.PENDING,
    "R": Status.RUNNING,
    "S": Status.PAUSED,
    "C": Status.COMPLETED,
    "E": Status.ERROR,
    "A": Status.REQUIRES_ACTION,
}

# Columns are the source: W P R S C E A. A letter is the target, further ones are allowed in other
# cases; "-" is refused; "." is allowed, but there is nothing to do; "?" is a queued message that
# does not exist. A chat in error has a tool call in doubt.
TABLE = """
event               | active, empty queue | active, queue     | archived, empty   | archived, queue
send                | P P R P P P A     | P P R P P P A     | -     - - - -     | -     - - - -
send_interrupt      | P P P P P P P     | P P P P P P P     | -     - - - -     | -     - - - -
interrupt           | W P W W W W W     | P P P P P P P     | W     W W W W     | W     W W W W
edit                | P P P P P P P     | P P P P P P P     | -     - - - -     | -     - - - -
delete_queued       | . . . . . . .     | W P R S C E A     | .     . . . .     | W     S C E A
promote             | ? ? ? ? ? ? ?     | P P P P P P P     | -     - - - -     | -     - - - -
submit_tool_results | - - - - - - P     | - - - - - - P     | -     - - - -     | -     - - - -
decide_call         | - - - - - PE -    | - - - - - PE -    | -     - - - -     | -     - - - -
archive             | W W W S C E A     | W W W S C E A     | -     - - - -     | -     - - - -
unarchive           | - - - - - - -     | - - - - - - -     | W     S C E A     | W     S C E A
acquire             | - R - - - - -     | - R - - - - -     | -     - - - -     | -     - - - -
retry               | - - R - - - -     | - - R - - - -     | -     - - - -     | -     - - - -
commit_step         | - - R - - - -     | - - R - - - -     | -     - - - -     | -     - - - -
compact             | - - R - - - -     | - - R - - - -     | -     - - - -     | -     - - - -
finish              | - - W - - - -     | - - P - - - -     | -     - - - -     | -     - - - -
require_action      | - - A - - - -     | - - A - - - -     | -     - - - -     | -     - - - -
fail                | - - E - - - -     | - - E - - - -     | -     - - - -     | -     - - - -
release             | - - PE - - - -    | - - PE - - - -    | -     - - - -     | -     - - - -
recover             | - - PE - - - -    | - - PE - - - -    | -     - - - -     | -     - - - -
expire_action       | - - - - - - E     | - - - - - - E     | -     - - - -     | -     - - - -
"""

RETURNS_INSTEAD = {
    Event.ACQUIRE: None,
    Event.RELEASE: False,
    Event.RECOVER: False,
    Event.EXPIRE_ACTION: False,
}
"""The engine's events for which losing is normal: they return this and do not raise."""


def _cases() -> list[tuple[Event, Status, bool, bool, str]]:
    cases = []
    for line in TABLE.strip().splitlines()[1:]:
        name, *columns = (cell.strip() for cell in line.split("|"))
        for index, column in enumerate(columns):
            archived, queued = index >= 2, index % 2 == 1
            sources = "WSCEA" if archived else "WPRSCEA"
            for letter, target in zip(sources, column.split(), strict=True):
                cases.append((Event(name), LETTERS[letter], queued, archived, target))
    return cases


CASES = _cases()


def _named(case: tuple[Event, Status, bool, bool, str]) -> str:
    event, status, queued, archived, _ = case
    return f"{event}-{status}{'-queue' * queued}{'-archived' * archived}"


@pytest.mark.parametrize("event", Event)
def test_the_law_allows_exactly_the_targets_of_the_table(event: Event) -> None:
    expected: dict[tuple[Status, bool], set[Status]] = {
        (status, archived): set() for _, status, _, archived, _ in CASES
    }
    for found, status, _, archived, target in CASES:
        if found is event and target[0] in LETTERS:
            expected[status, archived] |= {LETTERS[letter] for letter in target}
        elif found is event and target == ".":
            expected[status, archived].add(status)
    allowed = {
        (status, archived): set(allowed_targets(event, status, archived=archived))
        for status, archived in expected
    }
    assert allowed == expected


def test_the_table_has_every_event_in_every_state() -> None:
    states = {(event, status, queued, archived) for event, status, queued, archived, _ in CASES}
    assert len(states) == len(CASES) == len(Event) * (7 * 2 + 5 * 2)
    assert set(LAW) == set(Event) == set(CALLS)


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_an_event_leads_where_the_table_says_or_changes_nothing(
    case: tuple[Event, Status, bool, bool, str],
    new_chat: Callable[..., Chat],
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    event, status, queued, archived, expected = case
    with django_capture_on_commit_callbacks(execute=True):
        chat = put_into(new_chat(), status, queued=2 if queued else 0, archived=archived)
    recorder.clear()
    before = dump(chat.pk)
    with django_capture_on_commit_callbacks(execute=True):
        outcome = _try(event, Attempt(chat, chat.owner_id))
    after = dump(chat.pk)
    if expected[0] in LETTERS:
        assert not isinstance(outcome, Exception), outcome
        assert after.status == LETTERS[expected[0]]
        check_chat(after)
        check_step(before, after, recorder.notices)
        started = after.status == Status.PENDING and (
            before.status != Status.PENDING or before.messages != after.messages
        )
        assert recorder.woken == ([chat.pk] if started else [])
        assert after.status in allowed_targets(event, status, archived=archived)
        return
    assert after == before
    assert recorder.notices == []
    assert recorder.woken == []
    match expected:
        case "-" if event in RETURNS_INSTEAD:
            assert outcome is RETURNS_INSTEAD[event]
        case "-":
            assert isinstance(outcome, StateConflictError)
            assert (outcome.event, outcome.status) == (event, status)
            assert outcome.archived is archived
        case "?":
            assert isinstance(outcome, ChatdError)
            assert outcome.code is ErrorCode.NOT_FOUND
        case ".":
            assert outcome is False


def _try(event: Event, attempt: Attempt) -> Any:
    try:
        return CALLS[event](attempt)
    except (StateConflictError, ChatdError) as error:
        return error


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING])
def test_the_database_refuses_an_archived_chat_that_is_active(
    status: Status, new_chat: Callable[..., Chat]
) -> None:
    chat = new_chat()
    with pytest.raises(IntegrityError), transaction.atomic():
        put_into(chat, status, archived=True)


BROKEN_ROWS: dict[str, dict[str, Any]] = {
    "running without a lease": {"status": Status.RUNNING},
    "a runner without a lease": {"runner_id": "7d4d3f8a-37a5-4d0e-9d55-0e6a4d1f0001"},
    "waiting for a client without a deadline": {"status": Status.REQUIRES_ACTION},
    "an error without its text": {"status": Status.ERROR},
    "a text without an error": {"last_error": {"message": "x"}},
    "archived without an instant": {"status": Status.WAITING, "archived": True},
    "a history ahead of the snapshot": {"history_version": 2},
    "a queue ahead of the snapshot": {"queue_version": 2},
    "a negative pin": {"pin_order": -1},
    "an unknown status": {"status": "asleep"},
}


@pytest.mark.parametrize("name", BROKEN_ROWS)
def test_the_database_refuses_a_row_that_breaks_a_law(
    name: str, new_chat: Callable[..., Chat]
) -> None:
    chat = new_chat()
    with pytest.raises(IntegrityError), transaction.atomic():
        Chat.objects.filter(pk=chat.pk).update(**BROKEN_ROWS[name])


def test_rights_of_others_live_on_root_chats_alone(new_chat: Callable[..., Chat]) -> None:
    root, child = new_chat(), new_chat()
    Chat.objects.filter(pk=root.pk).update(user_acl={"someone": ["read"]})
    with pytest.raises(IntegrityError), transaction.atomic():
        Chat.objects.filter(pk=child.pk).update(parent_chat=root, user_acl={"x": ["read"]})
    with pytest.raises(IntegrityError), transaction.atomic():
        Chat.objects.filter(pk=child.pk).update(parent_chat=root, pin_order=1)
