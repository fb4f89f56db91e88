"""The outbox: what comes while a round trip is under way goes with the next one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio

from chatd.live import outbox
from chatd.live.outbox import Outbox
from tests.support.services import free_port

pytestmark = pytest.mark.redis

KEY = "chatd-test-outbox"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Outbox, redis.asyncio.Redis]]:
    client = redis.asyncio.Redis.from_url(url)
    box = Outbox(redis.asyncio.Redis.from_url(url))
    try:
        yield box, client
    finally:
        await client.delete(KEY)
        await client.aclose()
        await box.aclose()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many groups of commands each round trip carried."""
    carried: list[int] = []
    answered = Outbox._answered

    async def counted(self: Outbox, groups: Any) -> Any:
        carried.append(len(groups))
        return await answered(self, groups)

    monkeypatch.setattr(Outbox, "_answered", counted)
    return carried


async def test_the_first_goes_at_once_and_the_others_together(
    redis_url: str, trips: list[int]
) -> None:
    async with opened(redis_url) as (box, client):
        sent = [asyncio.create_task(box.send((("RPUSH", KEY, n),))) for n in range(2)]
        await asyncio.sleep(0)  # the first is on its way
        sent += [asyncio.create_task(box.send((("RPUSH", KEY, n),))) for n in range(2, 6)]
        assert await asyncio.gather(*sent) == [[n] for n in range(1, 7)]
        assert sum(trips) == 6
        assert len(trips) == 2
        assert [int(each) for each in await client.lrange(KEY, 0, -1)] == list(range(6))
        assert await box.send((("LLEN", KEY), ("LPOP", KEY))) == [6, b"0"]
        assert len(trips) == 3


async def test_so_many_go_together_at_most(
    redis_url: str, trips: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_AT_ONCE", 4)
    async with opened(redis_url) as (box, client):
        await asyncio.gather(*(box.send((("RPUSH", KEY, n),)) for n in range(10)))
        assert max(trips) == 4
        assert [int(each) for each in await client.lrange(KEY, 0, -1)] == list(range(10))


async def test_a_refusal_is_of_its_own_group_alone(redis_url: str) -> None:
    async with opened(redis_url) as (box, client):
        answers = await asyncio.gather(
            box.send((("SET", KEY, "text"),)),
            box.send((("PING",), ("LPUSH", KEY, "x"), ("PING",))),
            box.send((("GET", KEY),)),
        )
        assert answers[1] is None
        assert answers[2] == [b"text"]
        assert await client.get(KEY) == b"text"


async def test_who_does_not_wait_any_more_keeps_nobody_else_waiting(redis_url: str) -> None:
    async with opened(redis_url) as (box, _):
        first, gone, last = (asyncio.create_task(box.send((("RPUSH", KEY, n),))) for n in range(3))
        await asyncio.sleep(0)
        gone.cancel()
        assert await first == [1]
        assert await last is not None
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await box.send((("RPUSH", KEY, 3),)) is not None


async def test_redis_that_is_away_is_told_of_to_all() -> None:
    box = Outbox(redis.asyncio.Redis(port=free_port(), socket_connect_timeout=1))
    assert await asyncio.gather(*(box.send((("PING",),)) for _ in range(3))) == [None] * 3
    assert await box.send((("PING",),)) is None
    await box.aclose()
