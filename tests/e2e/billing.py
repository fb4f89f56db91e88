"""A provider whose answers cost money, and which fails at times; the same for the same seed.

What it bills is within what chatd can know beforehand: a token for each byte of text that it was
sent, and as many tokens as it was allowed to write.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from chatd.chattest import faults
from chatd.chattest.openai import (
    Chunk,
    OpenAIHandler,
    OpenAIRequest,
    OpenAIResponse,
    OpenAIServer,
    finish_chunk,
    streaming_response,
    tool_call_chunk,
    usage_chunk,
)
from tests.e2e.provider import said

INPUT_PRICE, OUTPUT_PRICE = 3, 15
"""Dollars per million tokens: micros per token."""

TOOL = "ledger__look"
WITH_TOOLS = "-tools"
"""How the names of turns end that have a second step. A name is the first word of a prompt."""

_MOST_FAILURES = 5
_LONG_ANSWER = 4000
"""Tokens: one that took all of the money would leave nothing to test."""


@dataclass(frozen=True)
class Chances:
    """How often calls fail, and how often answers are long."""

    refused: float = 0.10
    cut: float = 0.06
    whole: float = 0.06
    long: float = 0.10


class BillingProvider(OpenAIServer):
    """Answers by the name of a turn: how, depends on the seed and on how often it has asked.

    Nobody is answered before `opened`. `billed_micros` is of every answer whose bill was sent,
    `answers` are the last words of turns, `under_way` those that are being answered, by name;
    `allowed` what each answer might have, `most_bytes` the longest request.
    """

    def __init__(self, *, slowest: float = 0.25, chances: Chances = Chances()) -> None:
        super().__init__(self._answer)
        self.opened = threading.Event()
        self.billed_micros = 0
        self.answers: dict[str, set[str]] = {}
        self.under_way: set[str] = set()
        self.allowed: list[int] = []
        self.most_bytes = 0
        self._seed = 0
        self._slowest = slowest
        self._chances = chances
        self._asked: Counter[str] = Counter()

    def begin(self, seed: int) -> None:
        """Forget what was; other answers follow, once it is opened."""
        self.opened.clear()
        self._seed, self.billed_micros, self.most_bytes = seed, 0, 0
        for kept in (self.answers, self.under_way, self.allowed, self._asked, self.requests):
            kept.clear()

    async def _answer(self, request: OpenAIRequest) -> OpenAIResponse:
        prompt = next(m.content for m in reversed(request.messages) if m.role == "user")
        name = prompt.split()[0]
        self._asked[name] += 1
        self.allowed.append(request.body["max_tokens"])
        self.most_bytes = max(self.most_bytes, len(request.raw))
        self.under_way.add(name)
        try:
            while not self.opened.is_set():
                await asyncio.sleep(0.02)
            return await self._chosen(request, name, self._asked[name])
        except BaseException:
            self.under_way.discard(name)
            raise

    async def _chosen(self, request: OpenAIRequest, name: str, times: int) -> OpenAIResponse:
        chance = random.Random(f"{self._seed} {name} {times}")
        await asyncio.sleep(chance.uniform(0, self._slowest / 2))
        luck = chance.random() if times <= _MOST_FAILURES else 1.0
        if luck < self._chances.refused:
            self.under_way.discard(name)
            return await _by(_refusal(chance.choice([429, 500])), request)
        words = [f"{name} ", f"answered {times} ", *["word "] * chance.randint(0, 4), "end"]
        if luck < self._chances.refused + self._chances.cut:
            self.under_way.discard(name)
            return await _by(faults.close_midway(words, reset=luck < self._chances.cut), request)
        asks = name.endswith(WITH_TOOLS) and request.messages[-1].role != "tool"
        if not asks:
            self.answers.setdefault(name, set()).add("".join(words))
        return streaming_response(self._written(request, chance, words, name, asks=asks))

    async def _written(
        self,
        request: OpenAIRequest,
        chance: random.Random,
        words: Sequence[str],
        name: str,
        *,
        asks: bool,
    ) -> AsyncIterator[Chunk]:
        pause = chance.uniform(0, self._slowest) / len(words)
        read, written = self._tokens(request, chance)
        try:
            for word in words:
                yield said(word)
                await asyncio.sleep(pause)
            if asks:
                yield tool_call_chunk(TOOL, '{"reference": "it"}')
            is_whole = written == request.body["max_tokens"] and not asks
            yield finish_chunk("tool_calls" if asks else "length" if is_whole else "stop")
            # before the bill is out: who is killed right behind it has been billed
            self.billed_micros += read * INPUT_PRICE + written * OUTPUT_PRICE
            yield usage_chunk(prompt=read, completion=written)
        finally:
            self.under_way.discard(name)

    def _tokens(self, request: OpenAIRequest, chance: random.Random) -> tuple[int, int]:
        allowed = int(request.body["max_tokens"])
        texts = sum(len(message.content.encode()) for message in request.messages)
        read = texts if chance.random() < 0.2 else -(-texts // 4)
        luck = chance.random()
        if luck < self._chances.whole and allowed <= _LONG_ANSWER:
            return read, allowed
        if luck < self._chances.whole + self._chances.long:
            return read, chance.randint(1, min(allowed, _LONG_ANSWER))
        return read, min(chance.randint(10, 400), allowed)


def _refusal(status: int) -> OpenAIHandler:
    return faults.http_error(status, {"error": {"message": "Try again."}})


async def _by(handler: OpenAIHandler, request: OpenAIRequest) -> OpenAIResponse:
    given: Any = handler(request)
    answer: OpenAIResponse = await given
    return answer
