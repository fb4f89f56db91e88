"""`make bench`: what chatd adds to a model's stream, in ratios to a bare floor.

One run starts a provider with a set pace, the floor, and chatd in the shape of production
(PostgreSQL, Redis, one web and one worker process, beat), all on this machine, with the driver
beside them; then the same on SQLite for what newcomers run. Prints a table and writes JSON.

`--target URL --key KEY --model NAME` measures any OpenAI-compatible server instead, which must
pass its calls on to the provider that this run starts (its address is printed).
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import aiohttp

from bench.chat import processes, stage
from bench.chat.figures import Report
from bench.chat.measures import (
    Answer,
    Bench,
    Spread,
    delays,
    first_parts,
    lost,
    settled,
    wire_bytes_per_delta,
)
from bench.chat.reads import measure_reads
from bench.chat.sockets import measure_fan_out, measure_idle_sockets
from bench.chat.targets import ChatdTarget, FloorTarget, GatewayTarget

RATE = 50
LIVE = 100
LIVE_DELTAS = 400
_QUIET = {"CHATD_SIDE_CALLS": "false", "CHATD_TURN_SLOTS_PER_PERSON": "200"}
"""Titles and labels ask the provider for more, which the floor does not: they are off, but for
one figure. All turns are one person's, who may hold all slots here."""

Cpu = Callable[[], float]


async def latency(bench: Bench, cpu: Cpu) -> dict[str, Spread]:
    """Time to the first part: one at a time, 20 and 100 at once."""
    await bench.one_at_a_time(5)
    found = {"1": first_parts(await bench.one_at_a_time(60))}
    for count in (20, 100):
        await settled(cpu)
        answers = await bench.at_once(count, deltas=5, rate=RATE)
        assert lost(answers) == 0, f"{lost(answers)} deltas lost of {count} at once"
        found[str(count)] = first_parts(answers)
    return found


async def cpu_per_turn(bench: Bench, cpu: Cpu, turns: int = 60) -> float:
    """Milliseconds of CPU of all processes for a turn of one delta."""
    line = await bench.target.line()
    await settled(cpu)
    before = cpu()
    for _ in range(turns):
        await bench.ask(line, deltas=1, rate=RATE)
    await settled(cpu)
    await line.close()
    return (cpu() - before) / turns * 1000


async def cpu_per_delta(bench: Bench, cpu: Cpu) -> tuple[float, float]:
    """Marginal microseconds of CPU for a delta, of 20 streams at a time; and bytes on the wire."""
    lines = await bench.lines(20)
    used: list[float] = []
    sizes = (20, 400)
    answers: list[Answer] = []
    for deltas in sizes:
        await settled(cpu)
        before = cpu()
        answers = await asyncio.gather(
            *(bench.ask(line, deltas=deltas, rate=RATE) for line in lines)
        )
        await settled(cpu)
        used.append(cpu() - before)
    await asyncio.gather(*(line.close() for line in lines))
    more = len(lines) * (sizes[1] - sizes[0])
    return (used[1] - used[0]) / more * 1e6, wire_bytes_per_delta(answers)


async def live(bench: Bench) -> tuple[list[Answer], list[Answer]]:
    """100 live turns, and new ones while they are live; returns both."""
    running = asyncio.create_task(
        bench.at_once(LIVE, deltas=LIVE_DELTAS, rate=RATE, apart_seconds=2.0)
    )
    line = await bench.target.line()
    await asyncio.sleep(3.5)
    fresh = []
    while not running.done() and len(fresh) < 12:
        fresh.append(await bench.ask(line, deltas=2, rate=RATE))
    await line.close()
    return await running, fresh


async def compare(report: Report, chatd: Bench, floor: Bench, cpu: Cpu, floor_cpu: Cpu) -> None:
    """The figures that have a floor."""
    mine, bare = await latency(chatd, cpu), await latency(floor, floor_cpu)
    for count, words in (("1", "one at a time"), ("20", "20 at once"), ("100", "100 at once")):
        aims = {"1": (35.0, 60.0), "100": (1000.0, None)}.get(count, (None, None))
        for name, aim in (("p50", aims[0]), ("p95", aims[1]), ("p99", None)):
            here, there = getattr(mine[count], name), getattr(bare[count], name)
            report.add(f"first part, {words}, {name}", "ms", here, floor=there, aim=aim)
    per_turn = await cpu_per_turn(chatd, cpu)
    report.add("CPU per turn", "ms", per_turn, floor=await cpu_per_turn(floor, floor_cpu), aim=25)
    (per_delta, wire), (bare_delta, bare_wire) = (
        await cpu_per_delta(chatd, cpu),
        await cpu_per_delta(floor, floor_cpu),
    )
    report.add("CPU per delta, marginal", "µs", per_delta, floor=bare_delta, ratio_aim=4)
    report.add("bytes on the wire per delta", "bytes", wire, floor=bare_wire, aim=60)


async def hold(report: Report, chatd: Bench, floor: Bench) -> None:
    """Turns that are live beside each other."""
    held, fresh = await live(chatd)
    bare, _ = await live(floor)
    spread, there = delays(held), delays(bare)
    report.add(f"deltas lost, {LIVE} live turns at {RATE}/s", "deltas", lost(held), aim=0)
    report.add(f"delay of a delta, {LIVE} live, p50", "ms", spread.p50, floor=there.p50)
    report.add(f"delay of a delta, {LIVE} live, p99", "ms", spread.p99, floor=there.p99, aim=250)
    first = first_parts(fresh)
    report.add(f"first part of a new turn, {LIVE} live, p50", "ms", first.p50, aim=150)


