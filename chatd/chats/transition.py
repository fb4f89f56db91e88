"""One transition of one chat: lock, check against the law, change, bump versions, notify.

Only `states` and `runs` open one. A transition locks the row (PostgreSQL) or holds SQLite's write
lock, collects changes, and writes them by compare-and-set on `snapshot_version` as its last step.
Notifications and the wake-up of a worker go out after the commit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import BigIntegerField, UUIDField

from chatd.chats import shapes
from chatd.chats.charges import account_of, calls_behind, insert_hidden_cost
from chatd.chats.law import Event, allowed_targets
from chatd.chats.models import Chat, ChatMessage, Status, Visibility
from chatd.chats.new_messages import NewMessage, message_row
from chatd.chats.search import forget_messages, index_messages
from chatd.chats.wire import chat_body, error_body
from chatd.core.clock import now
from chatd.core.errors import not_found
from chatd.core.shapes import shaped
from chatd.core.statements import Parameter, Select, Update, insert
from chatd.live.backend import live_backend
from chatd.live.dispatch import enqueue_turn
from chatd.live.messages import CancelRunner, ChatNotice, Episode, Notice, Notification, OwnerNotice
from chatd.spending.ledger import SettledCall, release_holds_of, settle_calls

_CHAT_ID = Parameter("chat_id", UUIDField())
_LOCKED = Select(
    lambda: (
        Chat.objects.select_for_update(of=("self",)).select_related("owner").filter(pk=_CHAT_ID)[:1]
    )
)
_AS_IT_WAS_FOUND = Update(
    lambda: Chat.objects.filter(
        pk=_CHAT_ID, snapshot_version=Parameter("found_version", BigIntegerField())
    )
)


class StateConflictError(Exception):
    """An event was refused by the law, or a fence had moved. Nothing was changed."""

    def __init__(self, event: Event, chat: Chat, why: str = "") -> None:
        state = f"{chat.status}{' (archived)' if chat.archived else ''}"
        super().__init__(f"{event} is refused for a chat that is {state}{why and ': ' + why}")
        self.event = event
        self.status = Status(chat.status)
        self.archived = chat.archived


@dataclass(frozen=True, slots=True)
class _WatchEvent:
    """One watch event; `status` is shown instead of the chat's own, unless it is empty."""

    kind: str
    status: str = ""
    tool_calls: list[shapes.ClientToolCall] = field(default_factory=list)

    def notice(self, chat: Chat, body: shapes.Chat) -> OwnerNotice:
        event: shapes.WatchEvent = {
            "kind": self.kind,
            "chat": {**body, "status": self.status or body["status"]},
            "tool_calls": self.tool_calls,
        }
        return OwnerNotice(chat.owner_id, orjson.dumps(shaped(shapes.WatchEvent, event)))


