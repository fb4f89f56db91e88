"""The page on which a message of one's own is written anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chatd.accounts.actor import acting
from chatd.accounts.models import User
from chatd.chats.actions import NewMessageRequest, edit_message
from chatd.chats.content import InputPart
from chatd.chats.models import Chat, Role
from chatd.chats.selectors import get_own_chat_for, visible_messages
from chatd.core.errors import ChatdError, ErrorCode, bad_request, not_found
from chatd.web.forms import posted_text
from chatd.web.presentation import shown_text
from chatd.web.selectors import get_visible_message


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPage:
    """A message to be written anew: its text, the files it keeps, how many messages follow it."""

    chat: Chat
    message_id: int
    text: str
    attachments: Sequence[InputPart]
    names: Sequence[str]
    following: int


def get_edit_page(user: User, chat_id: UUID, message_id: int) -> EditPage:
    """Return a message of one's own for its page. Raises ChatdError 403, 404."""
    chat = get_own_chat_for(user, chat_id, may="edit messages")
    message = get_visible_message(chat, message_id)
    if message.role != Role.USER:
        raise not_found()
    kept = [part for part in message.content or [] if part.get("type") != "text"]
    return EditPage(
        chat=chat,
        message_id=message.pk,
        text="\n\n".join(
            str(part["text"]) for part in message.content or [] if part.get("type") == "text"
        ),
        attachments=[_as_sent(part) for part in kept],
        names=[shown_text([part]) for part in kept],
        following=visible_messages(chat_id).filter(pk__gt=message.pk).count(),
    )


def _as_sent(part: dict[str, Any]) -> InputPart:
    """Return a stored part as the client sent it."""
    file_id = part.get("file_id")
    return InputPart(
        type=str(part["type"]),
        file_id=UUID(str(file_id)) if file_id else None,
        file_name=part.get("file_name"),
        start_line=part.get("start_line"),
        end_line=part.get("end_line"),
        content=part.get("content"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit(request: HttpRequest, chat_id: UUID, message_id: int) -> HttpResponse:
    """Show the message in a box (GET), or replace it and all that follows it (POST)."""
    page = get_edit_page(acting(request).user, chat_id, message_id)
    if request.method != "POST":
        return _render(request, page, page.text)
    text = posted_text(request)
    wanted = NewMessageRequest(content=_content(page, text))
    try:
        if not wanted.content:
            raise bad_request("Write a message first.")
        edit_message(acting(request), chat_id, lambda: message_id, lambda: wanted)
    except ChatdError as error:
        if error.code is ErrorCode.NOT_FOUND:
            raise
        return _render(request, page, text, refusal=error)
    return redirect(reverse("chat", args=[chat_id]) + "#latest")


def _content(page: EditPage, text: str) -> list[InputPart]:
    """Return the new text with the files of the message as it was."""
    written = [InputPart(type="text", text=text)] if text.strip() else []
    return written + list(page.attachments)


def _render(
    request: HttpRequest, page: EditPage, text: str, *, refusal: ChatdError | None = None
) -> HttpResponse:
    context = {"page": page, "chat": page.chat, "draft": text, "refusal": refusal}
    status = refusal.http_status if refusal else 200
    return render(request, "web/edit.html", context, status=status)
