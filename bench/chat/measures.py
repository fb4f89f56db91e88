"""What is measured of a target: time to the first part, delays, CPU, what is held without loss."""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

import aiohttp
import orjson

from bench.chat.provider import answer_text, order
from bench.chat.targets import Heard, Line, Target

DELTA_CHARACTERS = 5
_runs = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the tail of a series, in the unit of the series."""

    p50: float
    p95: float
    p99: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) < 2:
            only = values[0] if values else 0.0
            return cls(only, only, only, len(values))
        cuts = quantiles(values, n=100, method="inclusive")
        return cls(median(values), cuts[94], cuts[98], len(values))


@dataclass(slots=True)
class Answer:
    """One answer as it was ordered and as it was heard."""

    run: str
    deltas: int
    heard: Heard
    written: list[int] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many deltas are missing or wrong in the streamed text."""
        wanted, got = answer_text(self.deltas), self.heard.text
        if wanted == got:
            return 0
        return max(abs(len(wanted) - len(got)) // DELTA_CHARACTERS, 1)

    def delays_ms(self) -> list[float]:
        return self.heard.delays_ms(self.written, DELTA_CHARACTERS)

    @property
    def tail_ms(self) -> float:
        """From the last delta's leaving the provider to the end of the turn at the client."""
        return (self.heard.ended_at - self.written[-1]) / 1e6


class Bench:
    """Asks a target, and the provider behind it when it wrote what."""

    def __init__(self, target: Target, provider_url: str, http: aiohttp.ClientSession) -> None:
        self.target = target
        self._provider = provider_url
        self._http = http

    async def ask(self, line: Line, *, deltas: int, rate: int) -> Answer:
        """Send an order, wait for the end of its answer, and look up when it was written."""
        run = f"{self.target.name}{next(_runs)}"
        await line.send(order(run, deltas=deltas, rate=rate))
        answer = Answer(run, deltas, await line.ended())
        async with self._http.get(f"{self._provider}/runs/{run}") as response:
            answer.written = orjson.loads(await response.read())
        return answer

    async def lines(self, count: int) -> list[Line]:
        """Open conversations, a few at a time."""
        opened: list[Line] = []
        while len(opened) < count:
            some = min(10, count - len(opened))
            opened += await asyncio.gather(*(self.target.line() for _ in range(some)))
        return opened

    async def one_at_a_time(self, count: int) -> list[Answer]:
        line = await self.target.line()
        answers = []
        for _ in range(count):
            answers.append(await self.ask(line, deltas=2, rate=50))
            await asyncio.sleep(0.02)
        await line.close()
        return answers

    async def at_once(
        self, count: int, *, deltas: int, rate: int, apart_seconds: float = 0.0
    ) -> list[Answer]:
        """Have `count` conversations answer beside each other, begun within `apart_seconds`."""
        lines = await self.lines(count)

        async def one(line: Line) -> Answer:
            await asyncio.sleep(random.uniform(0, apart_seconds))
            return await self.ask(line, deltas=deltas, rate=rate)

        try:
            return await asyncio.gather(*(one(line) for line in lines))
        finally:
            await asyncio.gather(*(line.close() for line in lines))


async def settled(cpu: Callable[[], float], seconds: float = 5.0) -> None:
    """Return when little is computed any more, so that the next figure is not of the last one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu()
        await asyncio.sleep(0.3)
        if cpu() - before < 0.03:
            return


def first_parts(answers: Sequence[Answer]) -> Spread:
    return Spread.of([answer.heard.first_part_ms for answer in answers])


def delays(answers: Sequence[Answer]) -> Spread:
    return Spread.of([delay for answer in answers for delay in answer.delays_ms()])


def lost(answers: Sequence[Answer]) -> int:
    return sum(answer.lost for answer in answers)


def wire_bytes_per_delta(answers: Sequence[Answer]) -> float:
    return sum(a.heard.wire_bytes for a in answers) / sum(a.deltas for a in answers)