class Transition:
    """The open transition of a locked chat. Attributes of `chat` show the state so far.

    `runner_id` and `episode` are those of the chat as it was found.
    """

    def __init__(self, chat: Chat, event: Event) -> None:
        self.chat = chat
        self.event = event
        self.at = now()
        self._source = Status(chat.status)
        self._targets = allowed_targets(event, self._source, archived=chat.archived)
        self._changed: set[str] = set()
        self._old_version = chat.snapshot_version
        self._fenced_out: UUID | None = None
        self._watch: list[_WatchEvent] = []
        self._notify: dict[str, Any] = {}
        self._unchanged = False
        self._calls: list[SettledCall] = []
        self.runner_id = chat.runner_id
        self.episode = Episode(chat.history_version, chat.attempt)
        if not self._targets:
            raise StateConflictError(event, chat)
        chat.snapshot_version += 1

    @property
    def version(self) -> int:
        """The snapshot version this transition reaches."""
        return self.chat.snapshot_version

    def conflict(self, why: str) -> StateConflictError:
        return StateConflictError(self.event, self.chat, why)

    def leave_unchanged(self) -> None:
        """End without any change: no version moves and nothing is published."""
        self._unchanged = True

    def set(self, **values: Any) -> None:
        """Change columns of the chat."""
        for name, value in values.items():
            setattr(self.chat, name, value)
            self._changed.add(name)

    def set_status(
        self,
        status: Status,
        *,
        error: dict[str, Any] | None = None,
        deadline: datetime | None = None,
        silent: bool = False,
    ) -> None:
        """Write a status: the lease ends, the error is replaced, `updated_at` moves.

        `silent` leaves out the watch event (the start of a run has none).
        """
        if self.chat.runner_id is not None:
            self._fenced_out = self.chat.runner_id
        self.set(
            status=status,
            runner_id=None,
            lease_expires_at=None,
            started_at=None,
            action_deadline_at=deadline,
            last_error=error,
            retry=None,
            updated_at=self.at,
        )
        self._notify["status"] = str(status)
        if not silent:
            self.watch("status_change")

    def settle_runner(self) -> None:
        """The runner itself ends its turn: nobody needs to be told to stop."""
        self._fenced_out = None

    def pass_through(self, status: Status) -> None:
        """Show clients `status` before the messages of this transition."""
        self._notify["first_status"] = str(status)
        self._watch.insert(0, _WatchEvent("status_change", str(status)))

    def insert(self, messages: Sequence[NewMessage]) -> list[ChatMessage]:
        """Append messages to the history and return the rows, ids ascending."""
        if not messages:
            return []
        rows = [
            message_row(message, chat_id=self.chat.pk, revision=self.version, at=self.at)
            for message in messages
        ]
        insert(rows)
        index_messages(self.chat, rows)
        self._calls += calls_behind(messages, rows, step=self.episode.history_version)
        self._history_changed()
        visible = [row.pk for row in rows if row.visibility != Visibility.MODEL]
        if visible:
            self._notify.setdefault("after_message_id", visible[0] - 1)
        models = [row.model_config_id for row in rows if row.model_config_id]
        if models and models[-1] != self.chat.last_model_config_id:
            self.set(last_model_config_id=models[-1])
        return rows

    def record_cost(self, cost: NewMessage) -> None:
        """Record what a call beside the conversation cost; the history stays as it is."""
        self._calls += insert_hidden_cost(self.chat, cost, at=self.at)

    def is_charging(self, hold_id: UUID) -> bool:
        """Tell whether the call of a hold has been charged in this transition."""
        return any(call.hold_id == hold_id for call in self._calls)

    def cut_history(self, from_message_id: int) -> None:
        """Soft-delete a message and all after it; followers get the history anew."""
        ChatMessage.objects.filter(
            chat_id=self.chat.pk, pk__gte=from_message_id, deleted=False
        ).update(deleted=True, revision=self.version)
        forget_messages(self.chat, from_message_id)
        self._history_changed()
        self.set(refresh_version=self.version)
        self._notify["full_refresh"] = True

    def _history_changed(self) -> None:
        self.set(history_version=self.version, attempt=0)

    def queue_changed(self) -> None:
        self.set(queue_version=self.version)
        self._notify["queue_update"] = True

    def watch(self, kind: str, tool_calls: Sequence[shapes.ClientToolCall] = ()) -> None:
        """Send the owner one watch event of this kind with the chat as it will be."""
        event = _WatchEvent(kind, tool_calls=list(tool_calls))
        if event not in self._watch:
            self._watch.append(event)

    def notify(self, **fields: Any) -> None:
        """Add inline fields to the notification (retry, error, action_required, worker)."""
        self._notify.update(fields)

    def commit(self) -> None:
        """Write the changes and register what follows the commit."""
        chat = self.chat
        if self._unchanged:
            chat.snapshot_version = self._old_version
            return
        if Status(chat.status) not in self._targets:
            raise AssertionError(f"{self.event} led from {self._source} to {chat.status}")
        values = {name: getattr(chat, name) for name in sorted(self._changed)}
        written = _AS_IT_WAS_FOUND.run(
            {"chat_id": chat.pk, "found_version": self._old_version},
            {"snapshot_version": chat.snapshot_version, **values},
        )
        if written != 1:
            raise self.conflict("another transition was first")
        settle_calls(account_of(chat), self._calls, at=self.at)
        if self.runner_id is not None and chat.runner_id != self.runner_id:
            release_holds_of(self.runner_id, at=self.at)
        notices = self._notices()
        wake = "status" in self._changed and chat.status == Status.PENDING
        transaction.on_commit(lambda: _after_commit(notices, chat if wake else None))

    def _notices(self) -> list[Notice]:
        chat = self.chat
        if "error_payload" in self._notify:
            self._notify["error_payload"] = error_body(self._notify["error_payload"])
        notification = Notification(
            **self._notify,
            snapshot_version=chat.snapshot_version,
            history_version=chat.history_version,
            queue_version=chat.queue_version,
            attempt=chat.attempt,
        )
        notices: list[Notice] = [ChatNotice(chat.pk, notification)]
        if self._watch:
            body = chat_body(chat)
            notices += [event.notice(chat, body) for event in self._watch]
        if self._fenced_out is not None:
            notices.append(CancelRunner(self._fenced_out))
        return notices


def _after_commit(notices: Sequence[Notice], wake: Chat | None) -> None:
    live_backend().publish(notices)
    if wake is not None:
        enqueue_turn(wake.pk, wake.owner_id)


def watch_after_commit(chat: Chat, kind: str) -> None:
    """After the commit, send the owner a watch event about a chat that made no transition."""
    notices = [_WatchEvent(kind).notice(chat, chat_body(chat))]
    transaction.on_commit(lambda: _after_commit(notices, None))


def announce_created(chat: Chat) -> None:
    """After the commit, tell the owner of a new chat and wake a worker."""
    notices = [_WatchEvent("created").notice(chat, chat_body(chat))]
    transaction.on_commit(lambda: _after_commit(notices, chat))


def lock_chat(chat_id: UUID) -> Chat:
    """Return the chat with its owner, locked until the transaction ends. Raises the 404."""
    chat = _LOCKED.first(chat_id=chat_id)
    if chat is None:
        raise not_found()
    return chat


@contextmanager
def transition(chat_id: UUID, event: Event) -> Iterator[Transition]:
    """Open a transition in a transaction of its own (or inside the caller's).

    Raises StateConflictError when the law refuses the event; then nothing has changed.
    """
    with transaction.atomic():
        opened = Transition(lock_chat(chat_id), event)
        yield opened
        opened.commit()
