"""Debug runs: what an archive and an edit delete, and what the database holds."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, connections, transaction

from chatd.chats import states
from chatd.chats.debug_models import ChatDebugRun, ChatDebugStep, DebugStatus
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.partial import Partial
from chatd.chats.transition import StateConflictError
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from tests.chats.interleaving import SECONDS, wait_until_somebody_waits
from tests.chats.situations import put_into
from tests.support.debug import debug_run, debug_step
from tests.support.people import text, user_content


def remaining() -> set:
    return set(ChatDebugRun.objects.values_list("pk", flat=True))


@pytest.fixture
def chat(new_chat) -> Chat:
    """An idle chat with a question, its answer and a second question."""
    made = put_into(new_chat(), Status.WAITING)
    ChatMessage.objects.create(chat=made, revision=1, role=Role.USER, content=text("second"))
    return made


def child_of(root: Chat, chat: Chat) -> Chat:
    Chat.objects.filter(pk=chat.pk).update(parent_chat=root, root_chat=root)
    return Chat.objects.get(pk=chat.pk)


# Archive


@pytest.mark.parametrize("status", [Status.WAITING, Status.PENDING, Status.RUNNING, Status.ERROR])
def test_an_archive_deletes_the_runs_with_their_steps(new_chat, status):
    chat = put_into(new_chat(), status)
    for number in range(3):
        debug_step(debug_run(chat), number)
    debug_run(chat)
    kept = debug_step(debug_run(new_chat())).run
    states.archive_chat(chat.pk, partials={chat.pk: Partial(None)})
    assert remaining() == {kept.pk}
    assert ChatDebugStep.objects.get().run_id == kept.pk


def test_an_archive_keeps_a_run_that_starts_after_it(chat):
    debug_run(chat)
    later = debug_run(chat, started_at=now() + timedelta(minutes=1))
    states.archive_chat(chat.pk)
    assert remaining() == {later.pk}


def test_the_archive_of_a_root_deletes_the_runs_of_its_sub_chats_archived_ones_too(new_chat, chat):
    children = [child_of(chat, put_into(new_chat(), Status.WAITING)) for _ in range(2)]
    states.archive_chat(children[0].pk)
    for one in (chat, *children):
        debug_step(debug_run(one))
    states.archive_chat(chat.pk)
    assert remaining() == set()
    assert ChatDebugStep.objects.count() == 0


def test_the_archive_of_a_sub_chat_keeps_the_runs_of_the_others(new_chat, chat):
    children = [child_of(chat, put_into(new_chat(), Status.WAITING)) for _ in range(2)]
    kept = {debug_run(one).pk for one in (chat, children[1])}
    debug_run(children[0])
    states.archive_chat(children[0].pk)
    assert remaining() == kept


def test_what_is_refused_deletes_nothing(chat, cast):
    states.archive_chat(chat.pk)
    run = debug_run(chat)
    with pytest.raises(StateConflictError):
        states.archive_chat(chat.pk)
    with pytest.raises(StateConflictError):
        states.edit_message(chat.pk, first_question(chat).pk, user_content(cast.alice.pk))
    states.unarchive_chat(chat.pk)
    with pytest.raises(ChatdError):
        states.edit_message(chat.pk, answer_of(chat).pk, user_content(cast.alice.pk))
    assert remaining() == {run.pk}


def test_an_archive_that_is_undone_has_deleted_nothing(chat):
    run = debug_run(chat)
    with pytest.raises(RuntimeError), transaction.atomic():
        states.archive_chat(chat.pk)
        assert remaining() == set()
        raise RuntimeError
    assert remaining() == {run.pk}


@pytest.mark.django_db(transaction=True)
def test_an_archive_waits_for_steps_that_are_being_written_and_takes_them_along(chat):
    run = debug_run(chat)
    step = debug_step(run, 1)

    def archive() -> None:
        try:
            states.archive_chat(chat.pk)
        finally:
            connections.close_all()

    other = threading.Thread(target=archive)
    with transaction.atomic():
        ChatDebugRun.objects.select_for_update().get(pk=run.pk)
        other.start()
        wait_until_somebody_waits()  # the archive holds the chat
        ChatDebugStep.objects.filter(pk=step.pk).update(status=DebugStatus.ERROR)
        debug_step(run, 2)
    other.join(SECONDS)
    assert Chat.objects.get(pk=chat.pk).archived
    assert (ChatDebugRun.objects.count(), ChatDebugStep.objects.count()) == (0, 0)


# Edit


def first_question(chat: Chat) -> ChatMessage:
    return chat.messages.filter(role=Role.USER).earliest("id")


def answer_of(chat: Chat) -> ChatMessage:
    return chat.messages.get(role=Role.ASSISTANT)


def edit_second(chat: Chat) -> int:
    """Edit the second question; return its old id."""
    second = chat.messages.filter(role=Role.USER).latest("id").pk
    states.edit_message(chat.pk, second, user_content(chat.owner_id, "edited"))
    return second


ABOUT = [
    ("run", "trigger_message_id"),
    ("run", "history_tip_message_id"),
    ("step", "history_tip_message_id"),
    ("step", "assistant_message_id"),
]


@pytest.mark.parametrize(("where", "column"), ABOUT)
@pytest.mark.parametrize(("distance", "stays"), [(-1, True), (0, False), (1, False)])
def test_an_edit_deletes_the_runs_about_the_message_and_later_ones(
    chat, where, column, distance, stays
):
    second = chat.messages.latest("id").pk
    about = {column: second + distance}
    run = debug_run(chat, **(about if where == "run" else {}))
    debug_step(run, 1)
    debug_step(run, 2, **(about if where == "step" else {}))
    assert edit_second(chat) == second
    assert remaining() == ({run.pk} if stays else set())
    assert ChatDebugStep.objects.count() == (2 if stays else 0)


def test_an_edit_keeps_what_names_no_message_and_what_starts_after_it(chat):
    last = chat.messages.latest("id").pk
    kept = {
        debug_run(chat).pk,
        debug_run(chat, trigger_message_id=last, started_at=now() + timedelta(minutes=1)).pk,
    }
    debug_run(chat, trigger_message_id=last)
    edit_second(chat)
    assert remaining() == kept


def test_an_edit_keeps_the_runs_of_other_chats(chat, new_chat):
    last = chat.messages.latest("id").pk
    other = debug_run(new_chat(), trigger_message_id=last + 5, history_tip_message_id=last + 5)
    debug_step(other, assistant_message_id=last + 5)
    edit_second(chat)
    assert remaining() == {other.pk}


# What the database holds


@pytest.mark.parametrize("columns", [{"kind": "dream"}, {"status": "paused"}])
def test_a_run_has_a_known_kind_and_status(chat, columns):
    with pytest.raises(IntegrityError, match="debug_run"), transaction.atomic():
        debug_run(chat, **columns)


@pytest.mark.parametrize("columns", [{"operation": "guess"}, {"status": "paused"}])
def test_a_step_has_a_known_operation_and_status(chat, columns):
    run = debug_run(chat)
    with pytest.raises(IntegrityError, match="debug_step"), transaction.atomic():
        debug_step(run, **columns)


def test_a_number_is_given_once_in_a_run(chat):
    run = debug_run(chat)
    debug_step(run, 1)
    debug_step(debug_run(chat), 1)
    with pytest.raises(IntegrityError), transaction.atomic():
        debug_step(run, 1)


@pytest.mark.parametrize("column", ["normalized_request", "attempts", "metadata"])
def test_what_clients_read_as_an_object_or_list_is_never_null(chat, column):
    run = debug_run(chat)
    with pytest.raises(IntegrityError), transaction.atomic():
        debug_run(chat, summary=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        debug_step(run, **{column: None})


def test_a_step_is_of_the_chat_of_its_run_where_the_database_can_tell(chat, new_chat):
    if connection.vendor != "postgresql":
        return
    debug_step(debug_run(chat), chat_id=new_chat().pk)
    with pytest.raises(IntegrityError, match="debug_step_of_run_and_chat"):
        connection.check_constraints()


def test_a_chat_that_goes_takes_its_runs_with_it(chat):
    debug_step(debug_run(chat))
    chat.delete()
    assert (ChatDebugRun.objects.count(), ChatDebugStep.objects.count()) == (0, 0)
