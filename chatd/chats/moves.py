"""Moves that several transitions share: stop what runs, queue, promote, choose a model.

They change an open transition; only `states` and `runs` use them. Around a transition that may
stop running turns stands `against_running_turns`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Count, Sum, UUIDField
from django.db.models.functions import Coalesce

from chatd.chats.cut_off import charge_cut_off
from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, Role, Status, Visibility
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import close_open_step
from chatd.chats.partial import INTERRUPTED_CALL, Partial, partial_messages, synthetic_results
from chatd.chats.selectors import open_client_calls
from chatd.chats.transition import Transition
from chatd.core.errors import ChatdError, ErrorCode, bad_request
from chatd.core.shared_clock import shared_now
from chatd.core.statements import Parameter, Select
from chatd.live.messages import Episode
from chatd.providers.models import ModelConfig
from chatd.providers.selectors import default_model_config, existing_model_config
from config.env import env

MAX_QUEUED = 20
MAX_QUEUED_BYTES = 3 * 1024 * 1024
"""A queue event carries the whole queue and must fit one frame of 4 MiB."""

P = TypeVar("P")
T = TypeVar("T")

_EPISODE_TRIES = 3

STILL_WORKING = "Still working on request"
WAITING_FOR_INPUT = "Waiting for user input"


class EpisodeMovedError(Exception):
    """The partial answer at hand is not of the episode that runs now: read its log again."""


def against_running_turns(
    read: Callable[[], P], change: Callable[[P], T], *, at_last: Callable[[], P]
) -> T:
    """Run a change that may stop turns with what they streamed; again when one moved meanwhile.

    When they keep moving, the last try takes `at_last`, which goes without the partial answers:
    stopping matters more. Raises EpisodeMovedError only when that does not cover what runs.
    """
    for _ in range(_EPISODE_TRIES):
        try:
            return change(read())
        except EpisodeMovedError:
            continue
    return change(at_last())


@dataclass(frozen=True, slots=True, kw_only=True)
class UserContent:
    """A message of a person. `content`: stored parts; `size_bytes`: of their JSON."""

    content: list[dict[str, Any]]
    size_bytes: int
    created_by: UUID
    api_key_id: str | None = None
    model_config_id: UUID | None = None


def stop(t: Transition, partial: Partial | None, reason: str, *, announce: bool = True) -> None:
    """End what the chat does now: keep a partial answer, close calls that nobody has answered."""
    if t.chat.status == Status.RUNNING:
        episode = Episode(t.chat.history_version, t.chat.attempt)
        if partial is None or (partial.episode is not None and partial.episode != episode):
            raise EpisodeMovedError
        if announce:
            t.pass_through(Status.WAITING)
        if not close_open_step(t, INTERRUPTED_CALL):
            charge_cut_off(t, partial)
            t.insert(partial_messages(partial, model_config_id=t.chat.last_model_config_id))
    elif t.chat.status == Status.REQUIRES_ACTION:
        close_client_calls(t, reason)
    elif t.chat.status in (Status.PENDING, Status.ERROR):
        close_open_step(t, INTERRUPTED_CALL)


def repeat_status(t: Transition) -> None:
    """Tell clients the status again: an interrupt is always answered with one."""
    t.notify(status=str(t.chat.status))
    t.watch("status_change")


def close_client_calls(t: Transition, reason: str) -> None:
    calls = open_client_calls(t.chat)
    t.insert(synthetic_results(calls, reason, model_config_id=t.chat.last_model_config_id))


def summarize(t: Transition, summary: str) -> None:
    """Say in a few fixed words how the turn ended, unless that stands there."""
    if t.chat.last_turn_summary != summary:
        relabel(t, summary)


def relabel(t: Transition, label: str) -> None:
    """Say how the turn ended, also when the same has been said before; sub-chats say nothing."""
    if t.chat.parent_chat_id is None:
        t.set(last_turn_summary=label)
        t.watch("summary_change")


def clear_summary(t: Transition) -> None:
    if t.chat.last_turn_summary is not None:
        t.set(last_turn_summary=None)
        t.watch("summary_change")


def action_deadline() -> datetime:
    return shared_now() + timedelta(seconds=env.action_timeout_seconds)


def insert_user(
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


def enqueue(t: Transition, message: UserContent, model: ModelConfig) -> ChatQueuedMessage:
    waiting = t.chat.queued_messages
    held = waiting.aggregate(count=Count("id"), size=Coalesce(Sum("size_bytes"), 0))
    too_big = held["count"] and held["size"] + message.size_bytes > MAX_QUEUED_BYTES
    if held["count"] >= MAX_QUEUED or too_big:
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


_HEAD = Select(
    lambda: ChatQueuedMessage.objects.filter(chat_id=Parameter("chat_id", UUIDField())).order_by(
        "created_at", "id"
    )[:1]
)


def has_queue(t: Transition) -> bool:
    """Tell whether anything waits behind what the chat does."""
    return _HEAD.first(chat_id=t.chat.pk) is not None


def promote_head(t: Transition) -> bool:
    """Promote the oldest queued message; False when the queue is empty."""
    head = _HEAD.first(chat_id=t.chat.pk)
    if head is None:
        return False
    promote(t, head, created_by=t.chat.owner_id)
    return True


def promote(t: Transition, queued: ChatQueuedMessage, *, created_by: UUID) -> None:
    model = model_for(t.chat, queued.model_config_id, strict=False)
    message = UserContent(
        content=queued.content,
        size_bytes=queued.size_bytes,
        created_by=created_by,
        api_key_id=queued.api_key_id,
    )
    queued.delete()
    t.queue_changed()
    insert_user(t, message, model)
    t.set_status(Status.PENDING)


def model_for(chat: Chat, requested: UUID | None, *, strict: bool) -> ModelConfig:
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
