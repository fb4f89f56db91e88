"""People's events of the state machine: one function per event, one short transaction each.

A refused event raises StateConflictError and leaves every column as it was. Rights are checked in
`actions`, before. The engine's events are in `runs`; nothing else writes a chat's state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import UNSET

from chatd.accounts.models import Organization, User
from chatd.chats.cut_off import charge_cut_off
from chatd.chats.debug import delete_runs_of, delete_runs_since
from chatd.chats.law import Event
from chatd.chats.models import (
    IDLE,
    Chat,
    ChatMessage,
    ChatQueuedMessage,
    ClientType,
    Mode,
    Role,
    Status,
    Visibility,
)
from chatd.chats.moves import (
    UserContent,
    action_deadline,
    clear_summary,
    enqueue,
    has_queue,
    insert_user,
    model_for,
    promote,
    promote_head,
    repeat_status,
    stop,
)
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import SKIPPED, CallState, OpenCall, cut_open_step, decide
from chatd.chats.partial import Partial
from chatd.chats.parts import ToolResultPart, error_result, result_of, to_stored
from chatd.chats.pins import lock_pins_of, set_pin
from chatd.chats.search import index_messages
from chatd.chats.selectors import open_client_calls
from chatd.chats.transition import StateConflictError, announce_created, lock_chat, transition
from chatd.core.clock import now, rfc3339
from chatd.core.errors import bad_request, not_found
from chatd.providers.models import ModelConfig
from chatd.spending.admission import check_limit

INTERRUPTED_BY_USER = "Tool execution interrupted by user"
INTERRUPTED_BY_PROMOTION = "Tool execution interrupted by queued message promotion"


CONFIRMED = {"output": "Carried out, as the user confirmed; its output is lost."}


class Decision(StrEnum):
    """What a person makes of a tool call that is in doubt."""

    RETRY = "retry"
    DONE = "done"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of a send: exactly one of `message` and `queued` is set."""

    chat: Chat
    message: ChatMessage | None = None
    queued: ChatQueuedMessage | None = None


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
        index_messages(chat, [first], title=True)
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
    of the queue. An idle chat with a backlog takes its head too: nothing strands. Chats that
    explore keep the MCP servers they began with.
    Raises EpisodeMovedError, StateConflictError, ChatdError 400 (model), 409 (usage limit),
    429 (queue full).
    """
    event = Event.SEND_INTERRUPT if interrupt else Event.SEND
    with transition(chat_id, event) as t:
        check_limit(t.chat.owner_id, t.chat.organization_id)
        model = model_for(t.chat, message.model_config_id, strict=True)
        if change_plan_mode:
            t.set(plan_mode=plan_mode or None)
        if mcp_server_ids is not None and t.chat.mode != Mode.EXPLORE:
            t.set(mcp_server_ids=list(mcp_server_ids), updated_at=t.at)
        if t.chat.status in IDLE:
            stop(t, None, INTERRUPTED_BY_USER)
        if t.chat.status in IDLE and not has_queue(t):
            row = insert_user(t, message, model)
            t.set_status(Status.PENDING)
            return Sent(t.chat, message=row)
        if t.chat.status in IDLE:
            promote_head(t)  # first, so that a full queue has room for this one
            return Sent(t.chat, queued=enqueue(t, message, model))
        queued = enqueue(t, message, model)
        if interrupt and t.chat.status == Status.PENDING:
            repeat_status(t)
        elif interrupt:
            was_running = t.chat.status == Status.RUNNING
            stop(t, partial, INTERRUPTED_BY_USER)
            promote_head(t)
            if was_running:
                clear_summary(t)
        return Sent(t.chat, queued=queued)


def interrupt(chat_id: UUID, *, partial: Partial | None = None) -> Chat:
    """Stop what the chat does and keep the partial answer; a pending chat stays pending.

    Lands in waiting, or in pending when a queued message could be promoted. Raises
    EpisodeMovedError.
    """
    with transition(chat_id, Event.INTERRUPT) as t:
        if t.chat.status == Status.PENDING:
            repeat_status(t)
            return t.chat
        was_idle = t.chat.status in IDLE
        stop(t, partial, INTERRUPTED_BY_USER)
        if t.chat.archived or not promote_head(t):
            t.set_status(Status.WAITING)
        if not was_idle:
            clear_summary(t)
        return t.chat


def edit_message(
    chat_id: UUID, message_id: int, message: UserContent, *, partial: Partial | None = None
) -> tuple[Chat, ChatMessage]:
    """Cut history at a user message, put a new one in its place, empty the queue, start anew.

    What a running turn has streamed is charged and dropped. Debug runs about what was cut are
    deleted. Raises StateConflictError, ChatdError 400 (role, model), 404 (message) or 409 (usage
    limit).
    """
    with transition(chat_id, Event.EDIT) as t:
        check_limit(t.chat.owner_id, t.chat.organization_id)
        original = ChatMessage.objects.filter(
            pk=message_id, chat_id=chat_id, deleted=False, compressed=False
        ).first()
        if original is None:
            raise not_found(
                "Chat message not found.", detail="Message does not belong to this chat."
            )
        if original.role != Role.USER:
            raise bad_request("Only user messages can be edited.")
        requested = message.model_config_id or original.model_config_id
        model = model_for(t.chat, requested, strict=message.model_config_id is not None)
        was_running = t.chat.status == Status.RUNNING
        cut_open_step(t)
        charge_cut_off(t, partial)
        t.cut_history(original.pk)
        delete_runs_since(chat_id, original.pk, started_before=t.at)
        row = insert_user(t, message, model, visibility=Visibility(original.visibility))
        t.chat.queued_messages.all().delete()
        t.queue_changed()
        t.set_status(Status.PENDING)
        if was_running:
            clear_summary(t)
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

    Raises StateConflictError, EpisodeMovedError, ChatdError 404 for an unknown id.
    """
    with transition(chat_id, Event.PROMOTE) as t:
        queued = ChatQueuedMessage.objects.filter(pk=queued_id, chat_id=chat_id).first()
        if queued is None:
            raise not_found(
                "Failed to promote queued message.",
                detail="It has been promoted or deleted, or it is not of this chat.",
            )
        was_running = t.chat.status == Status.RUNNING
        stop(t, partial, INTERRUPTED_BY_PROMOTION)
        promote(t, queued, created_by=promoted_by)
        if was_running:
            clear_summary(t)
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


