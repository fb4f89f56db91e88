"""The open sockets of this process: for closing them at shutdown and for healing.

Healing: every few seconds one query compares the versions of all followed chats. A feed that was
behind in two rounds has lost a doorbell and is told to resynchronise. So is one whose running step
showed nothing new since the last round: the entries may be in the log, unheard. As often, sockets
whose token or person is not good any more are told to look at their access again.
"""

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from chatd.accounts.selectors import active_user_ids, live_key_ids
from chatd.chats.models import Chat
from chatd.core.metrics import count_subscriber
from chatd.core.outages import DATABASE_AWAY, report_outage
from chatd.core.threads import in_database_thread
from config.env import env

if TYPE_CHECKING:
    from chatd.sockets.consumer import OneWaySocket

log = structlog.get_logger(__name__)

PEEK = object()
"""An item that has a stream look into the part log."""

_open: set["OneWaySocket"] = set()
_healer: asyncio.Task[None] | None = None
_guardian: asyncio.Task[None] | None = None

_MAX_IDS = 500
_CLOSE_SECONDS = 2.0


def add(socket: "OneWaySocket") -> None:
    """Register an accepted socket; the first one starts what looks after the sockets of a loop."""
    global _healer, _guardian
    if _follows_chat(socket) and socket not in _open:
        count_subscriber(1)
    _open.add(socket)
    loop = asyncio.get_running_loop()
    if _healer is None or _healer.done():
        _healer = loop.create_task(_heal())
    if _guardian is None or _guardian.done():
        _guardian = loop.create_task(_guard())


def discard(socket: "OneWaySocket") -> None:
    """Forget a socket that has ended; it may never have been accepted."""
    if _follows_chat(socket) and socket in _open:
        count_subscriber(-1)
    _open.discard(socket)


def is_full() -> bool:
    """Tell whether this process follows as many clients as it may (`CHATD_MAX_SOCKETS`)."""
    return len(_open) >= env.max_sockets


def _follows_chat(socket: "OneWaySocket") -> bool:
    return getattr(socket, "feed", None) is not None


async def close_all(code: int, reason: str) -> None:
    """Close every open socket with a close frame (shutdown).

    A peer that reads nothing cannot be told and must not hold up the others.
    """
    closing = [asyncio.create_task(socket.close(code, reason)) for socket in _open]
    if closing:
        _, stuck = await asyncio.wait(closing, timeout=_CLOSE_SECONDS)
        for task in stuck:
            task.cancel()


async def _heal() -> None:
    """Compare versions until no socket is open."""
    seen: dict[UUID, int] = {}
    progress: dict[int, Any] = {}
    while _open:
        await asyncio.sleep(env.heal_seconds)
        feeds: list[Any] = [socket for socket in _open if getattr(socket, "feed", None)]
        if not feeds:
            continue
        try:
            current = await in_database_thread(
                _versions, list({socket.feed.chat_id for socket in feeds})
            )
        except DATABASE_AWAY as error:
            report_outage(error, during="healing sockets")
            continue
        except Exception:
            log.exception("healing round failed")
            continue
        for socket in feeds:
            behind = socket.feed.version < seen.get(socket.feed.chat_id, 0)
            shown = socket.feed.progress
            stalled = shown is not None and shown == progress.get(id(socket))
            if behind:
                socket.request_resync()
            elif stalled:
                socket.deliver(PEEK)
        seen = current
        progress = {id(socket): socket.feed.progress for socket in feeds}


async def _guard() -> None:
    """Compare tokens and people until no socket is open: a doorbell may have been lost."""
    while _open:
        await asyncio.sleep(env.heal_seconds)
        actors = {socket: socket.actor for socket in _open}
        key_ids = list({actor.api_key_id for actor in actors.values() if actor.api_key_id})
        user_ids = list({actor.user.pk for actor in actors.values()})
        try:
            keys, users = await in_database_thread(_good_access, key_ids, user_ids)
        except DATABASE_AWAY as error:
            report_outage(error, during="checking access")
            continue
        except Exception:
            log.exception("access of sockets could not be checked")
            continue
        for socket, actor in actors.items():
            if actor.user.pk not in users or (actor.api_key_id and actor.api_key_id not in keys):
                socket.look_again()


def _good_access(key_ids: list[str], user_ids: list[UUID]) -> tuple[set[str], set[UUID]]:
    keys: set[str] = set()
    users: set[UUID] = set()
    for start in range(0, max(len(key_ids), len(user_ids)), _MAX_IDS):
        keys |= live_key_ids(key_ids[start : start + _MAX_IDS])
        users |= active_user_ids(user_ids[start : start + _MAX_IDS])
    return keys, users


def _versions(chat_ids: list[UUID]) -> dict[UUID, int]:
    versions: dict[UUID, int] = {}
    for start in range(0, len(chat_ids), _MAX_IDS):
        rows = Chat.objects.filter(pk__in=chat_ids[start : start + _MAX_IDS])
        versions.update(rows.values_list("pk", "snapshot_version"))
    return versions
