"""The state machine of a chat: one function per event, and nothing else writes these columns.

Each function is one short transaction. A refused event raises StateConflictError and leaves every
column as it was. People's events check rights in `actions` first; the engine's events carry a
fence: the runner's id and the history version it worked on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from msgspec import UNSET

from chatd.accounts.models import Organization, User
from chatd.chats.law import Event
from chatd.chats.models import (
    IDLE,
    Chat,
    ChatMessage,
    ChatQueuedMessage,
    ClientType,
    Role,
    Status,
    Visibility,
)
from chatd.chats.partial import Partial, partial_messages, synthetic_results
from chatd.chats.parts import ToolResultPart, to_stored
from chatd.chats.pins import close_gaps, lock_pins_of
from chatd.chats.selectors import open_client_calls
from chatd.chats.transition import (
    NewMessage,
    StateConflictError,
    Transition,
    announce_created,
    lock_chat,
    transition,
)
from chatd.chats.wire import client_call_bodies
from chatd.core.clock import now, rfc3339
from chatd.core.errors import ChatdError, ErrorCode, bad_request, not_found
from chatd.live.messages import Episode
from chatd.providers.models import ModelConfig
from chatd.providers.selectors import default_model_config, existing_model_config
from config.env import env

MAX_QUEUED = 20
MAX_QUEUED_BYTES = 3 * 1024 * 1024
"""A queue event carries the whole queue and must fit one frame of 4 MiB."""

INTERRUPTED_BY_USER = "Tool execution interrupted by user"
INTERRUPTED_BY_PROMOTION = "Tool execution interrupted by queued message promotion"
ACTION_TIMED_OUT = "Dynamic tool execution timed out"


class EpisodeMovedError(Exception):
    """The partial answer at hand is not of the episode that runs now: read its log again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What a runner's write names: refused as soon as either has moved."""

    chat_id: UUID
    runner_id: UUID
    history_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserContent:
    """A message of a person. `content`: stored parts; `size_bytes`: of their JSON."""

    content: list[dict[str, Any]]
    size_bytes: int
    created_by: UUID
    api_key_id: str | None = None
    model_config_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of a send: exactly one of `message` and `queued` is set."""

    chat: Chat
    message: ChatMessage | None = None
    queued: ChatQueuedMessage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a runner stands after a write of its own."""

    status: Status
    history_version: int
    attempt: int
    message_ids: tuple[int, ...] = ()


# People's events


def create_chat(
    *,
    owner: User,
    organization: Organization,
    model_config: ModelConfig,
    title: str,
    hidden_texts: Sequence[str],
    message: UserContent,
    client_type: ClientType,
    plan_mode: str | None = None,
    labels: Mapping[str, str] | None = None,
    mcp_server_ids: Sequence[str] = (),
    dynamic_tools: Sequence[dict[str, Any]] | None = None,
) -> Chat:
    """Create a root chat that is pending, with its hidden system messages and first message."""
    with transaction.atomic():
        instant = now()
        chat = Chat.objects.create(
            owner=owner,
            organization=organization,
            last_model_config=model_config,
            title=title,
            status=Status.PENDING,
            plan_mode=plan_mode,
            client_type=client_type,
            labels=dict(labels or {}),
            mcp_server_ids=list(mcp_server_ids),
            dynamic_tools=list(dynamic_tools) if dynamic_tools else None,
            created_at=instant,
            updated_at=instant,
        )
        system = [
            ChatMessage(
                chat=chat,
                revision=chat.snapshot_version,
                role=Role.SYSTEM,
                content=[{"type": "text", "text": text}],
                visibility=Visibility.MODEL,
                model_config=model_config,
                created_at=instant,
            )
            for text in hidden_texts
        ]
        first = ChatMessage(
            chat=chat,
            revision=chat.snapshot_version,
            role=Role.USER,
            content=message.content,
            created_by=message.created_by,
            api_key_id=message.api_key_id,
            model_config=model_config,
            created_at=instant,
        )
        ChatMessage.objects.bulk_create([*system, first])
        announce_created(chat)
    return chat


