"""Commands of many turns in one round trip to Redis.

A command that finds the line idle goes out at once. Those that come while a round trip is under way
wait for its end and go out together, so that the more turns stream the less each one costs.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 256

Command = tuple[Any, ...]


class Outbox:
    """Sends for one event loop, over one connection at a time."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: list[tuple[Sequence[Command], asyncio.Future[bool]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def send(self, commands: Sequence[Command]) -> bool:
        """Send commands in order; False when Redis refused one or is away, which is logged."""
        sent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, sent))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())
        return await sent

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:MOST_AT_ONCE]
                del self._waiting[:MOST_AT_ONCE]
                await self._send_batch(batch)
        finally:
            self._sending = None

    async def _send_batch(
        self, batch: Sequence[tuple[Sequence[Command], asyncio.Future[bool]]]
    ) -> None:
        done: list[bool] = []
        try:
            done = await self._accepted([commands for commands, _ in batch])
        finally:
            for (_, sent), accepted in zip(batch, done or [False] * len(batch), strict=True):
                if not sent.done():  # nobody waits for it any more
                    sent.set_result(accepted)

    async def _accepted(self, groups: Sequence[Sequence[Command]]) -> list[bool]:
        """Return of each group of commands whether all of them were carried out."""
        pipeline = self._client.pipeline(transaction=False)
        for commands in groups:
            for command in commands:
                pipeline.execute_command(*command)
        try:
            answers = iter(await pipeline.execute(raise_on_error=False))
        except RedisError as error:
            log.warning("not sent to Redis", error=str(error), groups=len(groups))
            return [False] * len(groups)
        return [_is_well([next(answers) for _ in commands]) for commands in groups]


def _is_well(answers: Sequence[Any]) -> bool:
    refusals = [answer for answer in answers if isinstance(answer, Exception)]
    for refusal in refusals[:1]:
        log.warning("refused by Redis", error=str(refusal))
    return not refusals
