"""The lock of titles: who has it, who loses it, and what is stored in the end."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, OperationalError
from django.db.models import QuerySet

from chatd.accounts.actor import Actor
from chatd.chats import runs, states, titles
from chatd.chats.models import Chat, ChatMessage, Role, Status, Visibility
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.partial import Partial
from chatd.chats.properties import ChatChanges, update_chat
from chatd.chats.selectors import prompt_messages, visible_messages, with_unread
from chatd.chats.titles import LOCK_KEPT, TITLE_LOCKED, TitleClaim, store_title, title_claim
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode
from chatd.live.messages import Notice
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import ModelConfig
from tests.chats.interleaving import Overlap
from tests.chats.invariants import check_chat, dump
from tests.chats.recorder import Recorder
from tests.chats.situations import answer, fence_of, put_into
from tests.support.people import user_content

NewChat = Callable[..., Chat]

two_connections = committed = pytest.mark.django_db(transaction=True)

IDLE = [Status.WAITING, Status.ERROR, Status.REQUIRES_ACTION, Status.PAUSED, Status.COMPLETED]


@pytest.fixture
def chat(new_chat: NewChat) -> Chat:
    """A chat of alice that waits for her."""
    return put_into(new_chat(), Status.WAITING)


@pytest.fixture
def running(new_chat: NewChat) -> Chat:
    return put_into(new_chat(), Status.RUNNING)


def fresh(chat: Chat) -> Chat:
    check_chat(dump(chat.pk))
    return Chat.objects.get(pk=chat.pk)


def cost_of(model: ModelConfig) -> NewMessage:
    return NewMessage(
        role=Role.ASSISTANT,
        content=[],
        visibility=Visibility.MODEL,
        model_config_id=model.pk,
        usage=StepUsage(input_tokens=11, output_tokens=4, total_tokens=15, context_limit=1000),
        runtime_ms=7,
    )


def by_hand(chat: Chat, title: str) -> None:
    update_chat(Actor(chat.owner), chat.pk, lambda: ChatChanges(title=title))


def kinds(recorder: Recorder) -> list[str]:
    return [json.loads(payload)["kind"] for payload in recorder.watch_payloads]


def assert_locked(error: Any) -> None:
    assert isinstance(error, ChatdError)
    assert (error.code, error.message) == (ErrorCode.CONFLICT, TITLE_LOCKED)


def assert_unlocked(chat: Chat) -> None:
    found = fresh(chat)
    assert (found.title_lock_id, found.title_locked_at) == (None, None)


# who may have it


@pytest.mark.parametrize("status", IDLE)
@pytest.mark.parametrize("archived", [False, True])
def test_an_idle_chat_is_locked_while_a_title_is_made_and_nothing_else_moves(
    new_chat: NewChat, status: Status, archived: bool
) -> None:
    chat = put_into(new_chat(), status, archived=archived)
    with title_claim(chat.pk) as claim:
        held = fresh(chat)
        assert held.title_lock_id == claim.lock_id is not None
        assert held.title_locked_at is not None
    assert_unlocked(chat)
    for name in ("status", "title", "updated_at", "snapshot_version", "archived"):
        assert getattr(fresh(chat), name) == getattr(held, name) == getattr(chat, name)


def test_a_pending_chat_is_refused(new_chat: NewChat) -> None:
    chat = new_chat()
    with pytest.raises(ChatdError) as refused, title_claim(chat.pk):
        raise AssertionError("the lock was given")
    assert_locked(refused.value)
    assert_unlocked(chat)


def test_a_running_chat_takes_no_lock_so_that_titles_are_made_side_by_side(running: Chat) -> None:
    with title_claim(running.pk) as one, title_claim(running.pk) as other:
        assert (one.lock_id, other.lock_id) == (None, None)
        assert_unlocked(running)


def test_a_chat_that_began_to_run_is_not_held_up_by_a_lock_from_before(chat: Chat) -> None:
    with title_claim(chat.pk):
        put_into(chat, Status.RUNNING)
        with title_claim(chat.pk) as other:
            assert other.lock_id is None
        by_hand(chat, "Renamed")
    assert fresh(chat).title == "Renamed"


def test_a_chat_that_does_not_exist_is_the_usual_404(chat: Chat) -> None:
    Chat.objects.filter(pk=chat.pk).delete()
    with pytest.raises(ChatdError) as refused, title_claim(chat.pk):
        raise AssertionError("the lock was given")
    assert refused.value.code is ErrorCode.NOT_FOUND


@two_connections
def test_of_two_who_want_the_lock_at_once_one_gets_it(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as held:

        def claim() -> TitleClaim:
            return held.enter_context(title_claim(chat.pk))

        first, second = Overlap(monkeypatch).run(claim, claim)
        assert_locked(second)
        assert fresh(chat).title_lock_id == first.lock_id
    assert_unlocked(chat)


# the lock and renaming by hand


@committed
def test_a_rename_is_refused_while_a_title_is_made_unless_it_changes_nothing(
    chat: Chat, recorder: Recorder
) -> None:
    recorder.clear()
    with title_claim(chat.pk):
        with pytest.raises(ChatdError) as refused:
            by_hand(chat, "Renamed")
        assert_locked(refused.value)
        by_hand(chat, f" {chat.title} ")
        assert (fresh(chat).title, kinds(recorder)) == (chat.title, [])
    by_hand(chat, "Renamed")
    assert fresh(chat).title == "Renamed"


@two_connections
def test_a_rename_that_comes_while_the_lock_is_taken_is_refused(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as held:
        _, second = Overlap(monkeypatch).run(
            lambda: held.enter_context(title_claim(chat.pk)), lambda: by_hand(chat, "Renamed")
        )
        assert_locked(second)
    assert fresh(chat).title == chat.title


@two_connections
def test_a_lock_that_is_taken_while_somebody_renames_knows_the_new_title(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as held:
        _, claim = Overlap(monkeypatch).run(
            lambda: by_hand(chat, "Renamed"), lambda: held.enter_context(title_claim(chat.pk))
        )
        assert claim.chat.title == "Renamed"
        assert store_title(claim, "Made", cost=None).title == "Made"


@committed
def test_a_title_made_while_somebody_renamed_a_running_chat_is_not_stored(
    running: Chat, recorder: Recorder
) -> None:
    with title_claim(running.pk) as claim:
        by_hand(running, "By hand")
        recorder.clear()
        assert store_title(claim, "Made", cost=None).title == "By hand"
    assert (fresh(running).title, kinds(recorder)) == ("By hand", [])
    assert fresh(running).updated_at == running.updated_at


@two_connections
def test_a_title_that_comes_while_somebody_renames_is_not_stored(
    running: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with title_claim(running.pk) as claim:
        _, stored = Overlap(monkeypatch).run(
            lambda: by_hand(running, "By hand"), lambda: store_title(claim, "Made", cost=None)
        )
    assert stored.title == fresh(running).title == "By hand"


@two_connections
def test_a_rename_that_comes_while_a_title_is_stored_has_the_last_word(
    running: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with title_claim(running.pk) as claim:
        first, _ = Overlap(monkeypatch).run(
            lambda: store_title(claim, "Made", cost=None), lambda: by_hand(running, "By hand")
        )
    assert first.title == "Made"
    assert fresh(running).title == "By hand"


def test_of_titles_made_side_by_side_the_first_is_stored(running: Chat) -> None:
    with title_claim(running.pk) as one, title_claim(running.pk) as other:
        assert store_title(one, "One", cost=None).title == "One"
        assert store_title(other, "Other", cost=None).title == "One"


# what ends it


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_lock_ends_whatever_happens_to_its_holder(
    chat: Chat, error: type[BaseException]
) -> None:
    with pytest.raises(error), title_claim(chat.pk):
        raise error
    assert_unlocked(chat)


def test_the_lock_of_a_holder_that_died_is_taken_over_after_a_minute(
    chat: Chat, model: ModelConfig
) -> None:
    began = now()
    with ExitStack() as held:
        dead = held.enter_context(title_claim(chat.pk))
        with time_machine.travel(began + LOCK_KEPT - timedelta(seconds=1), tick=False):
            with pytest.raises(ChatdError) as refused, title_claim(chat.pk):
                raise AssertionError("the lock was given")
            assert_locked(refused.value)
        with time_machine.travel(began + LOCK_KEPT + timedelta(seconds=1), tick=False):
            heir = held.enter_context(title_claim(chat.pk))
            assert store_title(dead, "Too late", cost=cost_of(model)).title == chat.title
            titles._release(dead)
            assert fresh(chat).title_lock_id == heir.lock_id
            assert store_title(heir, "Made", cost=None).title == "Made"
    assert_unlocked(chat)
    assert ChatMessage.objects.filter(chat=chat, deleted=True).count() == 1, "it was paid for"


def test_a_dead_holder_keeps_nobody_from_renaming_after_a_minute(chat: Chat) -> None:
    Chat.objects.filter(pk=chat.pk).update(
        title_lock_id=chat.pk, title_locked_at=now() - LOCK_KEPT - timedelta(seconds=1)
    )
    by_hand(chat, "Renamed")
    assert fresh(chat).title == "Renamed"


def test_a_lock_that_cannot_be_ended_now_does_not_spoil_what_was_done(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> int:
        raise OperationalError("the database is away")

    with title_claim(chat.pk) as claim:
        stored = store_title(claim, "Made", cost=None)
        monkeypatch.setattr(QuerySet, "update", away)
    assert stored.title == "Made"


def test_a_lock_has_both_its_columns_or_neither(chat: Chat) -> None:
    with pytest.raises(IntegrityError):
        Chat.objects.filter(pk=chat.pk).update(title_lock_id=chat.pk)


# what is stored


@committed
def test_a_new_title_is_stored_told_and_moves_the_chat_up(chat: Chat, recorder: Recorder) -> None:
    recorder.clear()
    with title_claim(chat.pk) as claim:
        stored = store_title(claim, "Made", cost=None)
    found = fresh(chat)
    assert found.title == stored.title == "Made"
    assert found.updated_at == stored.updated_at > chat.updated_at
    assert found.snapshot_version == chat.snapshot_version
    [event] = [json.loads(payload) for payload in recorder.watch_payloads]
    assert (event["kind"], event["chat"]["title"]) == ("title_change", "Made")
    assert datetime.fromisoformat(event["chat"]["updated_at"]) == found.updated_at


@committed
@pytest.mark.parametrize("title", ["", "A chat"])
def test_no_title_and_the_same_title_change_nothing(
    chat: Chat, recorder: Recorder, title: str
) -> None:
    recorder.clear()
    with title_claim(chat.pk) as claim:
        store_title(claim, title, cost=None)
    assert fresh(chat).updated_at == chat.updated_at
    assert (fresh(chat).title, kinds(recorder)) == ("A chat", [])


@committed
def test_who_hears_of_a_new_title_may_change_it_at_once(
    chat: Chat, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = recorder.publish

    def rename_at_once(notices: Sequence[Notice]) -> None:
        heard(notices)
        if kinds(recorder)[-1] == "title_change" and fresh(chat).title == "Made":
            by_hand(chat, "Made better")

    monkeypatch.setattr(recorder, "publish", rename_at_once)
    with title_claim(chat.pk) as claim:
        store_title(claim, "Made", cost=None)
    assert fresh(chat).title == "Made better"


def test_the_cost_is_a_row_that_nobody_sees(chat: Chat, model: ModelConfig) -> None:
    other = save_model_config(ModelConfig(ai_provider=model.ai_provider, model="small"))
    seen = list(visible_messages(chat.pk)), prompt_messages(chat.pk)
    Chat.objects.filter(pk=chat.pk).update(last_read_message_id=10**9)
    with title_claim(chat.pk) as claim:
        store_title(claim, "", cost=cost_of(other))
    row = ChatMessage.objects.get(chat=chat, deleted=True)
    assert (row.role, row.visibility, row.content) == (Role.ASSISTANT, Visibility.MODEL, [])
    assert (row.input_tokens, row.output_tokens, row.total_tokens) == (11, 4, 15)
    assert (row.model_config_id, row.runtime_ms, row.context_limit) == (other.pk, 7, 1000)
    assert (list(visible_messages(chat.pk)), prompt_messages(chat.pk)) == seen
    found = fresh(chat)
    assert found.last_model_config_id == model.pk
    assert found.updated_at == chat.updated_at
    assert found.history_version == chat.history_version


def test_the_cost_does_not_make_a_chat_unread(chat: Chat, model: ModelConfig) -> None:
    newest = visible_messages(chat.pk).order_by("-id").values_list("pk", flat=True)[0]
    Chat.objects.filter(pk=chat.pk).update(last_read_message_id=newest)
    with title_claim(chat.pk) as claim:
        store_title(claim, "", cost=cost_of(model))
    assert not with_unread(Chat.objects.filter(pk=chat.pk)).get().unread


# what happens to the chat meanwhile


def test_a_message_sent_meanwhile_starts_its_turn_and_the_title_is_stored(chat: Chat) -> None:
    with title_claim(chat.pk) as claim:
        states.send_message(chat.pk, user_content(chat.owner_id, "meanwhile"))
        stored = store_title(claim, "Made", cost=None)
    assert (stored.title, stored.status) == ("Made", Status.PENDING)
    assert_unlocked(chat)
    assert runs.acquire(chat.pk, chat.pk, lease_seconds=30) is not None


def test_a_turn_that_goes_on_meanwhile_stores_its_steps(running: Chat, model: ModelConfig) -> None:
    fence = fence_of(running)
    with title_claim(running.pk) as claim:
        store_title(claim, "Made", cost=cost_of(model))
        assert runs.finish(fence, [answer()]).status == Status.WAITING
    assert fresh(running).title == "Made"


def test_a_chat_archived_meanwhile_gets_its_title(chat: Chat) -> None:
    with title_claim(chat.pk) as claim:
        states.archive_chat(chat.pk, partials={chat.pk: Partial(None)})
        stored = store_title(claim, "Made", cost=None)
    assert (stored.title, stored.archived) == ("Made", True)
    assert_unlocked(chat)


def test_a_chat_deleted_meanwhile_is_the_usual_404(chat: Chat, model: ModelConfig) -> None:
    with pytest.raises(ChatdError) as refused, title_claim(chat.pk) as claim:
        Chat.objects.filter(pk=chat.pk).delete()
        store_title(claim, "Made", cost=cost_of(model))
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert not ChatMessage.objects.exists()
