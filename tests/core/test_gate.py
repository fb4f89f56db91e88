"""The gate: so many at once, so many waiting, and a clear word to the rest."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from chatd.core.errors import ChatdError
from chatd.core.gate import RETRY_AFTER_SECONDS, Gate


def a_gate(*, at_once: int = 2, waiting: int = 1, patience_seconds: float = 60.0) -> Gate:
    return Gate(at_once=at_once, waiting=waiting, patience_seconds=patience_seconds)


async def let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_pass_at_once_and_the_next_one_when_a_place_comes_free() -> None:
    gate, order = a_gate(), []

    async def pass_as(name: str, until: asyncio.Event) -> None:
        async with gate.passed():
            order.append(name)
            await until.wait()

    ends = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(pass_as(str(n), end)) for n, end in enumerate(ends)]
    await let_others_run()
    assert order == ["0", "1"]

    ends[0].set()
    await let_others_run()
    assert order == ["0", "1", "2"]
    for end in ends:
        end.set()
    await asyncio.gather(*tasks)


async def test_who_finds_no_place_to_wait_is_told_at_once() -> None:
    gate = a_gate(at_once=1, waiting=1)
    async with gate.passed():
        waiting = asyncio.create_task(gate.passed().__aenter__())
        await let_others_run()

        with pytest.raises(ChatdError) as refused:
            await gate.passed().__aenter__()

        assert refused.value.http_status == 503
        assert refused.value.headers["Retry-After"] == str(RETRY_AFTER_SECONDS)
        assert not waiting.done()
        waiting.cancel()


async def test_who_waits_too_long_is_told_and_takes_no_place() -> None:
    gate = a_gate(at_once=1, patience_seconds=0.01)
    async with AsyncExitStack() as held:
        await held.enter_async_context(gate.passed())
        with pytest.raises(ChatdError):
            await gate.passed().__aenter__()

    async with gate.passed():
        pass


@pytest.mark.parametrize("ending", [RuntimeError("broken"), asyncio.CancelledError()])
async def test_a_place_is_given_back_however_it_ends(ending: BaseException) -> None:
    gate = a_gate(at_once=1, waiting=0)
    with pytest.raises(type(ending)):
        async with gate.passed():
            raise ending

    async with gate.passed():
        pass


async def test_who_leaves_while_waiting_makes_room_for_the_next_one() -> None:
    gate = a_gate(at_once=1, waiting=1)
    async with gate.passed():
        leaving = asyncio.create_task(gate.passed().__aenter__())
        await let_others_run()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        next_one = asyncio.create_task(gate.passed().__aenter__())
        await let_others_run()
        assert not next_one.done()
        next_one.cancel()
