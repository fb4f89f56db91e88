"""The work in progress: its correlation id (of a request or a turn), and where it came from."""

import secrets
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address

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


_client_address: ContextVar[str | None] = ContextVar("client_address", default=None)


def bind_client_address(raw: str) -> None:
    """Remember the address that the request at hand came from; what is none is forgotten."""
    _client_address.set(None)
    with suppress(ValueError):
        _client_address.set(str(ip_address(raw)))


def client_address() -> str | None:
    """Return the address of the caller; None for work that nobody asked for over HTTP."""
    return _client_address.get()
