"""What people change about a chat beside its turns: title, labels, pin, archive, plan mode.

All fields of one request are applied in one transaction: a refusal leaves nothing changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from chatd.accounts.actor import Actor
from chatd.accounts.policy import ChatRight
from chatd.audit.actions import record, refusals_recorded
from chatd.audit.models import Action
from chatd.chats import states
from chatd.chats.audit import audited_fields, resource_of
from chatd.chats.content import check_labels, check_plan_mode
from chatd.chats.models import Chat
from chatd.chats.moves import EpisodeMovedError, against_running_turns
from chatd.chats.partial import Partial, read_partials
from chatd.chats.pins import check_pin, lock_pins_of, set_pin
from chatd.chats.selectors import get_chat_for
from chatd.chats.titles import rename
from chatd.chats.transition import StateConflictError, lock_chat
from chatd.core.clock import now
from chatd.core.errors import bad_request, conflict
from chatd.core.ids import NIL_UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChanges:
    """A request to change a chat; None is "no change", empty values clear."""

    title: str | None = None
    labels: Mapping[str, str] | None = None
    archived: bool | None = None
    pin_order: int | None = None
    workspace_id: UUID | None = None
    plan_mode: str | None = None


def update_chat(actor: Actor, chat_id: UUID, request: Callable[[], ChatChanges]) -> None:
    """Apply the changes of a request, or none of them. Raises ChatdError 400, 404, 409."""
    chat = get_chat_for(actor.user, chat_id, ChatRight.UPDATE)
    with refusals_recorded(actor.author, resource_of(chat)):
        wanted = request()
        if wanted.plan_mode is not None:
            check_plan_mode(wanted.plan_mode)
        try:
            against_running_turns(
                lambda: read_partials(_to_be_stopped(chat_id, wanted)),
                lambda partials: _apply(actor, chat_id, wanted, partials),
                at_last=lambda: {
                    chat.pk: Partial(None) for chat in _to_be_stopped(chat_id, wanted)
                },
            )
        except EpisodeMovedError:
            raise conflict("The chat changed while it was being archived. Try again.") from None


def _to_be_stopped(chat_id: UUID, wanted: ChatChanges) -> QuerySet[Chat]:
    """Return the family of a chat that is to be archived, nothing otherwise."""
    if not wanted.archived:
        return Chat.objects.none()
    return Chat.objects.filter(Q(pk=chat_id) | Q(root_chat_id=chat_id))


@transaction.atomic
def _apply(
    actor: Actor, chat_id: UUID, wanted: ChatChanges, partials: Mapping[UUID, Partial]
) -> None:
    if wanted.archived is not None or wanted.pin_order is not None:
        lock_pins_of(chat_id)
    before = lock_chat(chat_id)
    shown = audited_fields(before)
    if wanted.title is not None:
        rename(before, wanted.title)
    if wanted.labels is not None:
        labels = check_labels(wanted.labels)
        Chat.objects.filter(pk=chat_id).update(labels=labels, updated_at=now())
    if wanted.archived is not None:
        _set_archived(chat_id, partials, archived=wanted.archived)
    if wanted.pin_order is not None:
        _pin(before, wanted)
    if wanted.workspace_id is not None:
        _bind_workspace(chat_id, wanted.workspace_id)
    if wanted.plan_mode is not None:
        Chat.objects.filter(pk=chat_id).update(plan_mode=wanted.plan_mode or None)
    after = audited_fields(Chat.objects.get(pk=chat_id))
    record(actor.author, Action.WRITE, resource_of(before), before=shown, after=after)


def _set_archived(chat_id: UUID, partials: Mapping[UUID, Partial], *, archived: bool) -> None:
    try:
        if archived:
            states.archive_chat(chat_id, partials=partials)
        else:
            states.unarchive_chat(chat_id)
    except StateConflictError:
        text = "Chat is already archived." if archived else "Chat is already not archived."
        raise bad_request(text) from None


def _pin(before: Chat, wanted: ChatChanges) -> None:
    """Pin by the state at the start of the request; a chat archived in it is not pinned again."""
    position = wanted.pin_order or 0
    if position > 0 and wanted.archived:
        if before.pin_order:
            return
        raise bad_request("Cannot pin an archived chat.")
    check_pin(before, position)
    set_pin(before, position)


def _bind_workspace(chat_id: UUID, workspace_id: UUID) -> None:
    """Clear the binding; no workspace can be bound, because none exists in this deployment."""
    if workspace_id != NIL_UUID:
        raise bad_request("Workspace not found or you do not have access to this resource")
    Chat.objects.filter(pk=chat_id).update(
        workspace_id=None, build_id=None, agent_id=None, updated_at=now()
    )
