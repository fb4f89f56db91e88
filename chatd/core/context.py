"""The work in progress: its correlation id (of a request or a turn), and where it came from."""

import secrets
from collections import OrderedDict
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from uuid import UUID

import structlog


def bind_correlation(**values: str) -> None:
    """Start a new unit of work: drop what was bound before and bind `values` with a fresh id."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        correlation_id=values.pop("correlation_id", "") or secrets.token_hex(8), **values
    )


def correlation_id() -> str:
    """Return the bound correlation id, or an empty text."""
    return str(structlog.contextvars.get_contextvars().get("correlation_id", ""))


@dataclass(frozen=True, slots=True)
class Cause:
    """The work that made a chat pending: its correlation id, and its place in a trace."""

    correlation_id: str = ""
    traceparent: str = ""


_NO_CAUSE = Cause()
_causes: OrderedDict[UUID, Cause] = OrderedDict()
_CAUSES_KEPT = 10_000


def remember_cause(chat_id: UUID, cause: Cause) -> None:
    """Keep what made a chat pending, for the turn that begins."""
    if cause != _NO_CAUSE:
        _causes[chat_id] = cause
        _causes.move_to_end(chat_id)
        while len(_causes) > _CAUSES_KEPT:
            _causes.popitem(last=False)


def take_cause(chat_id: UUID) -> Cause:
    """Return and forget what `remember_cause` kept; blank when this process was told nothing."""
    return _causes.pop(chat_id, _NO_CAUSE)


_client_address: ContextVar[str | None] = ContextVar("client_address", default=None)


def bind_client_address(raw: str) -> None:
    """Remember the address that the request at hand came from; what is none is forgotten."""
    _client_address.set(None)
    with suppress(ValueError):
        _client_address.set(str(ip_address(raw)))


def client_address() -> str | None:
    """Return the address of the caller; None for work that nobody asked for over HTTP."""
    return _client_address.get()
