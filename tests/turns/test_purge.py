"""Retention and auto-archive: what goes, what stays, in which order, and two at once."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from chatd.audit.actions import Author
from chatd.audit.models import AuditEntry
from chatd.chats import retention, states
from chatd.chats.debug_models import ChatDebugRun, DebugRunKind, DebugStatus
from chatd.chats.models import (
    ArchiveDigest,
    Chat,
    ChatFile,
    ChatFileLink,
    ChatMessage,
    ChatSearchEntry,
    Role,
    Status,
)
from chatd.core.clock import now
from chatd.preferences.actions import store_settings
from chatd.preferences.models import SiteSetting
from chatd.preferences.registry import AUTO_ARCHIVE_DAYS, DEBUG_RETENTION_DAYS, RETENTION_DAYS
from chatd.providers.models import ModelConfig
from chatd.spending.models import SpendDay
from chatd.turns.purge import archive_cutoff, purge
from tests.api.client import Chats
from tests.conftest import Cast
from tests.support.metrics import Exposition
from tests.support.spending import spend_in

pytestmark = pytest.mark.django_db

TEST = Author(None, "a test")


@pytest.fixture
def chats(cast: Cast, model: ModelConfig) -> Chats:
    return Chats(cast.alice, cast.organization, model)


def configure(*, retention_days: int = 30, idle_days: int = 0, debug_days: int = 30) -> None:
    store_settings(
        TEST,
        [
            RETENTION_DAYS.to(retention_days),
            AUTO_ARCHIVE_DAYS.to(idle_days),
            DEBUG_RETENTION_DAYS.to(debug_days),
        ],
    )


def days_ago(days: float) -> datetime:
    return now() - timedelta(days=days)


def aged(chat: Chat, days: float, **fields: Any) -> Chat:
    """Make a chat and all that was written in it so old."""
    at = days_ago(days)
    Chat.objects.filter(pk=chat.pk).update(created_at=at, updated_at=at, **fields)
    ChatMessage.objects.filter(chat=chat).update(created_at=at)
    chat.refresh_from_db()
    return chat


def put_away(chat: Chat, days: float) -> Chat:
    """Archive a chat so many days ago."""
    return aged(chat, days, archived=True, archived_at=days_ago(days))


def is_there(chat: Chat) -> bool:
    return Chat.objects.filter(pk=chat.pk).exists()


def is_archived(chat: Chat) -> bool:
    return Chat.objects.get(pk=chat.pk).archived


# Retention


def test_archived_chats_go_with_all_that_is_in_them_when_their_time_is_over(
    chats: Chats, cast: Cast
) -> None:
    configure(retention_days=30)
    old, recent = put_away(chats.waiting(), 31), put_away(chats.waiting(), 29)
    active = aged(chats.waiting(), 400)
    purge()
    assert [is_there(chat) for chat in (old, recent, active)] == [False, True, True]
    for model in (ChatMessage, ChatSearchEntry):
        assert not model.objects.filter(chat_id=old.pk).exists()
        assert model.objects.filter(chat_id=recent.pk).exists()


def test_zero_days_keep_everything_for_ever(chats: Chats) -> None:
    configure(retention_days=0, debug_days=0)
    chat = put_away(chats.waiting(), 4000)
    purge()
    assert is_there(chat)


def test_what_was_spent_stays_when_the_chat_goes(chats: Chats, cast: Cast) -> None:
    configure()
    chat = chats.waiting()
    spend_in(chat, 500)
    put_away(chat, 31)
    purge()
    assert not is_there(chat)
    assert sum(SpendDay.objects.values_list("micros", flat=True)) == 500


def test_a_sub_chat_that_was_archived_later_stays_as_a_root(chats: Chats) -> None:
    configure()
    root = chats.waiting()
    child = put_away(chats.child_of(root), 10)
    put_away(root, 31)
    purge()
    child.refresh_from_db()
    assert not is_there(root)
    assert (child.parent_chat, child.root_chat, child.archived) == (None, None, True)


def test_at_most_so_many_go_in_a_tick_and_the_oldest_first(
    chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_PER_TICK", 3)
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    configure()
    made = [put_away(chats.waiting(), 31 + number) for number in (2, 4, 0, 3, 1)]
    purge()
    assert [is_there(chat) for chat in made] == [False, False, True, False, True]
    purge()
    assert Chat.objects.count() == 0


def test_files_go_that_are_in_no_chat_that_is_kept(chats: Chats, cast: Cast) -> None:
    configure()
    gone, kept, active = (
        put_away(chats.waiting(), 31),
        put_away(chats.waiting(), 5),
        chats.waiting(),
    )

    def file(name: str, days: float, *linked: Chat) -> None:
        made = ChatFile.objects.create(
            owner=cast.alice,
            organization=cast.organization,
            name=name,
            mimetype="text/plain",
            data=b"x",
            created_at=days_ago(days),
        )
        for chat in linked:
            ChatFileLink.objects.create(chat=chat, file=made)

    file("never linked", 31)
    file("never linked, new", 29)
    file("in one that is gone", 40, gone)
    file("in one that goes and one that stays", 40, gone, kept)
    file("in an active one", 400, active)
    purge()
    assert set(ChatFile.objects.values_list("name", flat=True)) == {
        "never linked, new",
        "in one that goes and one that stays",
        "in an active one",
    }


def _run(chat: Chat, days: float, status: DebugStatus = DebugStatus.COMPLETED) -> ChatDebugRun:
    at = days_ago(days)
    return ChatDebugRun.objects.create(
        chat=chat, kind=DebugRunKind.CHAT_TURN, status=status, updated_at=at, started_at=at
    )


def test_debug_runs_go_by_their_own_setting_whatever_their_state(chats: Chats) -> None:
    configure(retention_days=0, debug_days=7)
    chat = chats.waiting()
    for status in DebugStatus:
        _run(chat, 8, status)
    young = _run(chat, 6)
    purge()
    assert list(ChatDebugRun.objects.all()) == [young]


@pytest.mark.parametrize("broken", [RETENTION_DAYS, AUTO_ARCHIVE_DAYS, DEBUG_RETENTION_DAYS])
def test_a_setting_that_cannot_be_read_stops_only_what_goes_by_it(
    chats: Chats, broken: Any
) -> None:
    configure(retention_days=30, idle_days=30, debug_days=30)
    old, idle = put_away(chats.waiting(), 31), aged(chats.waiting(), 40)
    _run(chats.waiting(), 31)
    SiteSetting.objects.filter(key=broken.key).update(value="nonsense")
    purge()
    skips_chats = broken is not DEBUG_RETENTION_DAYS
    assert is_there(old) == skips_chats
    assert is_archived(idle) != skips_chats
    assert ChatDebugRun.objects.exists() != skips_chats


# Auto-archive


def test_the_cutoff_is_a_midnight_in_utc() -> None:
    at = datetime(2026, 3, 10, 17, 45, 1, tzinfo=UTC)
    assert archive_cutoff(3, at) == datetime(2026, 3, 7, tzinfo=UTC)
    assert archive_cutoff(1, datetime(2026, 3, 1, tzinfo=UTC)) == datetime(2026, 2, 28, tzinfo=UTC)


def test_the_cutoff_counts_to_the_moment(chats: Chats) -> None:
    configure(idle_days=3)
    cutoff = archive_cutoff(3, now())
    before, at = chats.waiting(), chats.waiting()
    for chat, instant in ((before, cutoff - timedelta(microseconds=1)), (at, cutoff)):
        Chat.objects.filter(pk=chat.pk).update(created_at=days_ago(90))
        ChatMessage.objects.filter(chat=chat).update(created_at=instant)
    purge()
    assert is_archived(before)
    assert not is_archived(at)


def test_forgotten_chats_are_archived_as_if_their_owner_had(chats: Chats) -> None:
    configure(retention_days=7, idle_days=3)
    root = aged(chats.waiting(), 10)
    child = aged(chats.child_of(root), 10)
    purge()
    for chat in (root, child):
        chat.refresh_from_db()
        assert (chat.archived, chat.pin_order) == (True, 0)
        assert chat.updated_at > days_ago(1)  # the whole of the retention follows
    entry = AuditEntry.objects.get(resource_type="chat")
    assert (entry.actor_name, entry.resource_id) == ("chat_auto_archive", str(root.pk))
    assert entry.changes["archived"] == {"old": False, "new": True}


STAYS: list[tuple[str, Callable[[Chats], Chat]]] = [
    ("pinned", lambda chats: aged(chats.waiting(), 10, pin_order=1)),
    ("running", lambda chats: aged(chats.running(), 10)),
    ("pending", lambda chats: aged(chats.pending(), 10)),
    ("waiting for a tool", lambda chats: aged(chats.requiring_action(), 10)),
    ("young", lambda chats: aged(chats.waiting(), 1)),
]


@pytest.mark.parametrize(("what", "make"), STAYS, ids=[what for what, _ in STAYS])
def test_what_is_in_use_is_not_archived(
    chats: Chats, what: str, make: Callable[[Chats], Chat]
) -> None:
    configure(idle_days=3)
    chat = make(chats)
    purge()
    assert not is_archived(chat)


def test_a_failed_chat_is_archived_and_keeps_its_error(chats: Chats) -> None:
    configure(idle_days=3)
    chat = aged(chats.failed(), 10)
    purge()
    chat.refresh_from_db()
    assert (chat.archived, chat.status) == (True, Status.ERROR)


def test_a_message_in_a_sub_chat_keeps_the_family_and_a_deleted_one_does_not(chats: Chats) -> None:
    configure(idle_days=3)
    root = aged(chats.waiting(), 10)
    child = aged(chats.child_of(root), 10)
    message = ChatMessage.objects.create(
        chat=child, revision=1, role=Role.USER, content=[], created_at=now()
    )
    purge()
    assert not is_archived(root)
    ChatMessage.objects.filter(pk=message.pk).update(deleted=True)
    purge()
    assert is_archived(root)


def test_who_writes_at_that_moment_keeps_the_chat(
    chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(idle_days=3)
    chat = aged(chats.waiting(), 10)
    real = states.lock_chat

    def written_meanwhile(chat_id: Any) -> Chat:
        ChatMessage.objects.filter(chat=chat).update(created_at=now())
        return real(chat_id)

    monkeypatch.setattr(states, "lock_chat", written_meanwhile)
    purge()
    assert not is_archived(chat)
    assert not ArchiveDigest.objects.exists()


def test_each_owner_gets_one_digest_with_the_oldest_titles_first(
    chats: Chats, cast: Cast, model: ModelConfig
) -> None:
    configure(retention_days=30, idle_days=3)
    for number in range(27):
        aged(chats.waiting(), 100 - number, title=f"Chat {number}")
    aged(Chats(cast.bob, cast.organization, model).waiting(), 10, title="Bob's")
    purge()
    mine, bobs = (ArchiveDigest.objects.get(owner=user) for user in (cast.alice, cast.bob))
    assert mine.titles == [f"Chat {number}" for number in range(25)]
    assert (mine.count, mine.more, mine.idle_days, mine.retention_days) == (27, 2, 3, 30)
    assert (bobs.titles, bobs.more) == (["Bob's"], 0)
    purge()
    assert ArchiveDigest.objects.count() == 2


def test_what_was_archived_before_a_failure_is_told_of(
    chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(idle_days=3)
    for days in (20, 10):
        aged(chats.waiting(), days, title=f"{days} days")
    real, calls = retention.archive_chat, []

    def fail_at_the_second(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("the machine stops")
        return real(*given, **named)

    monkeypatch.setattr(retention, "archive_chat", fail_at_the_second)
    with pytest.raises(RuntimeError):
        purge()
    assert ArchiveDigest.objects.get().titles == ["20 days"]


@pytest.mark.django_db(transaction=True)
def test_two_runners_at_once_do_nothing_twice(chats: Chats) -> None:
    configure(retention_days=30, idle_days=3)
    for number in range(30):
        aged(chats.waiting(), 10 + number, title=f"Chat {number}")
        put_away(chats.waiting(), 40 + number)
    failures: list[Exception] = []

    def run() -> None:
        try:
            purge()
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    purge()
    assert Chat.objects.filter(archived=True).count() == Chat.objects.count() == 30
    assert sum(ArchiveDigest.objects.values_list("count", flat=True)) == 30
    assert AuditEntry.objects.filter(actor_name="chat_auto_archive").count() == 30


def test_what_was_deleted_and_archived_is_counted(
    chats: Chats, exposed: Callable[[], Exposition]
) -> None:
    prefix = "coderd_dbpurge_"
    archived = prefix + "chat_auto_archive_records_archived_total"
    purged = prefix + "records_purged_total"
    rounds = prefix + "iteration_duration_seconds_count"
    configure(retention_days=30, idle_days=3)
    for _ in range(2):
        put_away(chats.waiting(), 31)
    root = aged(chats.waiting(), 10)
    aged(chats.child_of(root), 10)
    before = exposed()
    purge()
    after = exposed()
    assert after.value(archived) - before.value(archived) == 2, "a root and its child"
    chats_before = before.value(purged, record_type="chats")
    assert after.value(purged, record_type="chats") - chats_before == 2
    for unused in ("chat_files", "chat_debug_runs"):
        kept = before.value(purged, record_type=unused)
        assert after.value(purged, record_type=unused) == kept
    assert after.value(rounds, success="true") - before.value(rounds, success="true") == 1
