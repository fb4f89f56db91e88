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
Answers = list[Any]


class Outbox:
    """Sends for one event loop, over one connection at a time."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: list[tuple[Sequence[Command], asyncio.Future[Answers | None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def send(self, commands: Sequence[Command]) -> Answers | None:
        """Send commands in order and return their answers.

        None when Redis refused one or is away, which is logged; some may have been carried out.
        """
        sent: asyncio.Future[Answers | None] = asyncio.get_running_loop().create_future()
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
        self, batch: Sequence[tuple[Sequence[Command], asyncio.Future[Answers | None]]]
    ) -> None:
        done: list[Answers | None] = [None] * len(batch)
        try:
            done = await self._answered([commands for commands, _ in batch])
        finally:
            for (_, sent), answers in zip(batch, done, strict=True):
                if not sent.done():  # else nobody waits for it any more
                    sent.set_result(answers)

    async def _answered(self, groups: Sequence[Sequence[Command]]) -> list[Answers | None]:
        """Return the answers to each group of commands, None where not all were carried out."""
        pipeline = self._client.pipeline(transaction=False)
        for commands in groups:
            for command in commands:
                pipeline.execute_command(*command)
        try:
            answers = iter(await pipeline.execute(raise_on_error=False))
        except RedisError as error:
            log.warning("not sent to Redis", error=str(error), groups=len(groups))
            return [None] * len(groups)
        return [_unless_refused([next(answers) for _ in commands]) for commands in groups]


def _unless_refused(answers: Answers) -> Answers | None:
    for answer in answers:
        if isinstance(answer, Exception):
            log.warning("refused by Redis", error=str(answer))
            return None
    return answers
