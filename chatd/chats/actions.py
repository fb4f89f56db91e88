"""What people do with chats: rights, checks in the contract's order, then one transition.

The actor comes first. Every function raises ChatdError and nothing else for a refusal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import ChatRight, membership, organization_chat_rights
from chatd.audit.actions import record
from chatd.audit.models import Action
from chatd.chats import states
from chatd.chats.audit import audited_fields, resource_of
from chatd.chats.content import (
    MAX_MESSAGE_BYTES,
    MAX_SYSTEM_PROMPT_BYTES,
    DynamicTool,
    InputPart,
    check_dynamic_tools,
    check_labels,
    check_plan_mode,
    initial_title,
    parse_content,
    size_of,
)
from chatd.chats.cut_off import streamed_by
from chatd.chats.files import link_files, readable_files
from chatd.chats.mcp_servers import check_mcp_servers, hold_mcp_servers
from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, ClientType, Status
from chatd.chats.moves import UserContent, against_running_turns
from chatd.chats.partial import Partial, read_partial
from chatd.chats.parts import ToolResultPart
from chatd.chats.prompts import opening_texts
from chatd.chats.selectors import (
    get_chat_for,
    get_own_chat_for,
    newest_assistant_id,
)
from chatd.chats.states import Decision
from chatd.chats.transition import StateConflictError
from chatd.core.errors import ChatdError, bad_request, conflict, forbidden
from chatd.core.ids import NIL_UUID
from chatd.providers.models import ModelConfig
from chatd.providers.personal import root_model_of
from chatd.providers.selectors import default_model_config, existing_model_config
from chatd.spending.admission import check_limit

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChat:
    """A request to create a chat, decoded but not yet checked. None is "not given"."""

    organization_id: UUID | None
    content: Sequence[InputPart] | None
    system_prompt: str = ""
    workspace_id: UUID | None = None
    model_config_id: UUID | None = None
    mcp_server_ids: Sequence[UUID] = ()
    labels: dict[str, str] = field(default_factory=dict)
    dynamic_tools: Sequence[DynamicTool] = ()
    plan_mode: str = ""
    client_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessageRequest:
    """A request to send a message. None is "no change" for `plan_mode` and `mcp_server_ids`."""

    content: Sequence[InputPart] | None
    model_config_id: UUID | None = None
    mcp_server_ids: Sequence[UUID] | None = None
    busy_behavior: str = ""
    plan_mode: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What a request stored: the chat, the message or its place in the queue, and warnings."""

    chat: Chat
    message: ChatMessage | None = None
    queued: ChatQueuedMessage | None = None
    warnings: list[str] = field(default_factory=list)


def create_chat(actor: Actor, request: NewChat) -> Stored:
    """Create a chat that starts at once. Raises ChatdError 400, 403, 409 (usage limit)."""
    user = actor.user
    if request.organization_id is None or request.organization_id == NIL_UUID:
        raise bad_request("organization_id is required.")
    member = membership(user, request.organization_id)
    if member is None:
        raise forbidden("You are not a member of the specified organization.")
    if ChatRight.CREATE not in organization_chat_rights(user, member, own=True):
        raise forbidden(detail="You may not create chats in this organization.")
    _check_system_prompt(request.system_prompt)
    content = _checked_content(user, request.content)
    if request.workspace_id not in (None, NIL_UUID):
        raise bad_request("Workspace not found or you do not have access to this resource")
    chosen = _check_model_choice(user, request.model_config_id)
    plan_mode = check_plan_mode(request.plan_mode)
    mcp_server_ids = check_mcp_servers(request.mcp_server_ids)
    labels = check_labels(request.labels)
    dynamic_tools = check_dynamic_tools(request.dynamic_tools)
    client_type = _check_client_type(request.client_type)
    with transaction.atomic():
        hold_mcp_servers(mcp_server_ids)
        check_limit(user.pk, member.organization_id)
        model = chosen or existing_model_config(request.model_config_id)
        if model is None:
            raise bad_request("Invalid model config ID.")
        chat = states.create_chat(
            owner=user,
            organization=member.organization,
            model_config=model,
            title=initial_title(content),
            hidden_texts=opening_texts(request.system_prompt),
            message=_user_content(actor, content, None),
            client_type=client_type,
            plan_mode=plan_mode,
            labels=labels,
            mcp_server_ids=mcp_server_ids,
            dynamic_tools=dynamic_tools,
        )
        record(actor.author, Action.CREATE, resource_of(chat), after=audited_fields(chat))
        return Stored(chat, warnings=link_files(chat, content))


