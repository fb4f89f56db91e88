"""The pages that are read, and the one that starts a chat."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chatd.accounts.actor import Actor, acting
from chatd.accounts.models import User
from chatd.accounts.oidc.provider import single_sign_on
from chatd.accounts.sign_in import note_sign_in, sign_out
from chatd.chats.actions import NewChat, create_chat, mark_read
from chatd.chats.digests import dismiss_digest
from chatd.core.errors import ChatdError, forbidden, not_found
from chatd.web.forms import SignInForm, Titling, posted_message
from chatd.web.presentation import LIST_STATUS_LABELS, STATUS_LABELS
from chatd.web.selectors import (
    ChatPage,
    get_chat_list_page,
    get_chat_page,
    get_home_organization,
    get_message_view,
    get_page_of_message,
)

NO_ORGANIZATION = "You are not a member of any organisation, so you cannot start a chat."


class SignInView(LoginView):
    template_name = "web/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"single_sign_on": single_sign_on()}

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        assert isinstance(user, User)
        note_sign_in(user)
        return super().form_valid(form)


class SignOutView(LogoutView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        user = request.user
        response = super().post(request, *args, **kwargs)
        if isinstance(user, User):
            sign_out(Actor(user))
        return response


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return redirect("chats")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def chats(request: HttpRequest) -> HttpResponse:
    """List the user's chats (GET) or start one (POST).

    `?q=` lists what a search finds, `?archived` those put away.
    """
    if request.method != "POST":
        return _render_list(request, search=request.GET.get("q", "").strip())
    try:
        chat = create_chat(acting(request), _new_chat(request)).chat
    except ChatdError as error:
        return _render_list(request, error=error)
    return redirect("chat", chat_id=chat.pk)


@require_POST
@login_required
def dismiss(request: HttpRequest, digest_id: int) -> HttpResponse:
    """Take away what was told of archived chats."""
    dismiss_digest(acting(request), digest_id)
    return redirect("chats")


@require_safe
@login_required
def chat(request: HttpRequest, chat_id: UUID) -> HttpResponse:
    """Show one chat; `?before=` pages back, `?at=` leads to the page that shows a message.

    `?again` takes the last message up once more.
    """
    actor = acting(request)
    before_id = _message_id(request, "before")
    if at := _message_id(request, "at"):
        before_id = get_page_of_message(actor.user, chat_id, at)
    page = get_chat_page(actor.user, chat_id, before_id=before_id)
    if page.newest_answer_id > (page.chat.last_read_message_id or 0):
        mark_read(actor, page.chat)
    draft = page.last_user_text if "again" in request.GET and page.can_send else ""
    return render_chat(request, page, draft=draft)


@require_safe
@login_required
def message(request: HttpRequest, chat_id: UUID, message_id: int) -> HttpResponse:
    """Show one stored message as a fragment, for pages that are open already."""
    view = get_message_view(acting(request).user, chat_id, message_id)
    return render(request, "web/_message.html", {"message": view, "chat": {"pk": chat_id}})


def render_chat(
    request: HttpRequest,
    page: ChatPage,
    *,
    draft: str = "",
    refusal: ChatdError | None = None,
    titling: Titling | None = None,
) -> HttpResponse:
    """Return the page of a chat; after a refused form, with the reason and the text as typed.

    `titling` opens the form of the title.
    """
    context = {
        "page": page,
        "chat": page.chat,
        "draft": draft,
        "refusal": refusal,
        "titling": titling,
        "status_label": STATUS_LABELS[page.chat.status],
        "status_labels": STATUS_LABELS,
        # A page that reloads itself would take away what is being typed.
        "refreshes": page.is_busy
        and page.is_newest
        and not (draft or titling)
        and "hold" not in request.GET,
    }
    refusal = refusal or (titling.refusal if titling else None)
    status = refusal.http_status if refusal else 200
    return render(request, "web/chat.html", context, status=status)


def _render_list(
    request: HttpRequest, *, search: str = "", error: ChatdError | None = None
) -> HttpResponse:
    user, after_id = acting(request).user, _after(request)
    try:
        page = get_chat_list_page(
            user, search=search, archived="archived" in request.GET, after_id=after_id
        )
    except ChatdError as refused:
        page, error = get_chat_list_page(user), refused
    context = {
        "page": page,
        "search": search,
        "refusal": error,
        "draft": request.POST.get("text", ""),
        "status_labels": LIST_STATUS_LABELS,
    }
    return render(request, "web/chats.html", context, status=error.http_status if error else 200)


def _new_chat(request: HttpRequest) -> NewChat:
    organization = get_home_organization(acting(request).user)
    if organization is None:
        raise forbidden(NO_ORGANIZATION, detail="Ask an administrator to add you to one.")
    posted = posted_message(request)
    return NewChat(
        organization_id=organization.pk,
        content=posted.content,
        model_config_id=posted.model_config_id,
        client_type="ui",
    )


def _after(request: HttpRequest) -> UUID | None:
    raw = request.GET.get("after", "")
    try:
        return UUID(raw) if raw else None
    except ValueError:
        raise not_found() from None


def _message_id(request: HttpRequest, name: str) -> int:
    raw = request.GET.get(name, "0")
    if not (raw.isascii() and raw.isdigit()):
        raise not_found()
    return int(raw[:20])
