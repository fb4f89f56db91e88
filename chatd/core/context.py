"""The correlation id of the work in progress: one request, or one turn."""

import secrets

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
