"""What a chat says about its last turn: fixed words in the transitions, a label afterwards."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from chatd.chats import runs
from chatd.chats.law import Event
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.new_messages import NewMessage
from chatd.chats.summaries import store_summary
from chatd.chats.titles import store_first_title
from chatd.spending.models import SpendDay
from tests.chats.recorder import Recorder
from tests.chats.situations import CALLS, Attempt, fence_of, leave_in_doubt, put_into
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

NewChat = Callable[..., Chat]

BEFORE = "Finished latest turn"
STAYS, CLEARED = BEFORE, None

# event, state, has a queue -> what the chat says afterwards
SAID: list[tuple[Event, Status, bool, str | None]] = [
    (Event.SEND, Status.WAITING, False, STAYS),
    (Event.SEND_INTERRUPT, Status.WAITING, False, STAYS),
    (Event.SEND_INTERRUPT, Status.RUNNING, False, CLEARED),
    (Event.INTERRUPT, Status.RUNNING, False, CLEARED),
    (Event.INTERRUPT, Status.RUNNING, True, CLEARED),
    (Event.INTERRUPT, Status.PENDING, False, STAYS),
    (Event.INTERRUPT, Status.REQUIRES_ACTION, False, CLEARED),
    (Event.INTERRUPT, Status.WAITING, False, STAYS),
    (Event.INTERRUPT, Status.WAITING, True, STAYS),
    (Event.EDIT, Status.WAITING, False, STAYS),
    (Event.EDIT, Status.RUNNING, False, CLEARED),
    (Event.PROMOTE, Status.WAITING, True, STAYS),
    (Event.PROMOTE, Status.RUNNING, True, CLEARED),
    (Event.ARCHIVE, Status.WAITING, False, STAYS),
    (Event.ARCHIVE, Status.RUNNING, False, CLEARED),
    (Event.ACQUIRE, Status.PENDING, False, STAYS),
    (Event.COMMIT_STEP, Status.RUNNING, False, STAYS),
    (Event.FINISH, Status.RUNNING, False, STAYS),
    (Event.FINISH, Status.RUNNING, True, "Still working on request"),
    (Event.REQUIRE_ACTION, Status.RUNNING, False, "Waiting for user input"),
    (Event.FAIL, Status.RUNNING, True, CLEARED),
    (Event.EXPIRE_ACTION, Status.REQUIRES_ACTION, False, CLEARED),
    (Event.RELEASE, Status.RUNNING, False, STAYS),
    (Event.RECOVER, Status.RUNNING, False, STAYS),
]


def kinds(recorder: Recorder) -> list[str]:
    return [json.loads(payload)["kind"] for payload in recorder.watch_payloads]


def saying(chat: Chat, summary: str | None, **others: Any) -> Chat:
    Chat.objects.filter(pk=chat.pk).update(last_turn_summary=summary, **others)
    return Chat.objects.get(pk=chat.pk)


@pytest.mark.parametrize("case", SAID, ids=lambda case: f"{case[0]}-{case[1]}{'-queue' * case[2]}")
def test_a_transition_leaves_the_words_that_fit(
    case: tuple[Event, Status, bool, str | None],
    new_chat: NewChat,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    event, status, queued, expected = case
    chat = saying(put_into(new_chat(), status, queued=int(queued)), BEFORE)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        CALLS[event](Attempt(chat, chat.owner_id))
    assert Chat.objects.get(pk=chat.pk).last_turn_summary == expected
    is_told = expected != BEFORE and event is not Event.ARCHIVE  # who archives drops the row
    assert kinds(recorder).count("summary_change") == is_told


@pytest.mark.parametrize(
    ("event", "queued", "words"),
    [
        (Event.FINISH, True, "Still working on request"),
        (Event.REQUIRE_ACTION, False, "Waiting for user input"),
        (Event.FAIL, False, None),
    ],
)
def test_what_is_said_already_is_not_told_again(
    event: Event,
    queued: bool,
    words: str | None,
    new_chat: NewChat,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    chat = saying(put_into(new_chat(), Status.RUNNING, queued=int(queued)), words)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        CALLS[event](Attempt(chat, chat.owner_id))
    assert Chat.objects.get(pk=chat.pk).last_turn_summary == words
    assert "summary_change" not in kinds(recorder)


@pytest.mark.parametrize("event", [Event.FINISH, Event.REQUIRE_ACTION])
def test_a_sub_chat_says_nothing(event: Event, new_chat: NewChat) -> None:
    root, chat = new_chat(), put_into(new_chat(), Status.RUNNING, queued=1)
    Chat.objects.filter(pk=chat.pk).update(parent_chat=root, root_chat=root)
    CALLS[event](Attempt(chat, chat.owner_id))
    assert Chat.objects.get(pk=chat.pk).last_turn_summary is None


def test_a_turn_that_waits_for_a_person_to_decide_says_nothing_of_an_earlier_one(
    new_chat: NewChat,
) -> None:
    chat = saying(put_into(new_chat(), Status.RUNNING), BEFORE)
    call = {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": {}}
    leave_in_doubt(chat, call)
    CALLS[Event.RECOVER](Attempt(chat, chat.owner_id))
    found = Chat.objects.get(pk=chat.pk)
    assert (found.status, found.last_turn_summary) == (Status.ERROR, None)


@pytest.mark.parametrize(
    ("before", "queued", "is_sub_chat", "expected", "told"),
    [
        (None, 0, False, BEFORE, True),
        (BEFORE, 0, False, BEFORE, True),
        (None, 1, False, "Still working on request", True),
        (None, 0, True, None, False),
    ],
)
def test_a_turn_that_nobody_labels_says_itself_that_it_has_ended(
    before: str | None,
    queued: int,
    is_sub_chat: bool,
    expected: str | None,
    told: bool,
    new_chat: NewChat,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    above = {"parent_chat": new_chat()} if is_sub_chat else {}
    chat = saying(put_into(new_chat(), Status.RUNNING, queued=queued), before, **above)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        runs.finish(fence_of(chat), label=BEFORE)
    assert Chat.objects.get(pk=chat.pk).last_turn_summary == expected
    assert kinds(recorder).count("summary_change") == told


# the label


def cost() -> NewMessage:
    return NewMessage(role=Role.ASSISTANT, content=[], total_cost_micros=7)


@pytest.mark.parametrize("before", [None, BEFORE])
def test_a_label_is_stored_and_told_and_the_list_keeps_its_order(
    before: str | None,
    new_chat: NewChat,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    chat = saying(put_into(new_chat(), Status.WAITING), before)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert store_summary(chat.pk, BEFORE, ended_at=chat.updated_at)
    found = Chat.objects.get(pk=chat.pk)
    assert (found.last_turn_summary, found.updated_at) == (BEFORE, chat.updated_at)
    assert found.snapshot_version == chat.snapshot_version
    assert kinds(recorder) == ["summary_change"]


def test_a_label_loses_against_whatever_came_after_its_turn_and_is_paid_for(
    new_chat: NewChat,
    recorder: Recorder,
    cast: Cast,
    django_capture_on_commit_callbacks: Any,
) -> None:
    chat = put_into(new_chat(), Status.WAITING)
    earlier = chat.updated_at - timedelta(microseconds=1)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert not store_summary(chat.pk, "Fixed it all", ended_at=earlier, costs=[cost()])
    assert Chat.objects.get(pk=chat.pk).last_turn_summary is None
    assert kinds(recorder) == []
    row = ChatMessage.objects.get(chat=chat, deleted=True)
    assert (row.total_cost_micros, row.revision) == (7, chat.snapshot_version)
    assert SpendDay.objects.get(owner=cast.alice).micros == 7


# the first title


@pytest.mark.parametrize(
    ("title", "instead_of", "stored"),
    [
        ("Why the sky is blue", "New Chat", True),
        ("Why the sky is blue", "Renamed meanwhile", False),
        ("New Chat", "New Chat", False),
        ("", "New Chat", False),
    ],
)
def test_a_first_title_replaces_the_one_it_was_made_for_alone(
    title: str,
    instead_of: str,
    stored: bool,
    new_chat: NewChat,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    chat = new_chat()
    Chat.objects.filter(pk=chat.pk).update(title="New Chat")
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        costs = [cost(), cost()]
        assert store_first_title(chat.pk, title, instead_of=instead_of, costs=costs) == stored
    found = Chat.objects.get(pk=chat.pk)
    assert found.title == (title if stored else "New Chat")
    assert found.updated_at == chat.updated_at
    assert kinds(recorder) == ["title_change"] * stored
    assert ChatMessage.objects.filter(chat=chat, deleted=True).count() == 2
