"""How often something was done within the last minute; counted in Redis or inside one process.

The window slides: it is the running minute, and the minute before as far as sixty seconds reach
back, as if its requests had come evenly. What is refused is not counted.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Protocol, cast

import redis
import structlog
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import RedisError
from redis.retry import Retry

from config.env import env

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 60

MAX_LOCAL_KEYS = 50_000
"""Of one process, some 20 MB; beyond it the key that was quiet longest is forgotten."""

_AWAY_SECONDS = 5.0
_WARNING_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a key stands after it was counted, or refused."""

    limit: int
    allowed: bool
    remaining: int
    resets_at: int
    """Unix seconds at which the running minute ends."""
    retry_after_seconds: int
    """0 when it was allowed."""


class RateCounter(Protocol):
    """Redis or in-process."""

    def hit(self, key: str, limit: int) -> Standing | None:
        """Count one more of `key` unless the limit is reached. None when it cannot be counted."""

    def take_back(self, key: str) -> None:
        """Count one less of `key`, if one was counted within the running minute."""


def count(limit: int, *what: str) -> Standing | None:
    """Count one more of `what`. None when it is not limited: 0 is off, or Redis is away."""
    return rate_counter().hit(_key(what), limit) if limit else None


def uncount(limit: int, *what: str) -> None:
    """Take back what was counted a moment ago and turned out not to count."""
    if limit:
        rate_counter().take_back(_key(what))


def _key(what: Sequence[str]) -> str:
    """Return a digest: paths have any length, and addresses are nobody's business."""
    name = "\0".join(what).encode(errors="backslashreplace")
    return blake2b(name, digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def rate_counter() -> RateCounter:
    """Return the counter of this process."""
    return RedisRateCounter(env.redis_url) if env.redis_url else LocalRateCounter()


def network_of(address: str) -> str:
    """Return whose address it is: in IPv6 one customer has a whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a socket file, or what a proxy made up
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped or ip_network((int(parsed) >> 64 << 64, 64)))


class LocalRateCounter:
    """Counts of a single process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        """Window, count of the one before it, count; those hit last are at the end."""

    def hit(self, key: str, limit: int) -> Standing:
        window, elapsed = _instant()
        with self._lock:
            previous, current = self._read(key, window)
            allowed = _used(previous, elapsed) + current < limit
            self._counts[key] = (window, previous, current + allowed)
            self._counts.move_to_end(key)
            self._forget(window)
        return _standing(limit, window, elapsed, previous, current, allowed=allowed)

    def take_back(self, key: str) -> None:
        window, _ = _instant()
        with self._lock:
            previous, current = self._read(key, window)
            if current:
                self._counts[key] = (window, previous, current - 1)

    def _read(self, key: str, window: int) -> tuple[int, int]:
        counted, previous, current = self._counts.get(key, (window, 0, 0))
        if counted == window:
            return previous, current
        return (current, 0) if counted == window - 1 else (0, 0)

    def _forget(self, window: int) -> None:
        """Drop what counts no longer, and what is too much."""
        counts = self._counts
        while len(counts) > MAX_LOCAL_KEYS or next(iter(counts.values()))[0] < window - 1:
            counts.popitem(last=False)


_HIT = """
local previous = tonumber(redis.call('GET', KEYS[1]) or 0)
local current = tonumber(redis.call('GET', KEYS[2]) or 0)
local allowed = 0
if math.floor(previous * (1 - tonumber(ARGV[2]))) + current < tonumber(ARGV[1]) then
  allowed = 1
  redis.call('INCR', KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
return {previous, current, allowed}
"""


_TAKE_BACK = """
if tonumber(redis.call('GET', KEYS[1]) or 0) > 0 then
  redis.call('DECR', KEYS[1])
end
"""


class RedisRateCounter:
    """Counts that all processes share. One round trip each; nobody waits long for it.

    When Redis does not answer it is left alone for some seconds, and nothing is limited.
    """

    def __init__(self, url: str) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=32,
            timeout=0.5,
            socket_timeout=0.5,
            socket_connect_timeout=0.5,
            # Once more for connections that a restarted server has closed.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self._script = redis.Redis(connection_pool=pool).register_script(_HIT)
        self._taking_back = redis.Redis(connection_pool=pool).register_script(_TAKE_BACK)
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._quiet_until = 0.0

    def hit(self, key: str, limit: int) -> Standing | None:
        window, elapsed = _instant()
        keys = [_redis_key(key, window - 1), _redis_key(key, window)]
        answer = self._run(self._script, keys, [limit, elapsed, 2 * WINDOW_SECONDS])
        if answer is None:
            return None
        previous, current, allowed = cast("list[int]", answer)
        return _standing(limit, window, elapsed, previous, current, allowed=bool(allowed))

    def take_back(self, key: str) -> None:
        window, _ = _instant()
        self._run(self._taking_back, [_redis_key(key, window)], [])

    def _run(self, script: Script, keys: list[str], arguments: list[Any]) -> Any:
        """Return the answer of a script, None when Redis is away or has none."""
        if time.monotonic() < self._away_until:
            return None
        try:
            return script(keys, arguments)
        except (RedisError, OSError) as error:
            self._leave_alone(error)
            return None

    def _leave_alone(self, error: Exception) -> None:
        instant = time.monotonic()
        with self._lock:
            self._away_until = instant + _AWAY_SECONDS
            if instant < self._quiet_until:
                return
            self._quiet_until = instant + _WARNING_SECONDS
        log.warning("requests are not limited, Redis does not answer", error=str(error))


def _redis_key(key: str, window: int) -> str:
    return f"chat:rate:{key}:{window}"


def _instant() -> tuple[int, float]:
    """Return the number of the running minute, and how much of it has passed (0 to 1)."""
    minutes, seconds = divmod(time.time(), WINDOW_SECONDS)
    return int(minutes), seconds / WINDOW_SECONDS


def _used(previous: int, elapsed: float) -> int:
    """Return how many requests of the minute before still count. The script does the same."""
    return int(previous * (1 - elapsed))


def _standing(
    limit: int, window: int, elapsed: float, previous: int, current: int, *, allowed: bool
) -> Standing:
    left = limit - _used(previous, elapsed) - current - allowed
    return Standing(
        limit=limit,
        allowed=allowed,
        remaining=max(0, left),
        resets_at=(window + 1) * WINDOW_SECONDS,
        retry_after_seconds=0 if allowed else _wait(limit, elapsed, previous, current),
    )


def _wait(limit: int, elapsed: float, previous: int, current: int) -> int:
    """Return the whole seconds after which one more is allowed, when nothing else is counted."""
    if current < limit:  # once enough of the minute before has slid out
        minutes = 1 - (limit - current) / previous - elapsed
    else:  # once this minute is the one before, and enough of it has
        minutes = 1 - elapsed + 1 - limit / current
    return int(minutes * WINDOW_SECONDS + 0.001) + 1  # a float may stand just below a second
