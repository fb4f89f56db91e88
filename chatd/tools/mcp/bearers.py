"""Tokens of people for the requests of a turn: fresh, and read as rarely as may be."""

import asyncio
import time
from typing import Protocol
from uuid import UUID

import structlog
from django.db import DatabaseError

from chatd.accounts.models import User
from chatd.accounts.oidc.tokens import oidc_token_for
from chatd.core.threads import in_database_thread, in_patient_thread
from chatd.mcp.models import MCPServerUserToken
from chatd.mcp.refreshing import (
    REFRESH_SECONDS,
    is_due,
    opened,
    refreshed,
    renewed_after_refusal,
    stored_tokens,
)

log = structlog.get_logger(__name__)

REREAD_SECONDS = 30.0
"""So long a token is used without asking whether its person has taken it away."""

OIDC_REREAD_SECONDS = 5.0
"""Less than the time by which the token of an identity provider is renewed early."""


class Bearer(Protocol):
    """Gives the token of a request; blank is none, and the request carries no header."""

    async def token(self) -> str: ...

    async def instead_of(self, refused: str) -> str:
        """Return another token than the one a server has refused; blank when there is none."""
        ...


class OAuthBearer:
    """The token that somebody has for one server. Refreshes are one at a time, in all processes."""

    def __init__(self, user_id: UUID, server_id: UUID, token: MCPServerUserToken | None) -> None:
        self._user_id = user_id
        self._server_id = server_id
        self._token = token
        self._read_at = time.monotonic()
        self._given_instead = ""
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        async with self._lock:
            if time.monotonic() - self._read_at > REREAD_SECONDS:
                await self._reread()
            if self._token is not None and is_due(self._token):
                await self._refresh(self._token)
            return opened(self._token) if self._token else ""

    async def instead_of(self, refused: str) -> str:
        async with self._lock:
            current = opened(self._token) if self._token else ""
            if current != refused:
                return current  # another request was refused before
            if refused and refused == self._given_instead:
                return ""  # a server that refuses fresh tokens too is not helped by more
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    found = await in_patient_thread(
                        renewed_after_refusal, self._user_id, self._server_id, refused
                    )
            except (TimeoutError, DatabaseError) as error:
                self._log(error)
                return ""
            if not found:
                return ""
            self._token, self._read_at = found[0], time.monotonic()
            self._given_instead = opened(found[0])
            return self._given_instead

    async def _reread(self) -> None:
        try:
            found = await in_database_thread(stored_tokens, self._user_id, [self._server_id])
        except DatabaseError as error:
            self._log(error)
        else:
            self._token, self._read_at = (found[0] if found else None), time.monotonic()

    async def _refresh(self, token: MCPServerUserToken) -> None:
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                found = await in_patient_thread(refreshed, [token])
        except (TimeoutError, DatabaseError) as error:
            self._log(error)  # the old one is tried
        else:
            self._token, self._read_at = (found[0] if found else None), time.monotonic()

    def _log(self, error: Exception) -> None:
        reason = type(error).__name__
        log.warning("an MCP token was not read", server_id=str(self._server_id), reason=reason)


class OIDCBearer:
    """The token that somebody signed in with, for all servers of a turn that take it."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._token = ""
        self._good_until = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        async with self._lock:
            if time.monotonic() >= self._good_until:
                await self._read()
            return self._token

    async def instead_of(self, refused: str) -> str:
        async with self._lock:
            if self._token == refused:
                await self._read()
            return self._token if self._token != refused else ""

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                found = await in_patient_thread(oidc_token_for, self._user)
        except (TimeoutError, DatabaseError) as error:
            log.warning(
                "a token of the identity provider was not read", reason=type(error).__name__
            )
        else:
            self._token = found or ""
        self._good_until = time.monotonic() + OIDC_REREAD_SECONDS
