"""The forms of a chat: each posts, runs one action and leads back to the chat.

A refused form shows the chat again with the reason, and with the text that was typed.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chatd.accounts.actor import acting
from chatd.chats.actions import (
    Decided,
    NewMessageRequest,
    decide_call,
    delete_queued,
    interrupt_chat,
    promote_queued,
    send_message,
)
from chatd.chats.properties import ChatChanges, update_chat
from chatd.chats.selectors import get_own_chat_for, list_queue
from chatd.chats.states import Decision
from chatd.core.errors import ChatdError, ErrorCode, bad_request, conflict
from chatd.web.forms import posted_message, posted_text
from chatd.web.selectors import get_chat_page
from chatd.web.views import render_chat


def _command(act: Callable[..., None]) -> Callable[..., HttpResponse]:
    """Return the view of a form. A GET, as after signing in again, leads to the chat."""

    @require_http_methods(["GET", "HEAD", "POST"])
    @login_required
    @wraps(act)
    def view(request: HttpRequest, chat_id: UUID, **path: Any) -> HttpResponse:
        if request.method == "POST":
            try:
                act(request, chat_id, **path)
            except ChatdError as error:
                return _refused(request, chat_id, error)
        return redirect(reverse("chat", args=[chat_id]) + "#latest")

    return view


def _refused(request: HttpRequest, chat_id: UUID, error: ChatdError) -> HttpResponse:
    if error.code is ErrorCode.NOT_FOUND:
        raise error
    page = get_chat_page(acting(request).user, chat_id)
    return render_chat(request, page, draft=posted_text(request), refusal=error)


@_command
def send(request: HttpRequest, chat_id: UUID) -> None:
    """Send a message; a busy chat queues it, or is interrupted for it."""

    def wanted() -> NewMessageRequest:
        posted = posted_message(request)
        return NewMessageRequest(
            content=posted.content,
            model_config_id=posted.model_config_id,
            busy_behavior=request.POST.get("busy_behavior", ""),
        )

    send_message(acting(request), chat_id, wanted)


@_command
def interrupt(request: HttpRequest, chat_id: UUID) -> None:
    """Stop the answer that is being written; what there is of it stays."""
    interrupt_chat(acting(request), chat_id)


@_command
def decide(request: HttpRequest, chat_id: UUID, call_id: UUID) -> None:
    """Decide about a tool call that is in doubt."""
    chosen = request.POST.get("decision", "")
    if chosen not in set(Decision):
        raise bad_request("Choose what to do with the tool call.")
    decide_call(acting(request), chat_id, lambda: Decided(call_id, Decision(chosen)))


@_command
def change(request: HttpRequest, chat_id: UUID) -> None:
    """Pin the chat or archive it, or undo that."""
    wanted = _CHANGES.get(request.POST.get("change", ""))
    if wanted is None:
        raise bad_request("This cannot be done with a chat.")
    update_chat(acting(request), chat_id, lambda: wanted)


_CHANGES = {
    "pin": ChatChanges(pin_order=1),
    "unpin": ChatChanges(pin_order=0),
    "archive": ChatChanges(archived=True),
    "unarchive": ChatChanges(archived=False),
}


@_command
def remove(request: HttpRequest, chat_id: UUID, queued_id: int) -> None:
    """Take a message out of the queue."""
    delete_queued(acting(request), chat_id, lambda: queued_id)


@_command
def promote(request: HttpRequest, chat_id: UUID, queued_id: int) -> None:
    """Send a queued message now."""
    actor = acting(request)
    get_own_chat_for(actor.user, chat_id, may="promote queued messages")
    if queued_id not in {queued.pk for queued in list_queue(chat_id)}:
        raise conflict("That message is not waiting any more.")
    promote_queued(actor, chat_id, lambda: queued_id)
