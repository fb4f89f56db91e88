"""The form that names a chat: by hand, or with the title that a model suggests.

A suggestion is shown in the form and stored by nothing but saving it.
"""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from chatd.accounts.actor import acting
from chatd.chats.properties import ChatChanges, update_chat
from chatd.core.errors import ChatdError, ErrorCode
from chatd.turns.titles import proposing_title
from chatd.web.forms import Titling
from chatd.web.selectors import get_chat_page
from chatd.web.views import render_chat

SUGGESTED = "This is only a suggestion. Change it as you like, then save it."
SAME = "The model suggests the title that the chat has."
NOTHING_TO_NAME = "There is nothing to name yet. Write a message first."


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rename(request: HttpRequest, chat_id: UUID) -> HttpResponse:
    """Give the chat the title that was typed. A GET, as after signing in again, leads to it."""
    if request.method == "POST":
        text = request.POST.get("title", "")
        try:
            update_chat(acting(request), chat_id, lambda: ChatChanges(title=text))
        except ChatdError as error:
            return _refused(request, chat_id, text, error)
    return redirect("chat", chat_id=chat_id)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def suggest(request: HttpRequest, chat_id: UUID) -> HttpResponse:
    """Show the chat with a suggested title in the box."""
    if request.method != "POST":
        return redirect("chat", chat_id=chat_id)
    text = request.POST.get("title", "")
    try:
        with proposing_title(acting(request), chat_id) as store:
            suggested = store()
    except ChatdError as error:
        return _refused(request, chat_id, text, error)
    page = get_chat_page(acting(request).user, chat_id)
    hint = SAME if suggested == page.chat.title else SUGGESTED
    if not suggested:
        suggested, hint = text, NOTHING_TO_NAME
    return render_chat(request, page, titling=Titling(text=suggested, hint=hint))


def _refused(request: HttpRequest, chat_id: UUID, text: str, error: ChatdError) -> HttpResponse:
    if error.code is ErrorCode.NOT_FOUND:
        raise error
    page = get_chat_page(acting(request).user, chat_id)
    return render_chat(request, page, titling=Titling(text=text, refusal=error))