def send_message(
    chat_id: UUID,
    message: UserContent,
    *,
    interrupt: bool = False,
    partial: Partial | None = None,
    plan_mode: str | None = None,
    change_plan_mode: bool = False,
    mcp_server_ids: Sequence[str] | None = None,
) -> Sent:
    """Insert a message at once when the chat is idle without a backlog, else queue it.

    With `interrupt` a busy chat stops what it does, keeps the partial answer, and takes the head
    of the queue. An idle chat with a backlog takes its head too: nothing strands.
    Raises EpisodeMovedError, StateConflictError, ChatdError 400 (model), 429 (queue full).
    """
    event = Event.SEND_INTERRUPT if interrupt else Event.SEND
    with transition(chat_id, event) as t:
        model = _model_for(t.chat, message.model_config_id, strict=True)
        if change_plan_mode:
            t.set(plan_mode=plan_mode or None)
        if mcp_server_ids is not None:
            t.set(mcp_server_ids=list(mcp_server_ids), updated_at=t.at)
        if t.chat.status in IDLE and not t.chat.queued_messages.exists():
            row = _insert_user(t, message, model)
            t.set_status(Status.PENDING)
            return Sent(t.chat, message=row)
        if t.chat.status in IDLE:
            _promote_head(t)  # first, so that a full queue has room for this one
            return Sent(t.chat, queued=_enqueue(t, message, model))
        queued = _enqueue(t, message, model)
        if interrupt and t.chat.status == Status.PENDING:
            _repeat_status(t)
        elif interrupt:
            _stop(t, partial, INTERRUPTED_BY_PROMOTION)
            _promote_head(t)
        return Sent(t.chat, queued=queued)


def interrupt(chat_id: UUID, *, partial: Partial | None = None) -> Chat:
    """Stop what the chat does and keep the partial answer; a pending chat stays pending.

    Lands in waiting, or in pending when a queued message could be promoted. Raises
    EpisodeMovedError.
    """
    with transition(chat_id, Event.INTERRUPT) as t:
        if t.chat.status == Status.PENDING:
            _repeat_status(t)
            return t.chat
        _stop(t, partial, INTERRUPTED_BY_USER)
        if t.chat.archived or not _promote_head(t):
            t.set_status(Status.WAITING)
        _clear_summary(t)
        return t.chat


def edit_message(chat_id: UUID, message_id: int, message: UserContent) -> tuple[Chat, ChatMessage]:
    """Cut history at a user message, put a new one in its place, empty the queue, start anew.

    Raises StateConflictError, ChatdError 400 (role, model) or 404 (message).
    """
    with transition(chat_id, Event.EDIT) as t:
        original = ChatMessage.objects.filter(pk=message_id, chat_id=chat_id, deleted=False).first()
        if original is None:
            raise not_found(
                "Chat message not found.", detail="Message does not belong to this chat."
            )
        if original.role != Role.USER:
            raise bad_request("Only user messages can be edited.")
        requested = message.model_config_id or original.model_config_id
        model = _model_for(t.chat, requested, strict=message.model_config_id is not None)
        t.cut_history(original.pk)
        row = _insert_user(t, message, model, visibility=Visibility(original.visibility))
        t.chat.queued_messages.all().delete()
        t.queue_changed()
        t.set_status(Status.PENDING)
        return t.chat, row


def delete_queued(chat_id: UUID, queued_id: int) -> bool:
    """Remove a queued message; returns False when there was none (that is no error)."""
    with transition(chat_id, Event.DELETE_QUEUED) as t:
        deleted, _ = ChatQueuedMessage.objects.filter(pk=queued_id, chat_id=chat_id).delete()
        if deleted:
            t.queue_changed()
        else:
            t.leave_unchanged()
        return bool(deleted)


