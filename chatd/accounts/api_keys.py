"""API tokens: made by oneself, for oneself; ended by oneself or an administrator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction

from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actions import MAX_TOKEN_NAME, create_token
from chatd.accounts.actor import Actor
from chatd.accounts.models import APIKey, User
from chatd.accounts.policy import SCOPES, SiteRight, scope_allows
from chatd.accounts.selectors import get_user_for
from chatd.accounts.validation import Findings
from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.errors import bad_request, forbidden, not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A request for a token. None is the longest lifetime; no scopes are everything."""

    name: str = ""
    lifetime: timedelta | None = None
    scopes: Sequence[str] = ()


def create_own_token(actor: Actor, who: str, request: Callable[[], NewToken]) -> str:
    """Create a token of the actor and return its text, which is never shown again.

    With a token that is limited, no other than one as limited can be made.
    Raises ChatdError 400, 403, 404, 409.
    """
    person = get_user_for(actor.user, who, SiteRight.PERSONAL)
    if person.pk != actor.user.pk:
        raise forbidden(detail="Tokens are made by the person they are for.")
    wanted = request()
    _check(wanted)
    _check_within(actor, wanted.scopes)
    return issue_token(
        actor.author,
        user=person,
        name=wanted.name,
        lifetime=wanted.lifetime,
        scopes=wanted.scopes,
    )


@transaction.atomic
def issue_token(
    author: Author,
    *,
    user: User,
    name: str = "",
    lifetime: timedelta | None = None,
    scopes: Sequence[str] = (),
) -> str:
    """Create a token with its entry in the audit log; return its text. Raises ChatdError 400, 409.

    Nobody's rights are asked.
    """
    key, text = create_token(user=user, name=name, lifetime=lifetime, scopes=scopes)
    record(author, Action.CREATE, key_resource(key), after=key_fields(key))
    return text


def delete_key(actor: Actor, who: str, key_id: str) -> None:
    """End a token or a session. Raises ChatdError 403, 404."""
    person = get_user_for(actor.user, who, SiteRight.PERSONAL)
    key = APIKey.objects.filter(pk=key_id, user=person).first() if "\x00" not in key_id else None
    if key is None:
        raise not_found()
    end_key(actor, key)


@transaction.atomic
def delete_keys_of(actor: Actor, who: str) -> int:
    """End every token of a person, and what they signed in by API; return how many those were.

    Each has an entry of its own in the audit log. Raises ChatdError 403, 404.
    """
    person = get_user_for(actor.user, who, SiteRight.PERSONAL)
    keys = list(APIKey.objects.filter(user=person).order_by("created_at", "id"))
    for key in keys:
        end_key(actor, key)
    return len(keys)


@transaction.atomic
def end_key(actor: Actor, key: APIKey, action: Action = Action.DELETE) -> None:
    """Delete a key: no request is accepted with it any more, and its sockets are closed."""
    APIKey.objects.filter(pk=key.pk).delete()
    record(actor.author, action, key_resource(key), before=key_fields(key))
    tell_sockets_of([key.user_id])


def key_resource(key: APIKey) -> Resource:
    """Return a key as the audit log names it."""
    return Resource("api_key", key.pk, key.token_name)


def key_fields(key: APIKey) -> dict[str, Any]:
    return {
        "user": key.user_id,
        "kind": str(key.login_type),
        "scopes": list(key.scopes),
        "expires_at": key.expires_at,
    }


def _check(wanted: NewToken) -> None:
    findings = Findings()
    findings.text("token_name", wanted.name, most=MAX_TOKEN_NAME)
    findings.each_of("scopes", wanted.scopes, SCOPES)
    findings.check()


def _check_within(actor: Actor, scopes: Sequence[str]) -> None:
    held = actor.user.scopes
    if held and not scopes:
        raise bad_request(
            "A token of limited scopes can only make tokens of limited scopes.",
            detail=f"Ask for some of: {', '.join(sorted(held))}.",
        )
    beyond = [scope for scope in scopes if not scope_allows(held, scope)]
    if beyond:
        raise forbidden(detail=f"Your own token has not the scopes: {', '.join(beyond)}.")
