"""The inbox of a socket: bounded, emptied when it overflows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from chatd.sockets import consumer, registry
from chatd.sockets.consumer import OneWaySocket


class Socket(OneWaySocket):
    """A socket that shows what it was given to work on."""

    async def subscribe(self) -> list[str]:
        return []

    async def opening(self) -> AsyncIterator[str]:
        return
        yield ""

    async def frames_for(self, items: list[Any], *, resync: bool) -> AsyncIterator[str]:
        yield f"{items} {resync}"


def work(*steps: Any) -> list[str]:
    """Run the pump over what the steps put into the inbox; return the frames."""
    sent: list[str] = []

    async def run() -> None:
        socket = Socket()
        arrived = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["text"])
            arrived.set()

        socket.send = send
        for step in steps:
            step(socket)
        pump = asyncio.create_task(socket._pump())
        await arrived.wait()
        pump.cancel()

    asyncio.run(run())
    return sent


def test_what_arrived_together_is_worked_on_together():
    assert work(lambda s: s.deliver(1), lambda s: s.deliver(2)) == ["[1, 2] False"]


def test_an_inbox_that_overflows_is_emptied_and_resynchronised(monkeypatch):
    monkeypatch.setattr(consumer, "INBOX_LIMIT", 3)
    steps = [lambda s, n=n: s.deliver(n) for n in range(5)]
    assert work(*steps) == ["[4] True"]


def test_what_an_overflow_discards_is_counted(monkeypatch, exposed):
    monkeypatch.setattr(consumer, "INBOX_LIMIT", 3)
    name = "coderd_chatd_stream_buffer_dropped_total"
    before = exposed().value(name)
    work(*[lambda s, n=n: s.deliver(n) for n in range(3)])
    assert exposed().value(name) == before
    work(*[lambda s, n=n: s.deliver(n) for n in range(5)])
    assert exposed().value(name) == before + 4


def test_a_healer_may_ask_for_a_resync():
    assert work(lambda s: s.request_resync()) == ["[] True"]


def test_the_inbox_holds_two_thousand_items():
    steps = [lambda s, n=n: s.deliver(n) for n in range(2000)]
    (frame,) = work(*steps)
    assert frame.endswith("1999] False")


class Followed:
    """A socket that the healer looks after."""

    def __init__(self, chat_id: Any, version: int, progress: Any = None) -> None:
        fields = {"chat_id": chat_id, "version": version, "progress": progress}
        self.feed = type("Feed", (), fields)()
        self.asked = 0
        self.peeked = 0

    def request_resync(self) -> None:
        self.asked += 1

    def deliver(self, item: Any) -> None:
        assert item is registry.PEEK
        self.peeked += 1


def test_the_healer_asks_only_who_was_behind_in_two_rounds(monkeypatch):
    rounds = [{"a": 5, "b": 5}, {"a": 6, "b": 5}, {"a": 6, "b": 5}]
    behind, current, gone = Followed("a", 4), Followed("b", 5), Followed("c", 1)
    asked: list[tuple[int, ...]] = []

    async def versions(*_: Any) -> dict[str, int]:
        asked.append((behind.asked, current.asked, gone.asked))
        if len(asked) == len(rounds):
            registry._open.clear()
        return rounds[len(asked) - 1]

    class Env:
        heal_seconds = 0

    monkeypatch.setattr(registry, "env", Env)
    monkeypatch.setattr(registry, "in_database_thread", versions)
    monkeypatch.setattr(registry, "_open", {behind, current, gone})
    asyncio.run(registry._heal())
    assert asked == [(0, 0, 0), (0, 0, 0), (1, 0, 0)]


def test_the_healer_asks_a_running_stream_that_showed_nothing_new_since_the_last_round(
    monkeypatch,
):
    stalled, moving = Followed("a", 5, progress=1), Followed("b", 5, progress=1)
    rounds = 0

    async def versions(*_: Any) -> dict[str, int]:
        nonlocal rounds
        rounds += 1
        moving.feed.progress += 1
        if rounds == 2:
            registry._open.clear()
        return {"a": 5, "b": 5}

    class Env:
        heal_seconds = 0

    monkeypatch.setattr(registry, "env", Env)
    monkeypatch.setattr(registry, "in_database_thread", versions)
    monkeypatch.setattr(registry, "_open", {stalled, moving})
    asyncio.run(registry._heal())
    assert (stalled.peeked, moving.peeked) == (1, 0)
    assert stalled.asked == 0, "the database has nothing new to say"


def test_a_failed_round_of_the_healer_is_not_the_last(monkeypatch):
    socket, calls = Followed("a", 1), []

    async def versions(*_: Any) -> dict[str, int]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the database is away")
        if len(calls) == 3:
            registry._open.clear()
        return {"a": 2}

    class Env:
        heal_seconds = 0

    monkeypatch.setattr(registry, "env", Env)
    quiet = type("Log", (), {"exception": lambda *_, **__: None})()
    monkeypatch.setattr(registry, "log", quiet)
    monkeypatch.setattr(registry, "in_database_thread", versions)
    monkeypatch.setattr(registry, "_open", {socket})
    asyncio.run(registry._heal())
    assert (socket.asked, len(calls)) == (1, 3)