def promote_queued(
    chat_id: UUID, queued_id: int, *, promoted_by: UUID, partial: Partial | None = None
) -> Chat:
    """Make a queued message the next one: what runs is stopped and kept.

    Raises StateConflictError, EpisodeMovedError, ChatdError 500 for an unknown id (the contract).
    """
    with transition(chat_id, Event.PROMOTE) as t:
        queued = ChatQueuedMessage.objects.filter(pk=queued_id, chat_id=chat_id).first()
        if queued is None:
            raise ChatdError(
                ErrorCode.INTERNAL,
                "Failed to promote queued message.",
                detail=f"queued message {queued_id} not found in chat {chat_id}",
            )
        _stop(t, partial, INTERRUPTED_BY_PROMOTION)
        _promote(t, queued, created_by=promoted_by)
        return t.chat


def submit_tool_results(
    chat_id: UUID, results: Sequence[ToolResultPart], *, submitted_by: UUID
) -> Chat:
    """Answer the open client-side calls; the set must be exact. The turn goes on.

    Raises StateConflictError when the chat does not wait for results, ChatdError 400.
    """
    with transition(chat_id, Event.SUBMIT_TOOL_RESULTS) as t:
        calls = {str(call.get("tool_call_id")): call for call in open_client_calls(t.chat)}
        _check_submitted([str(result.tool_call_id) for result in results], calls)
        _check_outputs(results)
        t.insert(
            [
                NewMessage(
                    role=Role.TOOL,
                    content=to_stored([result]),
                    created_by=submitted_by,
                    model_config_id=t.chat.last_model_config_id,
                )
                for result in _named(results, calls, rfc3339(t.at))
            ]
        )
        t.set_status(Status.PENDING)
        return t.chat


def archive_chat(chat_id: UUID, *, partials: Mapping[UUID, Partial] | None = None) -> list[Chat]:
    """Archive a chat, and a root's sub-chats with it; what runs is stopped and kept.

    Raises StateConflictError when it is archived, EpisodeMovedError.
    """
    known = partials or {}
    with transaction.atomic():
        lock_pins_of(chat_id)
        family = _locked_family(chat_id)
        done = [_archive_one(family[0].pk, known)]
        done += [_archive_one(chat.pk, known) for chat in family[1:] if not chat.archived]
        if family[0].pin_order:
            close_gaps(family[0].owner_id)
        return done


def _archive_one(chat_id: UUID, partials: Mapping[UUID, Partial]) -> Chat:
    with transition(chat_id, Event.ARCHIVE) as t:
        if t.chat.status in (Status.PENDING, Status.RUNNING):
            _stop(t, partials.get(chat_id), INTERRUPTED_BY_USER, announce=False)
            t.set_status(Status.WAITING)
        t.set(archived=True, archived_at=t.at, pin_order=0, updated_at=t.at)
        t.watch("deleted")
        return t.chat


def unarchive_chat(chat_id: UUID) -> list[Chat]:
    """Unarchive a chat, and a root's sub-chats with it. Pins are not restored.

    Raises StateConflictError when it is active, ChatdError 400 for a child of an archived parent.
    """
    with transaction.atomic():
        family = _locked_family(chat_id)
        parent = family[0].parent_chat
        if parent is not None and parent.archived:
            raise bad_request(
                "Cannot unarchive a child chat while its parent is archived."
                " Unarchive the parent chat to cascade."
            )
        done = [_unarchive_one(family[0].pk)]
        done += [_unarchive_one(chat.pk) for chat in family[1:] if chat.archived]
        return done


def _unarchive_one(chat_id: UUID) -> Chat:
    with transition(chat_id, Event.UNARCHIVE) as t:
        t.set(archived=False, archived_at=None, updated_at=t.at)
        if t.chat.status == Status.REQUIRES_ACTION:
            t.set(action_deadline_at=_deadline(t))
        t.watch("created")
        return t.chat