def send_message(actor: Actor, chat_id: UUID, request: Callable[[], NewMessageRequest]) -> Stored:
    """Send a message to one's own chat. `request` decodes the body, after the rights are known.

    Raises ChatdError 400, 403, 404, 409 (usage limit), 429.
    """
    chat = get_own_chat_for(actor.user, chat_id, may="send messages")
    _refuse_archived(chat, "Cannot send messages to an archived chat.")
    wanted = request()
    content = _checked_content(actor.user, wanted.content)
    mcp_server_ids = (
        None if wanted.mcp_server_ids is None else check_mcp_servers(wanted.mcp_server_ids)
    )
    plan_mode = check_plan_mode(wanted.plan_mode or "")
    if wanted.busy_behavior not in ("", "queue", "interrupt"):
        raise bad_request("Invalid busy_behavior value.", detail='Must be "queue" or "interrupt".')
    interrupt = wanted.busy_behavior == "interrupt"
    message = _user_content(actor, content, wanted.model_config_id)

    def send(partial: Partial | None) -> Stored:
        with transaction.atomic():
            hold_mcp_servers(mcp_server_ids or ())
            sent = states.send_message(
                chat_id,
                message,
                interrupt=interrupt,
                partial=partial,
                plan_mode=plan_mode,
                change_plan_mode=wanted.plan_mode is not None,
                mcp_server_ids=mcp_server_ids,
            )
            warnings = link_files(sent.chat, content)
        return Stored(sent.chat, message=sent.message, queued=sent.queued, warnings=warnings)

    refused = _conflict_text("Cannot send messages to an archived chat.")
    return _with_partial(chat_id, send, refused=refused, read=interrupt)


def edit_message(
    actor: Actor,
    chat_id: UUID,
    message_id: Callable[[], int],
    request: Callable[[], NewMessageRequest],
) -> Stored:
    """Replace a user message and everything after it.

    Raises ChatdError 400, 403, 404, 409 (usage limit).
    """
    chat = get_own_chat_for(actor.user, chat_id, may="edit messages")
    archived = "Cannot edit messages in an archived chat."
    _refuse_archived(chat, archived)
    target, wanted = message_id(), request()
    content = _checked_content(actor.user, wanted.content)
    message = _user_content(actor, content, wanted.model_config_id)
    streamed = read_partial(chat)
    try:
        with transaction.atomic():
            edited, row = states.edit_message(chat_id, target, message, partial=streamed)
            return Stored(edited, message=row, warnings=link_files(edited, content))
    except StateConflictError as error:
        raise _conflict_text(archived)(error) from None


def interrupt_chat(actor: Actor, chat_id: UUID) -> Chat:
    """Stop the running turn and keep its partial answer. Never fails because of the state."""
    get_chat_for(actor.user, chat_id, ChatRight.UPDATE)
    return _with_partial(
        chat_id, lambda partial: states.interrupt(chat_id, partial=partial), refused=_as_conflict
    )


def delete_queued(actor: Actor, chat_id: UUID, queued_id: Callable[[], int]) -> None:
    """Remove a queued message; an unknown id is a success. Raises ChatdError 400, 404."""
    get_chat_for(actor.user, chat_id, ChatRight.UPDATE)
    states.delete_queued(chat_id, queued_id())


def promote_queued(actor: Actor, chat_id: UUID, queued_id: Callable[[], int]) -> Chat:
    """Make a queued message the next one. Raises ChatdError 400, 403, 404, 500 (unknown id)."""
    chat = get_own_chat_for(actor.user, chat_id, may="promote queued messages")
    archived = "Cannot promote queued messages in an archived chat."
    _refuse_archived(chat, archived)
    target = queued_id()
    return _with_partial(
        chat_id,
        lambda partial: states.promote_queued(
            chat_id, target, promoted_by=actor.user.pk, partial=partial
        ),
        refused=_conflict_text(archived),
    )


