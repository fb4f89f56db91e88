"""Keeping people's tokens fresh: who refreshes, that only one does, and what follows from failures.

An authorization server that gives a new refresh token with each answer takes a second use of the
old one for theft and ends the grant. So a refresh is claimed in the row first, by compare-and-set
and for a limited time, which holds across processes; no transaction is open while one waits. Others
wait for the outcome. After a failure nobody tries for a while, longer each time.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from random import SystemRandom
from uuid import UUID, uuid4

import structlog
from django.db.models import Q

from chatd.accounts.models import User
from chatd.core.clock import now
from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret, seal, secret_state
from chatd.core.threads import give_back_connections
from chatd.mcp.http import OAuthError, create_session, wait_for
from chatd.mcp.models import MCPServerConfig, MCPServerUserToken
from chatd.mcp.oauth import INVALID_GRANT, Client, Grant, client_of, refresh_grant

log = structlog.get_logger(__name__)

LEEWAY = timedelta(seconds=10)
"""A token that ends within this time is refreshed before it is used."""

REFRESH_SECONDS = 10.0
CLAIM_KEPT = timedelta(seconds=15)
POLL_SECONDS = 0.1

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 600.0

_random = SystemRandom()


def access_token_for(user: User, server: MCPServerConfig) -> str:
    """Return the token that a person's calls of a server carry; blank for none that is any good.

    One that ends within seconds is refreshed first; when that fails for now, the old one is
    returned. Waits for the network, up to `REFRESH_SECONDS`: call it outside of transactions, and
    in a thread where a loop runs (`asyncio.to_thread`).
    """
    if not server.uses_oauth:
        return ""
    for token in refreshed(stored_tokens(user.pk, [server.pk])):
        return opened(token)
    return ""


def stored_tokens(user_id: UUID, server_ids: Collection[UUID]) -> list[MCPServerUserToken]:
    """Return the tokens that a person has for servers, as they are."""
    return list(MCPServerUserToken.objects.filter(user=user_id, server__in=server_ids))


def opened(token: MCPServerUserToken) -> str:
    """Return what a request carries; blank for a token of which nobody can make any use."""
    if has_ended(token):
        return ""
    try:
        return open_secret(token.access_token)
    except UndecryptableError:
        log.warning("an MCP token cannot be read", token_id=str(token.pk))
        return ""


def renewed_after_refusal(user_id: UUID, server_id: UUID, refused: str) -> list[MCPServerUserToken]:
    """Return the token to try after a server has refused one that seemed to hold, if there is one.

    Somebody may have refreshed it meanwhile; otherwise it counts as expired and is refreshed. Waits
    for the network like `access_token_for`.
    """
    (*found,) = stored_tokens(user_id, [server_id])
    if not found or opened(found[0]) != refused:
        return found
    (token,) = found
    if not token.refresh_token:
        return []
    token.expiry = now()
    MCPServerUserToken.objects.filter(pk=token.pk, access_token=token.access_token).update(
        expiry=token.expiry
    )
    return [each for each in refreshed([token]) if opened(each) != refused]


def holds(token: MCPServerUserToken) -> bool:
    """True for a token that can be read and has not expired."""
    expired = token.expiry is not None and token.expiry <= now()
    return not expired and not secret_state(token.access_token).needs_reentry


def has_ended(token: MCPServerUserToken) -> bool:
    """True for one that nobody can make any use of: its person has to connect again."""
    unreadable = secret_state(token.access_token).needs_reentry
    return unreadable or (not holds(token) and not token.refresh_token)


def refreshed(tokens: Sequence[MCPServerUserToken]) -> list[MCPServerUserToken]:
    """Return tokens, those refreshed first that are about to end; those deleted meanwhile are gone.

    Without any that has to be refreshed there is no query. Never raises for what others do wrong.
    """
    due = {token.pk for token in tokens if is_due(token)}
    if not due:
        return list(tokens)
    claim = uuid4()
    mine = _claimed(due, claim)
    if mine:
        outcomes = wait_for(_ask(mine))
        for token, outcome in zip(mine, outcomes, strict=True):
            _store(token, outcome)
    _wait_for_others(due - {token.pk for token in mine})
    fresh = MCPServerUserToken.objects.in_bulk(due)
    found = [fresh.get(token.pk) if token.pk in due else token for token in tokens]
    return [token for token in found if token is not None]


def is_due(token: MCPServerUserToken) -> bool:
    """True for one that ends within `LEEWAY` and may be refreshed now."""
    at = now()
    ends = token.expiry is not None and token.expiry <= at + LEEWAY
    paused = token.refresh_not_before is not None and token.refresh_not_before > at
    return ends and bool(token.refresh_token) and not paused


def _due(at: datetime) -> Q:
    """Return the condition of `is_due`, which others may have changed since it was read."""
    may_try = Q(refresh_not_before=None) | Q(refresh_not_before__lte=at)
    return Q(expiry__lte=at + LEEWAY) & ~Q(refresh_token="") & may_try


def _claimed(ids: set[UUID], claim: UUID) -> list[MCPServerUserToken]:
    """Claim those that nobody else is refreshing, one at a time; return them with their servers."""
    at = now()
    free = Q(refreshing_until=None) | Q(refreshing_until__lt=at)
    for token_id in sorted(ids):
        MCPServerUserToken.objects.filter(_due(at), free, pk=token_id).update(
            refresh_claim=claim, refreshing_until=at + CLAIM_KEPT
        )
    claimed = MCPServerUserToken.objects.filter(pk__in=ids, refresh_claim=claim)
    return list(claimed.select_related("server"))


async def _ask(tokens: Sequence[MCPServerUserToken]) -> list[Grant | OAuthError]:
    """Refresh tokens side by side."""
    async with create_session(seconds=REFRESH_SECONDS) as session:

        async def ask(token: MCPServerUserToken) -> Grant | OAuthError:
            try:
                client, refresh_token = _credentials(token)
                async with asyncio.timeout(REFRESH_SECONDS):
                    return await refresh_grant(session, client, refresh_token)
            except OAuthError as error:
                return error
            except TimeoutError:
                return OAuthError("It did not answer in time.")

        return list(await asyncio.gather(*(ask(token) for token in tokens)))


def _credentials(token: MCPServerUserToken) -> tuple[Client, str]:
    try:
        return client_of(token.server), open_secret(token.refresh_token)
    except UndecryptableError:
        raise OAuthError("The refresh token cannot be read any more.") from None


def _store(token: MCPServerUserToken, outcome: Grant | OAuthError) -> None:
    """Write what came of a refresh, unless the claim was lost or the person connected anew."""
    changed: dict[str, object] = {"refresh_claim": None, "refreshing_until": None}
    match outcome:
        case Grant():
            changed |= grant_columns(outcome)
            if not outcome.refresh_token:
                changed.pop("refresh_token")
        case OAuthError(code="invalid_grant"):
            changed["refresh_token"] = ""
        case OAuthError():
            failures = token.refresh_failures + 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10), LONGEST_PAUSE_SECONDS)
            changed["refresh_failures"] = failures
            # people who connected together should not come back together
            changed["refresh_not_before"] = now() + timedelta(
                seconds=pause * _random.uniform(0.8, 1.2)
            )
    rows = MCPServerUserToken.objects.filter(pk=token.pk, refresh_claim=token.refresh_claim)
    kept = rows.update(**changed)
    if isinstance(outcome, OAuthError):
        log.warning(
            "an MCP token was not refreshed",
            token_id=str(token.pk),
            server_id=str(token.server_id),
            reason=outcome.message,
            ended=outcome.code == INVALID_GRANT,
        )
    elif not kept:
        log.warning("a refreshed MCP token came too late", token_id=str(token.pk))


def grant_columns(grant: Grant) -> dict[str, object]:
    """Return the columns of a token row as a fresh grant fills them. Raises ChatdError 503."""
    return {
        "access_token": seal(grant.access_token),
        "refresh_token": seal(grant.refresh_token),
        "token_type": grant.token_type,
        "expiry": grant.expiry,
        "refresh_failures": 0,
        "refresh_not_before": None,
        "updated_at": now(),
    }


def _wait_for_others(ids: set[UUID]) -> None:
    """Wait until nobody is refreshing any of these, for as long as a refresh may take."""
    deadline = time.monotonic() + REFRESH_SECONDS
    waiting = MCPServerUserToken.objects.filter(pk__in=ids)
    while ids and waiting.filter(refreshing_until__gt=now()).exists():
        if time.monotonic() >= deadline:
            return
        give_back_connections()
        time.sleep(POLL_SECONDS)
