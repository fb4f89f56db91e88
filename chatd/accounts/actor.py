"""Who acts: the first argument of every action."""

from dataclasses import dataclass

from django.http import HttpRequest

from chatd.accounts.models import APIKey, User
from chatd.audit.actions import Author


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, and the API token they act with (None from the pages)."""

    user: User
    api_key: APIKey | None = None

    @property
    def api_key_id(self) -> str | None:
        return self.api_key.pk if self.api_key else None

    @property
    def author(self) -> Author:
        """The actor as the audit log names them."""
        return Author(self.user.pk, self.user.username, self.api_key_id or "")


def acting(request: HttpRequest) -> Actor:
    """Return who acts on a page that requires a login."""
    assert isinstance(request.user, User)
    return Actor(request.user)