def submit_tool_results(
    actor: Actor, chat_id: UUID, results: Callable[[], Sequence[ToolResultPart]]
) -> None:
    """Answer the open client-side calls of one's own chat. Raises ChatdError 400, 403, 404, 409."""
    chat = get_own_chat_for(actor.user, chat_id, may="submit tool results")
    archived = "Cannot submit tool results to an archived chat."
    _refuse_archived(chat, archived)
    submitted = results()
    if not submitted:
        raise bad_request("At least one tool result is required.")
    if chat.status != Status.REQUIRES_ACTION:
        raise _not_waiting(str(chat.status))
    try:
        states.submit_tool_results(chat_id, submitted, submitted_by=actor.user.pk)
    except StateConflictError as error:
        if error.archived:
            raise bad_request(archived) from None
        raise _not_waiting(str(error.status)) from None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about a call; `output` is what one that counts as done gave back."""

    call_id: UUID
    decision: Decision
    output: Any = None


def decide_call(actor: Actor, chat_id: UUID, request: Callable[[], Decided]) -> None:
    """Decide about a tool call of one's own chat that is in doubt; the message says who did.

    Raises ChatdError 400 (archived), 403, 404 (also for a call that is not in doubt), 409.
    """
    chat = get_own_chat_for(actor.user, chat_id, may="decide about tool calls")
    archived = "Cannot decide about tool calls of an archived chat."
    _refuse_archived(chat, archived)
    asked = request()
    try:
        states.decide_call(
            chat_id,
            asked.call_id,
            asked.decision,
            result=asked.output,
            decided_by=actor.user.pk,
        )
    except StateConflictError as error:
        if error.archived:
            raise bad_request(archived) from None
        raise conflict("No tool call of this chat is in doubt.", detail=str(error)) from None


def mark_read(actor: Actor, chat: Chat) -> None:
    """Move the owner's read cursor to the newest assistant message, if there is one."""
    if chat.owner_id != actor.user.pk:
        return
    newest = newest_assistant_id(chat.pk)
    if newest is not None:
        Chat.objects.filter(pk=chat.pk).update(last_read_message_id=newest)


# Interrupting: read what was streamed, then transition


def _with_partial(
    chat_id: UUID,
    change: Callable[[Partial | None], T],
    *,
    refused: Callable[[StateConflictError], ChatdError],
    read: bool = True,
) -> T:
    """Run a transition that may stop a running turn, with what the turn has streamed."""

    def streamed() -> Partial | None:
        return streamed_by(chat_id) if read else None

    try:
        return against_running_turns(streamed, change, at_last=lambda: Partial(None))
    except StateConflictError as error:
        raise refused(error) from None


# Checks


def _checked_content(user: User, parts: Sequence[InputPart] | None) -> list[dict[str, Any]]:
    named = [part.file_id for part in parts or () if part.file_id and part.file_id != NIL_UUID]
    content = parse_content(parts, readable_files(user, named) if named else {})
    if size_of(content) > MAX_MESSAGE_BYTES:
        raise bad_request(
            "The message is too large.",
            detail=f"A message can be at most {MAX_MESSAGE_BYTES} bytes."
            " Attach long texts as files.",
        )
    return content


def _user_content(
    actor: Actor, content: list[dict[str, Any]], model_config_id: UUID | None
) -> UserContent:
    return UserContent(
        content=content,
        size_bytes=size_of(content),
        created_by=actor.user.pk,
        api_key_id=actor.api_key_id,
        model_config_id=model_config_id,
    )


def _check_system_prompt(text: str) -> None:
    size = len(text.encode())
    if size > MAX_SYSTEM_PROMPT_BYTES:
        raise bad_request(
            "System prompt exceeds maximum length.",
            detail=f"System prompt must be at most {MAX_SYSTEM_PROMPT_BYTES} characters,"
            f" got {size}.",
        )


def _check_model_choice(user: User, requested: UUID | None) -> ModelConfig | None:
    """Return the user's own choice or the default model when none was requested."""
    if requested == NIL_UUID:
        raise bad_request("Invalid model config ID.")
    if requested is not None:
        return None
    chosen = root_model_of(user) or default_model_config()
    if chosen is None:
        raise bad_request("No default chat model config is configured.")
    return chosen


def _check_client_type(value: str) -> ClientType:
    if value not in ("", *ClientType.values):
        raise bad_request("Invalid client_type.")
    return ClientType(value or ClientType.API)


def _refuse_archived(chat: Chat, text: str) -> None:
    if chat.archived:
        raise bad_request(text)


def _conflict_text(archived: str) -> Callable[[StateConflictError], ChatdError]:
    return lambda error: bad_request(archived) if error.archived else _as_conflict(error)


def _as_conflict(error: StateConflictError) -> ChatdError:
    return conflict("The chat changed meanwhile. Try again.", detail=str(error))


def _not_waiting(status: str) -> ChatdError:
    return conflict(
        "Chat is not waiting for tool results.",
        detail=f'Chat status is "{status}", expected "requires_action".',
    )
