"""API tokens: their text form, and checking one that was presented.

A token is `<10 characters>-<22 characters>`: the id of the row and a secret of 128 bits and more.
It is shown once, when it is made.
"""

import re
import secrets
import string
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from django.db.models import CharField

from chatd.accounts.models import APIKey, User
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode
from chatd.core.statements import Parameter, Select

_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(r"([A-Za-z0-9]{10})-([A-Za-z0-9]{22})")
_USED_RESOLUTION = timedelta(minutes=1)

_KEY = Select(
    lambda: APIKey.objects.select_related("user").filter(pk=Parameter("key_id", CharField()))[:1]
)

SIGNED_OUT = "You are signed out or your session has expired. Please sign in again to continue."


@dataclass(frozen=True, slots=True)
class NewToken:
    """The parts of a fresh token; `text` is what the caller shows once."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        return f"{self.id}-{self.secret}"

    def __repr__(self) -> str:
        return f"NewToken(id={self.id!r})"


def generate_token() -> NewToken:
    return NewToken(_random(10), _random(22))


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def hash_secret(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def unauthenticated(detail: str) -> ChatdError:
    """Return the 401 of every route; `detail` names the reason."""
    return ChatdError(ErrorCode.UNAUTHENTICATED, SIGNED_OUT, detail=detail)


def authenticate_token(text: str) -> APIKey:
    """Return the live key for `text`, with its user, whose rights its scopes narrow.

    Raises the 401 that names the reason.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise unauthenticated("Session token has an invalid format.")
    key_id, secret = match.groups()
    key = _KEY.first(key_id=key_id)
    if key is None:
        raise unauthenticated("API key is invalid.")
    if not secrets.compare_digest(key.hashed_secret, hash_secret(secret)):
        raise unauthenticated("API key secret is invalid.")
    if key.expires_at <= now():
        raise unauthenticated(f"API key expired at {key.expires_at.isoformat()}.")
    if not key.user.is_active:
        raise unauthenticated("The account is suspended or deleted.")
    key.user.scopes = frozenset(key.scopes)
    _note_use(key)
    return key


def _note_use(key: APIKey) -> None:
    """Record the use to the minute: a write per request would cost more than it says."""
    instant = now()
    if key.last_used is None or instant - key.last_used > _USED_RESOLUTION:
        APIKey.objects.filter(pk=key.pk).update(last_used=instant)
        User.objects.filter(pk=key.user_id).update(last_seen_at=instant)