def decide_call(
    chat_id: UUID, call_id: UUID, decision: Decision, *, result: Any = None, decided_by: UUID
) -> Chat:
    """Decide about a tool call that is in doubt; with the last one the turn goes on.

    `result` is what a call that counts as done gave back. Raises StateConflictError when nothing
    is in doubt, ChatdError 404 when this call is not.
    """

    def settled(call: OpenCall) -> dict[str, Any] | None:
        match decision:
            case Decision.RETRY:
                return None
            case Decision.SKIP:
                return error_result(call.call, {"error": SKIPPED})
            case Decision.DONE:
                return result_of(call.call, CONFIRMED if result is None else result)

    with transition(chat_id, Event.DECIDE_CALL) as t:
        try:
            left = decide(t, call_id, settled, decided_by=decided_by)
        except KeyError:
            raise not_found(
                "Tool call not found.", detail="It is not in doubt, or it is not of this chat."
            ) from None
        if left is not CallState.IN_DOUBT:
            t.set_status(Status.PENDING)
        return t.chat


def archive_chat(
    chat_id: UUID,
    *,
    partials: Mapping[UUID, Partial] | None = None,
    if_still: Callable[[Chat], bool] | None = None,
    watched: bool = True,
) -> list[Chat]:
    """Archive a chat, and a root's sub-chats with it; what runs is stopped and kept.

    Their debug runs are deleted. `if_still` is asked of the locked chat. `watched=False` tells no
    watch socket. Raises StateConflictError when it is archived or not so any more,
    EpisodeMovedError.
    """
    known = partials or {}
    with transaction.atomic():
        lock_pins_of(chat_id)
        family = _locked_family(chat_id)
        if if_still is not None and not if_still(family[0]):
            raise StateConflictError(Event.ARCHIVE, family[0], "it changed meanwhile")
        if family[0].pin_order:
            set_pin(family[0], 0)  # locks other chats, which must come before what is spent
        active = [family[0], *(chat for chat in family[1:] if not chat.archived)]
        done = [_archive_one(chat.pk, known, watched=watched) for chat in active]
        # The family is kept together: retention counts from now for all of it.
        earlier = [chat.pk for chat in family[1:] if chat.archived]
        instant = now()
        Chat.objects.filter(pk__in=earlier).update(archived_at=instant, updated_at=instant)
        delete_runs_of([chat.pk for chat in family], started_before=instant)
        return done


def _archive_one(chat_id: UUID, partials: Mapping[UUID, Partial], *, watched: bool) -> Chat:
    with transition(chat_id, Event.ARCHIVE) as t:
        if t.chat.status != Status.REQUIRES_ACTION:
            stop(t, partials.get(chat_id), INTERRUPTED_BY_USER, announce=False)
        if t.chat.status == Status.RUNNING:
            t.set(last_turn_summary=None)
        if t.chat.status in (Status.PENDING, Status.RUNNING):
            t.set_status(Status.WAITING)
        t.set(archived=True, archived_at=t.at, pin_order=0, updated_at=t.at)
        if watched:
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
            t.set(action_deadline_at=action_deadline())
        t.watch("created")
        return t.chat


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
