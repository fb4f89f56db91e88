"""A provider under faults: every answer is a text of its own, paced; it may be told to stall."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

from chatd.chattest.openai import (
    Chunk,
    OpenAIRequest,
    OpenAIResponse,
    OpenAIServer,
    finish_chunk,
    streaming_response,
    tool_call_chunk,
)
from tests.e2e.provider import USAGE, said

BOOKING = "book"
"""Messages that begin so make the model call a tool before it answers."""

BOOKING_TOOL = "ledger__book"

QUICK = "quick"
"""Messages that begin so are answered at once."""

FLOOD = "flood"
"""Messages that begin so are answered with some 8 MB, in large pieces."""


class FaultProvider(OpenAIServer):
    """Answers with the message it answers, a number that is never used again, and some words.

    `given` has the answers by message, `unequipped` those messages to be answered with a tool that
    came without it. While `stalls` is above 0 that share of calls comes to no end: before its
    headers, or in the middle of its stream.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.given: dict[str, set[str]] = {}
        self.unequipped: list[str] = []
        self.stalls = 0.0
        self.stalled = 0
        self._chance = random.Random(0)
        self._guard = threading.Lock()
        self._number = 0

    def begin(self, seed: object) -> None:
        """Forget what was answered; from here on chance is that of a seed."""
        with self._guard:
            self._chance = random.Random(f"{seed} provider")
            self.given, self.unequipped = {}, []
            self.requests.clear()
            self.stalls, self.stalled = 0.0, 0

    async def _answer(self, request: OpenAIRequest) -> OpenAIResponse:
        name, calls = _asked(request)
        with self._guard:
            chance = random.Random(self._chance.random())
            stall = chance.choice(["headers", "middle"]) if chance.random() < self.stalls else ""
            self.stalled += bool(stall)
            self._number += 1
            number = self._number
        if stall == "headers":
            await asyncio.sleep(60)
        if name.startswith(BOOKING) and BOOKING_TOOL not in _offered(request):
            self.unequipped.append(name)
        if name.startswith(BOOKING) and calls < 1:
            return streaming_response(*_booking(name, chance), finish_chunk("tool_calls"), USAGE)
        if name.startswith(FLOOD):
            return streaming_response(_paced(["x" * 40_000] * 200, 0.02, stalls=False))
        words = [f"{name} ", f"answer {number} ", *["word "] * chance.randint(2, 12), "end"]
        with self._guard:
            self.given.setdefault(name, set()).add("".join(words))
        pause = 0.0 if name.startswith(QUICK) else chance.uniform(0.02, 0.12)
        return streaming_response(_paced(words, pause, stalls=stall == "middle"))


def _asked(request: OpenAIRequest) -> tuple[str, int]:
    """Return the last message of the user, and how many tools were called after it."""
    name, calls = "", 0
    for message in request.messages:
        if message.role == "user":
            name, calls = message.content, 0
        calls += bool(message.raw.get("tool_calls"))
    return name, calls


def _offered(request: OpenAIRequest) -> list[str]:
    return [tool["function"]["name"] for tool in request.body.get("tools", ())]


def _booking(name: str, chance: random.Random) -> list[Any]:
    wanted = [(BOOKING_TOOL, 1), ("ledger__look", 2)]
    if chance.random() < 0.3:
        wanted.append((BOOKING_TOOL, 3))
    return [
        tool_call_chunk(
            tool,
            f'{{"reference": "{name}-{part}"}}',
            call_id=f"{name}-{part}-{chance.randrange(10**9)}",
            index=index,
        )
        for index, (tool, part) in enumerate(wanted)
    ]


async def _paced(words: list[str], pause: float, *, stalls: bool) -> AsyncIterator[Chunk]:
    for number, word in enumerate(words):
        if stalls and number == 2:
            await asyncio.sleep(60)
        yield said(word)
        await asyncio.sleep(pause)
    yield finish_chunk()
    yield USAGE
