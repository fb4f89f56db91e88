"""Writing the audit log. An entry is written in the transaction of the change it tells of."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from chatd.audit.models import Action, AuditEntry
from chatd.core.clock import now, rfc3339
from chatd.core.context import client_address, correlation_id
from chatd.core.errors import ChatdError

MAX_TEXT = 4096
"""Of one value in an entry, in characters; a longer one is cut with a note of its length."""

_SECRET_WORDS = ("password", "secret", "api_key", "access_key", "token", "custom_headers")
_NO_SECRETS = ("_url", "_header")
"""Ends of names that only sound like a secret, as `oauth2_token_url` and `api_key_header`."""
_MASK = "•••"


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change. No id: the deployment itself, `name` says which part."""

    id: UUID | None
    name: str
    api_key_id: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """What was changed: `type` as in `chat`, its id, and its name at the time."""

    type: str
    id: str
    name: str = ""
    organization_id: UUID | None = None


def record(
    author: Author,
    action: Action,
    resource: Resource,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    refused: str = "",
) -> AuditEntry | None:
    """Write an entry with what differs between `before` and `after`.

    A change that changed nothing leaves no entry, a refused one always does.
    """
    changes = _differences(before or {}, after or {})
    if action is Action.WRITE and not changes and not refused:
        return None
    return AuditEntry.objects.create(
        actor_id=author.id,
        actor_name=author.name,
        api_key_id=author.api_key_id,
        address=client_address(),
        correlation_id=correlation_id(),
        action=action,
        resource_type=resource.type,
        resource_id=resource.id,
        resource_name=resource.name[:256],
        organization_id=resource.organization_id,
        refused=refused,
        changes=changes,
    )


@contextmanager
def audited(
    author: Author,
    resource: Resource,
    read: Callable[[], Mapping[str, Any]],
    *,
    action: Action = Action.WRITE,
) -> Iterator[None]:
    """Carry out a change and its entry in one transaction; a refusal is recorded after it.

    `read` returns the fields that count, and is called before and after the change.
    """
    with refusals_recorded(author, resource, action), transaction.atomic():
        before = read()
        yield
        record(author, action, resource, before=before, after=read())


@contextmanager
def refusals_recorded(
    author: Author, resource: Resource, action: Action = Action.WRITE
) -> Iterator[None]:
    """Record a change that is refused inside, after what was undone."""
    try:
        yield
    except ChatdError as error:
        record(author, action, resource, refused=error.message)
        raise


def purge_entries(days: int) -> int:
    """Delete entries older than so many days; 0 keeps them for ever."""
    if not days:
        return 0
    deleted, _ = AuditEntry.objects.filter(at__lt=now() - timedelta(days=days)).delete()
    return deleted


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            changes[name] = {"old": _shown(name, old), "new": _shown(name, new)}
    return changes


def _shown(name: str, value: Any) -> Any:
    """Return a value as JSON, secrets masked by the name of their field."""
    if value is None or value == "":
        return value
    if _is_secret(name) and not isinstance(value, bool | int):
        return _MASK
    match value:
        case bool() | int() | float():
            return value
        case datetime():
            return rfc3339(value)
        case str():
            return _cut(value)
        case Mapping():
            return {str(key): _shown(str(key), item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            return [_shown(name, item) for item in items]
        case UUID() | Decimal() | date():
            return str(value)
    return _cut(str(value))


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return not lower.endswith(_NO_SECRETS) and any(word in lower for word in _SECRET_WORDS)


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}… ({len(text)} characters)"
