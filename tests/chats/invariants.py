"""What must hold for every chat at every moment, and between two moments.

`dump` reads every column of a chat, its messages and its queue. `check_chat` looks at one dump,
`check_step` at the change that one transition made.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chatd.chats.models import (
    Chat,
    ChatMessage,
    ChatQueuedMessage,
    ChatSearchEntry,
    Role,
    Status,
    Visibility,
)
from chatd.chats.selectors import open_client_calls
from chatd.chats.step_models import OpenStep
from chatd.live.messages import CancelRunner, ChatNotice, Notice

Row = dict[str, Any]


@dataclass(frozen=True)
class Dump:
    """Every column of a chat, its messages (ids ascending), its queue (in order), its open step."""

    chat: Row
    messages: tuple[Row, ...]
    queue: tuple[Row, ...]
    open_step: Row | None

    @property
    def status(self) -> Status:
        return Status(self.chat["status"])

    @property
    def version(self) -> int:
        return int(self.chat["snapshot_version"])

    @property
    def visible(self) -> list[Row]:
        return [
            row
            for row in self.messages
            if not row["deleted"] and row["visibility"] != Visibility.MODEL
        ]

    @property
    def queued_ids(self) -> list[int]:
        return [row["id"] for row in self.queue]


def dump(chat_id: UUID) -> Dump:
    """Return the rows of a chat as they are in the database."""
    return Dump(
        chat=Chat.objects.filter(pk=chat_id).values().get(),
        messages=tuple(ChatMessage.objects.filter(chat_id=chat_id).order_by("id").values()),
        queue=tuple(
            ChatQueuedMessage.objects.filter(chat_id=chat_id).order_by("created_at", "id").values()
        ),
        open_step=OpenStep.objects.filter(chat_id=chat_id).values().first(),
    )


def check_chat(state: Dump) -> None:
    """Check what holds at every moment."""
    chat, status = state.chat, state.status
    runs = status == Status.RUNNING
    assert (chat["runner_id"] is not None) is runs
    assert (chat["lease_expires_at"] is not None) is runs
    assert (chat["started_at"] is not None) is runs
    assert (chat["action_deadline_at"] is not None) is (status == Status.REQUIRES_ACTION)
    assert (chat["last_error"] is not None) is (status == Status.ERROR)
    assert chat["retry"] is None or runs
    if chat["archived"]:
        assert status not in (Status.PENDING, Status.RUNNING)
        assert chat["pin_order"] == 0
    assert (chat["archived_at"] is not None) is chat["archived"]
    for name in ("history_version", "queue_version", "retry_version", "refresh_version"):
        assert 0 <= chat[name] <= chat["snapshot_version"], name
    if chat["parent_chat_id"] is not None:
        assert chat["pin_order"] == 0
        assert (chat["user_acl"], chat["group_acl"]) == ({}, {})
    if runs:
        assert chat["attempt"] >= 1
    kept = [row["revision"] for row in state.messages if not row["deleted"]]
    assert kept == sorted(kept)
    assert all(row["revision"] <= chat["snapshot_version"] for row in state.messages)
    _check_calls(state)


def check_search(state: Dump) -> None:
    """The index has the title, and the messages that people see and that have words."""
    indexed = ChatSearchEntry.objects.filter(chat_id=state.chat["id"])
    expected = {
        row["id"]
        for row in state.visible
        if row["role"] in (Role.USER, Role.ASSISTANT)
        and any(part["type"] == "text" and part["text"].strip() for part in row["content"])
    }
    assert set(indexed.values_list("message_id", flat=True)) == {None, *expected}


def _check_calls(state: Dump) -> None:
    """Each call in the history has exactly one result after it, or waits for somebody."""
    open_ids = _left_over(state)
    if state.status == Status.REQUIRES_ACTION:
        chat = Chat.objects.get(pk=state.chat["id"])
        open_ids = {call["tool_call_id"] for call in open_client_calls(chat)}
        assert open_ids, "nobody can answer"
    results: dict[str, int] = {}
    calls: dict[str, int] = {}
    for row in state.messages:
        if row["deleted"]:
            continue
        for part in row["content"]:
            if part["type"] == "tool-call":
                assert row["role"] == Role.ASSISTANT
                calls[part["tool_call_id"]] = calls.get(part["tool_call_id"], 0) + 1
            elif part["type"] == "tool-result":
                assert row["role"] == Role.TOOL
                assert part["tool_call_id"] in calls, "a result comes after its call"
                results[part["tool_call_id"]] = results.get(part["tool_call_id"], 0) + 1
    for call_id, count in calls.items():
        assert count == 1
        assert results.get(call_id, 0) == (0 if call_id in open_ids else 1), call_id


def _left_over(state: Dump) -> set[str]:
    """Return the calls of an open step that stand in the history already."""
    if state.open_step is None:
        return set()
    step = state.open_step
    states = {call["state"] for call in step["calls"]}
    if state.status == Status.RUNNING:
        assert step["runner_id"] in (None, state.chat["runner_id"])
    else:
        assert state.status in (Status.PENDING, Status.ERROR)
        assert (step["runner_id"], step["message"]) == (None, None)
        assert states <= {"again", "of_client", "in_doubt"}
    if state.status == Status.PENDING:
        assert "in_doubt" not in states
    if step["message"] is not None:
        return set()
    return {call["call"]["tool_call_id"] for call in step["calls"]}


def check_step(before: Dump, after: Dump, notices: list[Notice]) -> None:
    """Check what one transition may do: one version, and the counters say what changed."""
    assert after.version == before.version + 1
    _check_messages(before, after)
    _check_queue(before, after)
    _check_notices(before, after, notices)


def _check_messages(before: Dump, after: Dump) -> None:
    rows = {row["id"]: row for row in after.messages}
    last = before.messages[-1]["id"] if before.messages else 0
    cut = False
    for old in before.messages:
        new = rows.pop(old["id"])
        if new != old:
            assert new == old | {"deleted": True, "revision": after.version}
            assert not old["deleted"]
            cut = True
    for row in rows.values():
        assert row["id"] > last
        assert row["revision"] == after.version
        if row["deleted"]:  # counts for costs alone
            assert (row["content"], row["visibility"]) == ([], Visibility.MODEL)
    changed = cut or any(not row["deleted"] for row in rows.values())
    expected = after.version if changed else before.chat["history_version"]
    assert after.chat["history_version"] == expected
    assert after.chat["refresh_version"] == (
        after.version if cut else before.chat["refresh_version"]
    )
    if changed:
        assert after.chat["attempt"] == (1 if after.status == Status.RUNNING else 0)
    else:
        assert after.chat["attempt"] >= before.chat["attempt"]


def _check_queue(before: Dump, after: Dump) -> None:
    """First in, first out: what stays keeps its order, what comes is last and alone."""
    old, new = before.queued_ids, after.queued_ids
    stays = [number for number in old if number in new]
    assert new[: len(stays)] == stays
    assert len(new) - len(stays) <= 1
    if new != old:
        assert after.chat["queue_version"] == after.version
    else:
        assert after.chat["queue_version"] in (before.chat["queue_version"], after.version)
    unchanged = {row["id"]: row for row in before.queue}
    for row in after.queue:
        assert unchanged.get(row["id"], row) == row


def _check_notices(before: Dump, after: Dump, notices: list[Notice]) -> None:
    """One doorbell, with the versions that were reached; the fenced runner is told to stop."""
    rung = [n for n in notices if isinstance(n, ChatNotice)]
    assert [n.chat_id for n in rung] == [after.chat["id"]]
    sent = rung[0].notification
    assert (sent.snapshot_version, sent.history_version, sent.queue_version, sent.attempt) == tuple(
        after.chat[name]
        for name in ("snapshot_version", "history_version", "queue_version", "attempt")
    )
    if after.status != before.status:
        assert sent.status == after.status
    if len(after.visible) > len(before.visible):
        assert sent.full_refresh or 0 < sent.after_message_id < after.visible[-1]["id"]
    if after.queued_ids != before.queued_ids:
        assert sent.queue_update
    cancelled = [n.runner_id for n in notices if isinstance(n, CancelRunner)]
    assert cancelled in ([], [before.chat["runner_id"]])
    if before.chat["runner_id"] is None:
        assert cancelled == []