# The engine's events


def acquire(chat_id: UUID, runner_id: UUID, *, lease_seconds: float) -> Chat | None:
    """Take a pending chat for a runner; None when it is not to be had (that is normal)."""
    try:
        with transition(chat_id, Event.ACQUIRE) as t:
            t.set_status(Status.RUNNING, silent=True)
            t.set(
                runner_id=runner_id,
                lease_expires_at=t.at + timedelta(seconds=lease_seconds),
                started_at=t.at,
                attempt=t.chat.attempt + 1,
            )
            t.notify(worker_id=str(runner_id))
            return t.chat
    except StateConflictError:
        return None
    except ChatdError:  # the chat is gone
        return None


def renew_leases(runner_ids: Sequence[UUID], *, lease_seconds: float) -> set[UUID]:
    """Extend the leases of these runners in one statement; returns those that still hold one."""
    held = Chat.objects.filter(runner_id__in=runner_ids, status=Status.RUNNING)
    held.update(lease_expires_at=now() + timedelta(seconds=lease_seconds))
    return {runner for runner in held.values_list("runner_id", flat=True) if runner}


def commit_step(fence: Fence, messages: Sequence[NewMessage]) -> Progress:
    """Store the messages of a step; the runner goes on with a new episode.

    Raises StateConflictError when the fence has moved.
    """
    with _fenced(fence, Event.COMMIT_STEP) as t:
        rows = t.insert(messages)
        if rows:
            t.set(attempt=1, retry=None)
        return _progress(t, rows)


def finish(fence: Fence, messages: Sequence[NewMessage] = ()) -> Progress:
    """End a turn well, with the messages of its last step; the head of the queue is promoted."""
    with _fenced(fence, Event.FINISH) as t:
        rows = t.insert(messages)
        if not _promote_head(t):
            t.set_status(Status.WAITING)
        t.settle_runner()
        return _progress(t, rows)


def require_action(fence: Fence, messages: Sequence[NewMessage]) -> Progress:
    """End a turn at client-side tool calls: the chat waits for their results."""
    with _fenced(fence, Event.REQUIRE_ACTION) as t:
        rows = t.insert(messages)
        t.set_status(Status.REQUIRES_ACTION, deadline=_deadline(t))
        t.settle_runner()
        t.notify(action_required=True)
        t.watch("action_required", tool_calls=client_call_bodies(open_client_calls(t.chat)))
        return _progress(t, rows)


def fail(fence: Fence, error: dict[str, Any]) -> Progress:
    """End a turn with an error (a stored ChatError). The queue stays; the next send drains it."""
    with _fenced(fence, Event.FAIL) as t:
        t.notify(error_payload=error, error=str(error.get("message", "")))
        t.set_status(Status.ERROR, error=error)
        t.settle_runner()
        _clear_summary(t)
        return _progress(t, [])


def record_retry(fence: Fence, retry: dict[str, Any]) -> Progress:
    """Announce a back-off; parts streamed so far are void and a new episode begins."""
    with _fenced(fence, Event.RETRY) as t:
        t.set(attempt=t.chat.attempt + 1, retry=retry, retry_version=t.version)
        t.notify(retry=retry)
        return _progress(t, [])


def release(chat_id: UUID, runner_id: UUID) -> bool:
    """Give a running turn back to pending (shutdown); False when it was not ours any more."""
    try:
        with transition(chat_id, Event.RELEASE) as t:
            if t.chat.runner_id != runner_id:
                raise t.conflict("another runner holds the chat")
            _void_parts(t, "The worker is restarting; the turn goes on with another one.")
            t.set_status(Status.PENDING, silent=True)
            t.settle_runner()
    except (StateConflictError, ChatdError):
        return False
    return True