async def endings(report: Report, bench: Bench) -> None:
    """From the last delta to the end of the turn, of long answers."""
    line = await bench.target.line()
    answers = [await bench.ask(line, deltas=2000, rate=400) for _ in range(5)]
    await line.close()
    tail = Spread.of([answer.tail_ms for answer in answers])
    assert lost(answers) == 0
    report.add("last delta to end of turn, 2,000 deltas, p50", "ms", tail.p50, aim=50)


async def production(report: Report, provider_url: str, http: aiohttp.ClientSession) -> None:
    with (
        stage.floor(provider_url) as (floor_url, floor_pid),
        stage.production(provider_url, **_QUIET) as staged,
    ):
        start_up(report, staged)
        async with (
            FloorTarget(floor_url) as bare,
            ChatdTarget(staged.web.url, staged.token, staged.model) as target,
        ):
            chatd, floor = Bench(target, provider_url, http), Bench(bare, provider_url, http)
            await settled(staged.cpu, 10)
            await compare(
                report, chatd, floor, staged.cpu, lambda: processes.cpu_seconds([floor_pid])
            )
            await memory_of_turns(report, chatd, staged)
            await hold(report, chatd, floor)
            await endings(report, chatd)
            await measure_fan_out(report, chatd, floor, staged, floor_pid)
            await measure_idle_sockets(report, target, staged)
            await measure_reads(report, target, chatd, staged)
        used = ", ".join(f"{role} {seconds:.0f}" for role, seconds in staged.cpu_by_role().items())
        report.note(f"CPU seconds of the whole run by process: {used}")


def start_up(report: Report, staged: stage.Staged) -> None:
    roles = staged.roles()
    total = sum(processes.resident_mib(pid) for pid in roles.values())
    shared = sum(processes.proportional_mib(pid) for pid in roles.values())
    report.add("start-up, until it is ready", "s", staged.started_in_seconds, aim=5)
    report.add("memory of all processes of chatd, resident", "MiB", total, aim=400)
    report.add("the same, shared pages counted once", "MiB", shared)


async def memory_of_turns(report: Report, bench: Bench, staged: stage.Staged) -> None:
    def held() -> float:
        return sum(processes.resident_mib(pid) for pid in staged.roles().values())

    lines = await bench.lines(LIVE)
    before = held()
    answering = [asyncio.create_task(bench.ask(line, deltas=200, rate=RATE)) for line in lines]
    await asyncio.sleep(3)
    during = held()
    await asyncio.gather(*answering)
    await asyncio.gather(*(line.close() for line in lines))
    report.add("memory per live turn", "KiB", max(during - before, 0) / LIVE * 1024)


async def newcomer(report: Report, provider_url: str, http: aiohttp.ClientSession) -> None:
    """One process on SQLite: all of a hundred turns are taken."""
    with stage.single(provider_url, **_QUIET) as staged:
        async with ChatdTarget(staged.web.url, staged.token, staged.model) as target:
            bench = Bench(target, provider_url, http)
            one = first_parts(await bench.one_at_a_time(30))
            answers = await bench.at_once(LIVE, deltas=5, rate=RATE)
            report.add("SQLite: first part, one at a time, p50", "ms", one.p50)
            report.add("SQLite: 100 at once, refused or lost", "turns", lost(answers), aim=0)
            first = first_parts(answers)
            report.add("SQLite: first part, 100 at once, p50", "ms", first.p50, aim=1000)


async def with_side_calls(report: Report, provider_url: str, http: aiohttp.ClientSession) -> None:
    """What a turn costs with its title and label, as it is by default."""
    settings = {**_QUIET, "CHATD_SIDE_CALLS": "true"}
    with stage.production(provider_url, **settings) as staged:
        async with ChatdTarget(staged.web.url, staged.token, staged.model) as target:
            bench = Bench(target, provider_url, http)
            cost = await cpu_per_turn(bench, staged.cpu, turns=30)
            report.add("CPU per turn with the label that a model writes", "ms", cost)


async def gateway(report: Report, arguments: argparse.Namespace) -> None:
    """The figures that any OpenAI-compatible server has, beside the floor."""
    with stage.provider(arguments.provider_port) as provider_url, stage.floor(provider_url) as bare:
        print(f"provider for the target: {provider_url}/v1 (any model and key)", flush=True)
        async with (
            aiohttp.ClientSession() as http,
            FloorTarget(bare[0]) as floor,
            GatewayTarget(arguments.target, arguments.key, arguments.model) as target,
        ):
            there, here = Bench(target, provider_url, http), Bench(floor, provider_url, http)
            mine, lowest = await latency(there, lambda: 0.0), await latency(here, lambda: 0.0)
            for count in mine:
                for name in ("p50", "p95", "p99"):
                    value, bound = getattr(mine[count], name), getattr(lowest[count], name)
                    report.add(f"first part, {count} at once, {name}", "ms", value, floor=bound)
            held, _ = await live(there)
            report.add(f"deltas lost, {LIVE} live at {RATE}/s", "deltas", lost(held))
            report.add("delay of a delta, p99", "ms", delays(held).p99)


async def main(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    report = Report(arguments.model if arguments.target else "chatd")
    if arguments.target:
        await gateway(report, arguments)
    else:
        with stage.provider() as provider_url:
            async with aiohttp.ClientSession() as http:
                await production(report, provider_url, http)
                await newcomer(report, provider_url, http)
                await with_side_calls(report, provider_url, http)
    report.note(f"the run took {time.monotonic() - began:.0f} s")
    print("\n" + report.table())
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    report.write(arguments.json)
    print(f"\nwritten to {arguments.json}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=ROOT / ".bench" / "chat.json")
    parser.add_argument("--target", default="", help="base URL of another server, up to /v1")
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", default="bench")
    parser.add_argument("--provider-port", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    stage.use_uvloop()
    asyncio.run(main(_arguments()))
