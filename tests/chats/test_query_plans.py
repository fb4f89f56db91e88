"""Lists and pages are answered from indexes, whatever the size of the tables."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from chatd.chats import debug, debug_writes, retention, selectors
from chatd.chats.debug_models import (
    ChatDebugRun,
    ChatDebugStep,
    DebugOperation,
    DebugRunKind,
    DebugStatus,
)
from chatd.chats.filters import parse_filter
from chatd.chats.models import (
    Chat,
    ChatMessage,
    ChatQueuedMessage,
    ChatSearchEntry,
    Role,
    Status,
)
from chatd.chats.search import search_chats_for, title_words
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from chatd.turns.sweep import sweep
from tests.conftest import Cast
from tests.support import plans
from tests.support.plans import analyze

pytestmark = pytest.mark.django_db

CHATS = 3000
TABLES = (
    "chats_chat",
    "chats_chatmessage",
    "chats_chatqueuedmessage",
    "chats_chatsearchentry",
    "chats_chatdebugrun",
    "chats_chatdebugstep",
)
FILLED = TABLES[:4]
"""Those that `chats` fills; an empty table is rightly gone through."""


@pytest.fixture
def chats(cast: Cast, model: ModelConfig) -> list[Chat]:
    """So many chats of one owner that reading them all would be the slower plan."""
    start = now()
    made = Chat.objects.bulk_create(
        Chat(
            owner=cast.alice,
            organization=cast.organization,
            last_model_config=model,
            status=Status.WAITING,
            labels={"team": f"t{number}"},
            updated_at=start - timedelta(minutes=number),
        )
        for number in range(CHATS)
    )
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, revision=1, role=role, content=[], created_by=cast.alice.pk)
        for chat in made
        for role in (Role.USER, Role.ASSISTANT)
    )
    ChatQueuedMessage.objects.bulk_create(
        ChatQueuedMessage(chat=chat, content=[], size_bytes=2) for chat in made
    )
    ChatSearchEntry.objects.bulk_create(
        ChatSearchEntry(
            owner=cast.alice,
            chat=chat,
            # What stands in many of so few rows is rightly answered by reading them all.
            words=title_words(cast.alice.pk, f"t{number} {'launch' if number % 100 == 7 else ''}"),
        )
        for number, chat in enumerate(made)
    )
    analyze()
    return made


@pytest.fixture
def debug_runs(chats: list[Chat]) -> list[ChatDebugRun]:
    """A run with two steps in every chat."""
    about = {"kind": DebugRunKind.CHAT_TURN, "status": DebugStatus.COMPLETED}
    made = ChatDebugRun.objects.bulk_create(
        ChatDebugRun(chat=chat, trigger_message_id=number, **about)
        for number, chat in enumerate(chats)
    )
    call = {"operation": DebugOperation.STREAM, "status": DebugStatus.COMPLETED}
    ChatDebugStep.objects.bulk_create(
        ChatDebugStep(run=run, chat_id=run.chat_id, step_number=step, **seen, **call)
        for run in made
        for step, seen in enumerate(
            [
                {"history_tip_message_id": run.trigger_message_id},
                {"assistant_message_id": run.trigger_message_id},
            ]
        )
    )
    analyze()
    return made


def scans(read: Callable[[], Any]) -> list[str]:
    return plans.scans(read, TABLES)


@pytest.mark.parametrize("query", ["", "has_unread:true"])
def test_a_page_of_the_list_is_read_from_the_index(
    chats: list[Chat], cast: Cast, query: str
) -> None:
    wanted = parse_filter(query, [])
    assert scans(lambda: selectors.list_chats_for(cast.alice, wanted=wanted)) == []
    deep = chats[CHATS // 2].pk
    assert scans(lambda: selectors.list_chats_for(cast.alice, after_id=deep, wanted=wanted)) == []


def test_sub_chats_are_read_from_the_index(chats: list[Chat], cast: Cast) -> None:
    assert scans(lambda: selectors.list_children_for(cast.alice, chats[:50])) == []


def test_messages_are_read_from_the_index(chats: list[Chat]) -> None:
    chat_id = chats[7].pk
    assert scans(lambda: selectors.page_messages(chat_id)) == []
    assert scans(lambda: selectors.page_messages(chat_id, after_id=1)) == []
    assert scans(lambda: selectors.list_prompts(chat_id)) == []
    assert scans(lambda: selectors.prompt_messages(chat_id)) == []
    assert scans(lambda: selectors.newest_assistant_id(chat_id)) == []
    assert scans(lambda: selectors.list_queue(chat_id)) == []


def test_a_prompt_is_read_without_what_was_summarised(chats: list[Chat]) -> None:
    """Of a long history only the index of what outlives a summary is gone through."""
    chat = chats[7]
    about: dict[str, Any] = {"chat": chat, "revision": 1, "content": []}
    answers = [ChatMessage(role=Role.ASSISTANT, **about) for _ in range(2000)]
    ChatMessage.objects.bulk_create(answers)
    ChatMessage.objects.create(role=Role.USER, compressed=True, visibility="model", **about)
    ChatMessage.objects.bulk_create(ChatMessage(role=Role.ASSISTANT, **about) for _ in range(5))
    analyze()
    newest, prompt = plans.statements(lambda: selectors.prompt_messages(chat.pk))
    assert any("message_outliving" in step for step in plans.steps(newest))
    assert any("message_outliving" in step for step in plans.steps(prompt))
    assert scans(lambda: selectors.prompt_messages(chat.pk)) == []
    assert len(selectors.prompt_messages(chat.pk)) == 6


@pytest.mark.parametrize("words", ["t77", "launch", "launch t77", "nowhere"])
def test_a_search_is_answered_from_the_index(chats: list[Chat], cast: Cast, words: str) -> None:
    wanted = parse_filter(f'text:"{words}"', [])
    assert scans(lambda: search_chats_for(cast.alice, wanted=wanted)) == []


def test_the_sweep_reads_only_what_is_due(debug_runs: list[ChatDebugRun]) -> None:
    assert scans(sweep) == []
    assert ChatDebugRun.objects.filter(finished_at=None).count() == CHATS


def test_chats_whose_time_is_over_are_found_and_deleted_by_indexes(chats: list[Chat]) -> None:
    before = now() - timedelta(days=30)
    due = [chat.pk for chat in chats[:3]]
    roots, spawned = chats[: CHATS // 2], chats[CHATS // 2 :]
    for root, chat in zip(roots, spawned, strict=True):
        chat.parent_chat = chat.root_chat = root
    Chat.objects.bulk_update(spawned, ["parent_chat", "root_chat"])
    Chat.objects.update(archived=True, archived_at=now(), updated_at=now())
    Chat.objects.filter(pk__in=due).update(updated_at=before - timedelta(days=1))
    analyze()
    assert plans.scans(lambda: retention.purge_chats(before), FILLED) == []
    assert Chat.objects.count() == CHATS - 3
    assert Chat.objects.filter(parent_chat=None, root_chat=None).count() == CHATS // 2
    assert not ChatMessage.objects.filter(chat__in=due).exists()


def test_forgotten_chats_are_looked_for_among_those_old_enough(chats: list[Chat]) -> None:
    before = now() - timedelta(days=90)
    long_ago = before - timedelta(days=1)
    due = [chat.pk for chat in chats[:3]]
    Chat.objects.filter(pk__in=due).update(created_at=long_ago)
    ChatMessage.objects.filter(chat__in=due).update(created_at=long_ago)
    analyze()
    archived: list[retention.Archived] = []
    found = retention.archive_forgotten(before)
    assert plans.scans(lambda: archived.extend(found), FILLED) == []
    assert {each.chat_id for each in archived} == set(due)


def test_debug_runs_are_read_from_the_index(debug_runs: list[ChatDebugRun]) -> None:
    run = debug_runs[CHATS // 2]
    assert scans(lambda: debug.list_runs(run.chat_id)) == []
    assert scans(lambda: debug.get_run(run.chat_id, run.pk)) == []


def test_debug_runs_that_were_lost_are_found_by_the_index(debug_runs: list[ChatDebugRun]) -> None:
    ChatDebugRun.objects.update(finished_at=now())
    lost = [run.pk for run in debug_runs[:3]]
    ChatDebugRun.objects.filter(pk__in=lost).update(finished_at=None)
    later = now() + timedelta(minutes=1)
    assert scans(lambda: debug_writes.touch(lost)) == []
    assert scans(lambda: debug_writes.interrupt_stale(later, at_most=2)) == []
    assert ChatDebugRun.objects.filter(finished_at=None).count() == 1


def test_debug_runs_are_deleted_by_the_index(debug_runs: list[ChatDebugRun]) -> None:
    later = now() + timedelta(minutes=1)
    first, second, third = (debug_runs[number] for number in (7, 8, 9))
    edited = third.trigger_message_id or 0
    assert scans(lambda: debug.delete_runs_since(third.chat_id, edited, started_before=later)) == []
    both = [first.chat_id, second.chat_id]
    assert scans(lambda: debug.delete_runs_of(both, started_before=later)) == []
    assert (ChatDebugRun.objects.count(), ChatDebugStep.objects.count()) == (
        CHATS - 3,
        2 * (CHATS - 3),
    )


def test_a_label_is_found_by_its_index_where_there_is_one(chats: list[Chat], cast: Cast) -> None:
    if connection.vendor != "postgresql":
        return
    wanted = parse_filter("", ["team:t7"])
    assert scans(lambda: selectors.list_chats_for(cast.alice, wanted=wanted)) == []


def test_this_test_sees_a_scan_when_there_is_one(chats: list[Chat]) -> None:
    assert scans(lambda: list(Chat.objects.filter(title="no index on titles")))
