"""Signing in with a password, and out again."""

from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest

from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actions import create_session
from chatd.accounts.actor import Actor
from chatd.accounts.api_keys import end_key
from chatd.accounts.models import User, UserStatus
from chatd.accounts.users import user_resource
from chatd.audit.actions import Author, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode

WRONG = "Incorrect email or password."
SUSPENDED = "Your account is suspended. Contact an administrator to reactivate it."


def sign_in(request: HttpRequest, *, email: str, password: str) -> str:
    """Return the text of a new session token. `email` may be a user name.

    Raises ChatdError 401, after about the same time whether there is such an account; only who
    knows the password is told that it is suspended.
    """
    user = authenticate(request, username=email, password=password, suspended=True)
    if not isinstance(user, User):
        raise ChatdError(ErrorCode.UNAUTHENTICATED, WRONG)
    author = Author(user.pk, user.username)
    if user.status == UserStatus.SUSPENDED:
        record(author, Action.LOGIN, user_resource(user), refused=SUSPENDED)
        raise ChatdError(ErrorCode.UNAUTHENTICATED, SUSPENDED)
    with transaction.atomic():
        _, text = create_session(user)
        note_sign_in(user)
    return text


@transaction.atomic
def note_sign_in(user: User) -> None:
    """Wake a dormant person, and leave an entry in the audit log."""
    before = {"status": str(user.status)}
    people = User.objects.filter(pk=user.pk)
    if people.filter(status=UserStatus.DORMANT).update(status=UserStatus.ACTIVE):
        user.status = UserStatus.ACTIVE
    people.update(last_seen_at=now())
    record(
        Author(user.pk, user.username),
        Action.LOGIN,
        user_resource(user),
        before=before,
        after={"status": str(user.status)},
    )


def sign_out(actor: Actor) -> None:
    """End the key that was used. A session of the pages has ended before this is called."""
    if actor.api_key is not None:
        end_key(actor, actor.api_key, Action.LOGOUT)
    else:
        record(actor.author, Action.LOGOUT, user_resource(actor.user))
        tell_sockets_of([actor.user.pk])
