"""Many sockets: watchers of one turn, and sockets that only wait."""

import asyncio

from bench.chat import processes
from bench.chat.figures import Report
from bench.chat.measures import DELTA_CHARACTERS, Bench, Spread, settled
from bench.chat.provider import answer_text, order
from bench.chat.stage import Staged
from bench.chat.targets import ChatdLine, ChatdTarget, FloorLine, FloorTarget, Line

WATCHERS = (1, 20, 200)
DELTAS = 200
IDLE = 2_000
_RATE = 50


async def _watchers(bench: Bench, line: Line, count: int) -> list[Line]:
    target = bench.target
    if isinstance(target, ChatdTarget) and isinstance(line, ChatdLine):
        return [await target.follow(line.chat_id) for _ in range(count)]
    assert isinstance(target, FloorTarget)
    assert isinstance(line, FloorLine)
    return [await target.follow(line.name) for _ in range(count)]


async def _watched(bench: Bench, pids: list[int], count: int) -> tuple[float, float, int]:
    """One answer before `count` watchers: CPU seconds, p99 of delays in ms, watchers that lost."""

    def cpu() -> float:
        return processes.cpu_seconds(pids)

    line = await bench.target.line()
    others = await _watchers(bench, line, count - 1)
    await settled(cpu)
    before = cpu()
    answer = await bench.ask(line, deltas=DELTAS, rate=_RATE)
    await settled(cpu)
    used = cpu() - before
    heard = [line.heard, *(other.heard for other in others)]
    wrong = sum(one.text.endswith(answer_text(DELTAS)) is False for one in heard)
    delays = answer.heard.delays_ms(answer.written, DELTA_CHARACTERS)
    await asyncio.gather(*(one.close() for one in [line, *others]))
    return used, Spread.of(delays).p99, wrong


async def measure_fan_out(
    report: Report, chatd: Bench, floor: Bench, staged: Staged, floor_pid: int
) -> None:
    mine = [staged.web.pid, *staged.services.values()]
    here = {count: await _watched(chatd, mine, count) for count in WATCHERS}
    there = {count: await _watched(floor, [floor_pid], count) for count in WATCHERS}
    for count in WATCHERS:
        _, p99, wrong = here[count]
        report.add(f"delay of a delta, {count} watching, p99", "ms", p99, floor=there[count][1])
        assert wrong == 0, f"{wrong} of {count} watchers lost something"

    def per_watcher(found: dict[int, tuple[float, float, int]]) -> float:
        most, one = WATCHERS[-1], WATCHERS[0]
        return (found[most][0] - found[one][0]) / (most - one) / DELTAS * 1e6

    report.add("CPU per delta and watcher", "µs", per_watcher(here), floor=per_watcher(there))


async def measure_idle_sockets(report: Report, target: ChatdTarget, staged: Staged) -> None:
    """Open sockets that follow a chat in which nothing happens."""
    web = staged.roles()["web"]
    chats = [await target.create(order("idle", deltas=1, rate=1000)) for _ in range(20)]
    await settled(staged.cpu, 10)
    before = processes.resident_mib(web)
    lines: list[ChatdLine] = []
    for number in range(0, IDLE, 50):
        lines += await asyncio.gather(
            *(target.follow(chats[(number + more) % len(chats)]) for more in range(50))
        )
    await asyncio.sleep(2)
    held = processes.resident_mib(web) - before
    cpu = processes.cpu_seconds([web])
    await asyncio.sleep(5)
    report.add(f"memory per idle socket, {IDLE:,} open", "KiB", held / IDLE * 1024)
    idle = (processes.cpu_seconds([web]) - cpu) / 5 * 100
    report.add(f"CPU of the web process, {IDLE:,} idle sockets", "% of a core", idle)
    closed = sum(bool(line.heard.failure) for line in lines)
    assert closed == 0, f"{closed} idle sockets were closed"
    for number in range(0, IDLE, 100):
        await asyncio.gather(*(line.close() for line in lines[number : number + 100]))