def recover(chat_id: UUID) -> bool:
    """Make a running chat pending again when its lease has expired; False when it has not."""
    try:
        with transition(chat_id, Event.RECOVER) as t:
            if t.chat.lease_expires_at is None or t.chat.lease_expires_at > t.at:
                raise t.conflict("the lease is alive")
            _void_parts(t, "The worker that ran this turn stopped responding.")
            t.set_status(Status.PENDING, silent=True)
    except (StateConflictError, ChatdError):
        return False
    return True


def expire_action(chat_id: UUID) -> bool:
    """End a wait for client-side results whose deadline has passed; False when it has not."""
    try:
        with transition(chat_id, Event.EXPIRE_ACTION) as t:
            if t.chat.action_deadline_at is None or t.chat.action_deadline_at > t.at:
                raise t.conflict("the deadline has not passed")
            error = {"message": ACTION_TIMED_OUT, "kind": "generic", "retryable": False}
            _close_client_calls(t, ACTION_TIMED_OUT)
            t.notify(error_payload=error, error=ACTION_TIMED_OUT)
            t.set_status(Status.ERROR, error=error)
    except (StateConflictError, ChatdError):
        return False
    return True


# Pieces


@contextmanager
def _fenced(fence: Fence, event: Event) -> Iterator[Transition]:
    with transition(fence.chat_id, event) as t:
        held = (t.chat.runner_id, t.chat.history_version)
        if held != (fence.runner_id, fence.history_version):
            raise t.conflict("the runner was fenced out")
        yield t


def _progress(t: Transition, rows: Sequence[ChatMessage]) -> Progress:
    return Progress(
        status=Status(t.chat.status),
        history_version=t.chat.history_version,
        attempt=t.chat.attempt,
        message_ids=tuple(row.pk for row in rows),
    )


def _stop(t: Transition, partial: Partial | None, reason: str, *, announce: bool = True) -> None:
    """End what the chat does now: keep a partial answer, close client-side calls."""
    if t.chat.status == Status.RUNNING:
        episode = Episode(t.chat.history_version, t.chat.attempt)
        if partial is None or (partial.episode is not None and partial.episode != episode):
            raise EpisodeMovedError
        if announce:
            t.pass_through(Status.WAITING)
        t.insert(partial_messages(partial, model_config_id=t.chat.last_model_config_id))
    elif t.chat.status == Status.REQUIRES_ACTION:
        _close_client_calls(t, reason)


def _repeat_status(t: Transition) -> None:
    """Tell clients the status again: an interrupt is always answered with one."""
    t.notify(status=str(t.chat.status))
    t.watch("status_change")


def _close_client_calls(t: Transition, reason: str) -> None:
    calls = open_client_calls(t.chat)
    t.insert(synthetic_results(calls, reason, model_config_id=t.chat.last_model_config_id))


def _void_parts(t: Transition, why: str) -> None:
    """Tell followers to drop the parts of the attempt that will be made again."""
    t.notify(
        retry={
            "attempt": t.chat.attempt,
            "delay_ms": 0,
            "error": why,
            "kind": "generic",
            "retrying_at": rfc3339(t.at),
        }
    )
    t.set(retry_version=t.version)


def _clear_summary(t: Transition) -> None:
    if t.chat.last_turn_summary is not None:
        t.set(last_turn_summary=None)
        t.watch("summary_change")


def _deadline(t: Transition) -> datetime:
    return t.at + timedelta(seconds=env.action_timeout_seconds)


def _insert_user(
    t: Transition,
    message: UserContent,
    model: ModelConfig,
    *,
    visibility: Visibility = Visibility.BOTH,
) -> ChatMessage:
    return t.insert(
        [
            NewMessage(
                role=Role.USER,
                content=message.content,
                visibility=visibility,
                created_by=message.created_by,
                api_key_id=message.api_key_id,
                model_config_id=model.pk,
            )
        ]
    )[0]


