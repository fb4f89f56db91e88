"""The page that says who can open a chat, and shares it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from chatd.accounts.actor import Actor, acting
from chatd.accounts.models import Group, User
from chatd.accounts.selectors import find_live_user, list_groups_of
from chatd.chats.models import Chat
from chatd.chats.selectors import chat_rights, get_chat_for
from chatd.chats.sharing import AclChanges, get_acl, update_acl
from chatd.core.errors import ChatdError, ErrorCode, bad_request
from chatd.web.selectors import can_share


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingPage:
    """Who can open a chat: readers by name, and the groups that could be added."""

    chat: Chat
    is_own: bool
    can_share: bool
    users: Sequence[User]
    groups: Sequence[Group]
    member_counts: Mapping[UUID, int]
    other_groups: Sequence[Group]

    @property
    def is_private(self) -> bool:
        return not self.users and not self.groups


def get_sharing_page(actor: Actor, chat_id: UUID) -> SharingPage:
    """Return who can open a root chat. Raises ChatdError 400, 403 (switched off), 404."""
    acl = get_acl(actor, chat_id)
    chat = get_chat_for(actor.user, chat_id)
    shared = [group for group, role in acl.groups if role]
    known = {group.pk for group in shared}
    return SharingPage(
        chat=chat,
        is_own=chat.owner_id == actor.user.pk,
        can_share=can_share(chat, chat_rights(actor.user, chat)),
        users=[user for user, role in acl.users if role],
        groups=shared,
        member_counts=acl.member_counts,
        other_groups=[
            group for group in list_groups_of(chat.organization_id) if group.pk not in known
        ],
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def share(request: HttpRequest, chat_id: UUID) -> HttpResponse:
    """Show who can open the chat (GET), or let somebody read it or no longer (POST)."""
    if request.method != "POST":
        return _render(request, chat_id)
    try:
        update_acl(acting(request), chat_id, lambda: _changes(request))
    except ChatdError as error:
        if error.code is ErrorCode.NOT_FOUND:
            raise
        return _render(request, chat_id, refusal=error)
    return redirect("share", chat_id=chat_id)


def _changes(request: HttpRequest) -> AclChanges:
    """Return what one of the forms asks for: a person or a group, to come or to go."""
    posted = request.POST
    role = "" if "remove" in posted else "read"
    if group_id := posted.get("group", ""):
        return AclChanges(group_roles={group_id: role})
    if user_id := posted.get("user", ""):
        return AclChanges(user_roles={user_id: role})
    name = posted.get("person", "").strip()
    person = find_live_user(name) if name else None
    if person is None:
        raise bad_request(
            "There is nobody with this name.",
            detail="Type the user name or the e-mail address of the person, as they sign in.",
        )
    return AclChanges(user_roles={str(person.pk): role})


def _render(
    request: HttpRequest, chat_id: UUID, *, refusal: ChatdError | None = None
) -> HttpResponse:
    page = get_sharing_page(acting(request), chat_id)
    context = {
        "page": page,
        "chat": page.chat,
        "refusal": refusal,
        "typed": request.POST.get("person", ""),
    }
    status = refusal.http_status if refusal else 200
    return render(request, "web/share.html", context, status=status)
