"""What followers and owners are told of each transition, and in which order."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from chatd.chats import runs, states
from chatd.chats.law import Event
from chatd.chats.models import Chat, Status
from chatd.chats.moves import EpisodeMovedError, UserContent
from chatd.chats.partial import Partial
from chatd.core.clock import now
from chatd.live.messages import Notification, StreamedPart
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import ModelConfig
from tests.chats.recorder import Recorder
from tests.chats.situations import CALLS, Attempt, put_into
from tests.conftest import Cast
from tests.support.people import text, user_content

pytestmark = pytest.mark.django_db

NewChat = Callable[..., Chat]

# event, state, queue -> what the doorbell says, and the watch events of the owner (with status)
ANNOUNCED: list[tuple[Event, Status, bool, set[str], list[str]]] = [
    (Event.SEND, Status.WAITING, False, {"after_message_id", "status"}, ["status_change pending"]),
    (Event.SEND, Status.RUNNING, False, {"queue_update"}, []),
    (
        Event.SEND_INTERRUPT,
        Status.PENDING,
        False,
        {"queue_update", "status"},
        ["status_change pending"],
    ),
    (
        Event.SEND,
        Status.ERROR,
        True,
        {"after_message_id", "queue_update", "status"},
        ["status_change pending"],
    ),
    (
        Event.SEND_INTERRUPT,
        Status.RUNNING,
        False,
        {"first_status", "after_message_id", "queue_update", "status"},
        ["status_change waiting", "status_change pending"],
    ),
    (
        Event.INTERRUPT,
        Status.RUNNING,
        False,
        {"first_status", "status"},
        ["status_change waiting", "status_change waiting"],
    ),
    (
        Event.INTERRUPT,
        Status.RUNNING,
        True,
        {"first_status", "after_message_id", "queue_update", "status"},
        ["status_change waiting", "status_change pending"],
    ),
    (Event.INTERRUPT, Status.PENDING, False, {"status"}, ["status_change pending"]),
    (
        Event.INTERRUPT,
        Status.REQUIRES_ACTION,
        False,
        {"after_message_id", "status"},
        ["status_change waiting"],
    ),
    (
        Event.EDIT,
        Status.RUNNING,
        True,
        {"full_refresh", "after_message_id", "queue_update", "status"},
        ["status_change pending"],
    ),
    (Event.DELETE_QUEUED, Status.RUNNING, True, {"queue_update"}, []),
    (
        Event.PROMOTE,
        Status.WAITING,
        True,
        {"after_message_id", "queue_update", "status"},
        ["status_change pending"],
    ),
    (
        Event.SUBMIT_TOOL_RESULTS,
        Status.REQUIRES_ACTION,
        False,
        {"after_message_id", "status"},
        ["status_change pending"],
    ),
    (
        Event.DECIDE_CALL,
        Status.ERROR,
        False,
        {"after_message_id", "status"},
        ["status_change pending"],
    ),
    (Event.ARCHIVE, Status.WAITING, True, set(), ["deleted waiting"]),
    (
        Event.ARCHIVE,
        Status.RUNNING,
        False,
        {"status"},
        ["status_change waiting", "deleted waiting"],
    ),
    (Event.ACQUIRE, Status.PENDING, False, {"status", "worker_id"}, []),
    (Event.RETRY, Status.RUNNING, False, {"retry"}, []),
    (Event.COMMIT_STEP, Status.RUNNING, False, {"after_message_id"}, []),
    (Event.COMPACT, Status.RUNNING, False, {"after_message_id"}, []),
    (
        Event.FINISH,
        Status.RUNNING,
        False,
        {"after_message_id", "status"},
        ["status_change waiting"],
    ),
    (
        Event.FINISH,
        Status.RUNNING,
        True,
        {"after_message_id", "queue_update", "status"},
        ["status_change pending", "summary_change pending"],
    ),
    (
        Event.REQUIRE_ACTION,
        Status.RUNNING,
        False,
        {"after_message_id", "status", "action_required"},
        [
            "status_change requires_action",
            "action_required requires_action",
            "summary_change requires_action",
        ],
    ),
    (
        Event.FAIL,
        Status.RUNNING,
        True,
        {"error", "error_payload", "status"},
        ["status_change error"],
    ),
    (Event.RELEASE, Status.RUNNING, False, {"retry", "status"}, []),
    (Event.RECOVER, Status.RUNNING, False, {"retry", "status"}, []),
    (
        Event.EXPIRE_ACTION,
        Status.REQUIRES_ACTION,
        False,
        {"after_message_id", "error", "error_payload", "status"},
        ["status_change error"],
    ),
]

VERSIONS = {"snapshot_version", "history_version", "queue_version", "attempt"}


def said(notification: Notification) -> set[str]:
    """Return the names of what a doorbell says, beside the versions."""
    silent = Notification()
    names = Notification.__struct_fields__
    return {n for n in names if getattr(notification, n) != getattr(silent, n)} - VERSIONS


def watched(recorder: Recorder) -> list[str]:
    events = [json.loads(payload) for payload in recorder.watch_payloads]
    return [f"{event['kind']} {event['chat']['status']}" for event in events]


@pytest.mark.parametrize(
    "case", ANNOUNCED, ids=lambda case: f"{case[0]}-{case[1]}{'-queue' * case[2]}"
)
def test_a_transition_announces_what_changed_and_no_more(
    case: tuple[Event, Status, bool, set[str], list[str]],
    new_chat: NewChat,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    event, status, queued, fields, watch_events = case
    chat = put_into(new_chat(), status, queued=2 if queued else 0)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        CALLS[event](Attempt(chat, chat.owner_id))
    [notification] = recorder.notifications
    assert said(notification) == fields
    assert watched(recorder) == watch_events
    stopped = status == Status.RUNNING and event in (
        Event.SEND_INTERRUPT,
        Event.INTERRUPT,
        Event.EDIT,
        Event.PROMOTE,
        Event.ARCHIVE,
        Event.RECOVER,
    )
    assert recorder.cancelled == ([chat.runner_id] if stopped else [])


def test_every_event_but_the_rarest_is_in_the_table() -> None:
    assert set(Event) - {case[0] for case in ANNOUNCED} == {Event.UNARCHIVE}


def test_a_new_chat_is_announced_to_its_owner_as_created_and_pending(
    new_chat: NewChat, recorder: Recorder, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        chat = new_chat()
    assert watched(recorder) == ["created pending"]
    assert recorder.notifications == []
    assert recorder.woken == [chat.pk]


def test_an_error_is_announced_with_the_same_words_that_are_stored(
    new_chat: NewChat, recorder: Recorder, django_capture_on_commit_callbacks: Any
) -> None:
    chat = put_into(new_chat(), Status.RUNNING)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        CALLS[Event.FAIL](Attempt(chat, chat.owner_id))
    [notification] = recorder.notifications
    shown = json.loads(recorder.watch_payloads[0])["chat"]["last_error"]
    assert notification.error_payload == shown
    assert notification.error == "broken"


def test_a_family_is_archived_and_unarchived_as_a_whole_but_a_child_alone(
    new_chat: NewChat, recorder: Recorder, django_capture_on_commit_callbacks: Any
) -> None:
    root, running, idle = new_chat(), new_chat(), new_chat()
    for child in (running, idle):
        Chat.objects.filter(pk=child.pk).update(parent_chat=root, root_chat=root)
    put_into(root, Status.WAITING)
    put_into(running, Status.RUNNING)
    put_into(idle, Status.ERROR)
    streamed = StreamedPart(role="assistant", part=text("half")[0])
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        done = states.archive_chat(root.pk, partials={running.pk: Partial(None, (streamed,))})
    assert {chat.pk for chat in done} == {root.pk, running.pk, idle.pk}
    assert watched(recorder) == [
        "deleted waiting",
        "status_change waiting",
        "deleted waiting",
        "deleted error",
    ]
    assert all(json.loads(raw)["chat"]["archived"] for raw in recorder.watch_payloads)
    assert running.messages.latest("id").content == text("half")
    with pytest.raises(Exception, match="Cannot unarchive a child chat"):
        states.unarchive_chat(idle.pk)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        states.unarchive_chat(root.pk)
    assert watched(recorder) == ["created waiting", "created waiting", "created error"]
    states.archive_chat(idle.pk)
    root.refresh_from_db()
    assert not root.archived


def test_archiving_a_family_is_all_or_nothing(new_chat: NewChat, recorder: Recorder) -> None:
    root, child = new_chat(), new_chat()
    Chat.objects.filter(pk=child.pk).update(parent_chat=root, root_chat=root)
    put_into(root, Status.WAITING)
    put_into(child, Status.RUNNING)
    with pytest.raises(EpisodeMovedError):
        states.archive_chat(root.pk)
    root.refresh_from_db()
    assert not root.archived


def test_the_watch_event_of_a_send_names_the_model_that_is_used_from_now_on(
    new_chat: NewChat,
    cast: Cast,
    recorder: Recorder,
    django_capture_on_commit_callbacks: Any,
) -> None:
    chat = put_into(new_chat(), Status.WAITING)
    other = save_model_config(
        ModelConfig(ai_provider=chat.last_model_config.ai_provider, model="other-model")
    )
    recorder.clear()
    message = UserContent(
        content=text("go on"), size_bytes=9, created_by=cast.alice.pk, model_config_id=other.pk
    )
    with django_capture_on_commit_callbacks(execute=True):
        states.send_message(chat.pk, message)
    event = json.loads(recorder.watch_payloads[0])
    assert event["chat"]["last_model_config_id"] == str(other.pk)


def test_an_open_call_is_announced_with_its_arguments_as_text(
    new_chat: NewChat, recorder: Recorder, django_capture_on_commit_callbacks: Any
) -> None:
    chat = put_into(new_chat(), Status.RUNNING)
    recorder.clear()
    with django_capture_on_commit_callbacks(execute=True):
        CALLS[Event.REQUIRE_ACTION](Attempt(chat, chat.owner_id))
    event = json.loads(recorder.watch_payloads[1])
    [call] = event["tool_calls"]
    assert call["tool_name"] == "ask_browser"
    assert json.loads(call["args"]) == {"q": 1}


def test_an_event_of_a_chat_that_is_gone_is_not_found_or_lost() -> None:
    nobody = uuid4()
    assert runs.acquire(nobody, uuid4(), lease_seconds=1) is None
    assert runs.recover(nobody) is False
    assert runs.expire_action(nobody) is False
    assert runs.release(nobody, uuid4()) is False
    with pytest.raises(Exception, match="not found"):
        states.send_message(nobody, user_content(uuid4()))


def test_archiving_a_root_restarts_the_retention_of_sub_chats_that_were_archived_before(
    new_chat: NewChat,
) -> None:
    root = new_chat()
    child = new_chat()
    long_ago = now() - timedelta(days=20)
    Chat.objects.filter(pk=child.pk).update(
        parent_chat=root,
        root_chat=root,
        status=Status.WAITING,
        archived=True,
        archived_at=long_ago,
        updated_at=long_ago,
    )
    states.archive_chat(root.pk, partials={})
    child.refresh_from_db()
    assert child.archived_at is not None
    assert child.archived_at > long_ago
    assert child.updated_at > long_ago