def _enqueue(t: Transition, message: UserContent, model: ModelConfig) -> ChatQueuedMessage:
    waiting = t.chat.queued_messages
    held = waiting.aggregate(total=Sum("size_bytes"))["total"] or 0
    if waiting.count() >= MAX_QUEUED or (held and held + message.size_bytes > MAX_QUEUED_BYTES):
        raise ChatdError(
            ErrorCode.TOO_MANY,
            "Message queue is full.",
            detail=f"Maximum {MAX_QUEUED} messages can be queued.",
        )
    queued = ChatQueuedMessage.objects.create(
        chat_id=t.chat.pk,
        content=message.content,
        size_bytes=message.size_bytes,
        model_config_id=model.pk,
        created_by=message.created_by,
        api_key_id=message.api_key_id,
        created_at=t.at,
    )
    t.queue_changed()
    return queued


def _promote_head(t: Transition) -> bool:
    """Promote the oldest queued message; False when the queue is empty."""
    head = t.chat.queued_messages.order_by("created_at", "id").first()
    if head is None:
        return False
    _promote(t, head, created_by=t.chat.owner_id)
    return True


def _promote(t: Transition, queued: ChatQueuedMessage, *, created_by: UUID) -> None:
    model = _model_for(t.chat, queued.model_config_id, strict=False)
    message = UserContent(
        content=queued.content,
        size_bytes=queued.size_bytes,
        created_by=created_by,
        api_key_id=queued.api_key_id,
    )
    queued.delete()
    t.queue_changed()
    _insert_user(t, message, model)
    t.set_status(Status.PENDING)


def _model_for(chat: Chat, requested: UUID | None, *, strict: bool) -> ModelConfig:
    """Return the model of a message: the requested one, else the chat's last, else the default.

    With `strict` an unknown request is a 400; otherwise the next choice is taken.
    """
    chosen = existing_model_config(requested)
    if requested is not None and chosen is None and strict:
        raise bad_request("Invalid model config ID.")
    chosen = chosen or existing_model_config(chat.last_model_config_id) or default_model_config()
    if chosen is None:
        raise ChatdError(
            ErrorCode.INTERNAL,
            "No default chat model config is available.",
            detail="An administrator must configure a model first.",
        )
    return chosen


def _check_submitted(ids: Sequence[str], calls: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for call_id in ids:
        if call_id in seen:
            raise bad_request(
                "Duplicate tool_call_id in results.",
                detail=f'Duplicate tool call ID "{call_id}".',
            )
        seen.add(call_id)
    for call_id in calls:
        if call_id not in seen:
            raise bad_request(
                "Missing tool result.", detail=f'Missing result for tool call "{call_id}".'
            )
    for call_id in ids:
        if call_id not in calls:
            raise bad_request(
                "Unexpected tool result.", detail=f'No pending tool call with ID "{call_id}".'
            )


def _check_outputs(results: Sequence[ToolResultPart]) -> None:
    for result in results:
        if result.result is UNSET:
            raise bad_request(
                "Tool result output must be valid JSON.",
                detail=f'Output for tool call "{result.tool_call_id}" is not valid JSON.',
            )


def _named(
    results: Sequence[ToolResultPart], calls: Mapping[str, dict[str, Any]], created_at: str
) -> list[ToolResultPart]:
    return [
        ToolResultPart(
            tool_call_id=result.tool_call_id,
            tool_name=calls[str(result.tool_call_id)].get("tool_name", ""),
            result=result.result,
            is_error=result.is_error,
            created_at=created_at,
        )
        for result in results
    ]


def _locked_family(chat_id: UUID) -> list[Chat]:
    """Return the chat and, for a root, its sub-chats, all locked; the chat comes first."""
    first = lock_chat(chat_id)
    rest = (
        Chat.objects.select_for_update(of=("self",))
        .filter(root_chat_id=chat_id)
        .order_by("created_at", "id")
    )
    return [first, *rest]
