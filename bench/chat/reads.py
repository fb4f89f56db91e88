"""Reads and sends with a short and with a long history: both must take the same time."""

import time
from collections.abc import Awaitable, Callable

from bench.chat.figures import Report
from bench.chat.measures import Bench, Spread, settled
from bench.chat.stage import Staged
from bench.chat.targets import ChatdTarget

SIZES = (1_000, 1_000_000)
ASKED = 150
SENT = 40
_CHATS = "/api/experimental/chats"
_FILL = """
from bench.chat.history import fill
from chatd.accounts.models import User
print(fill(User.objects.get(username="admin").pk, {before}, {wanted}))
"""


async def measure_reads(report: Report, target: ChatdTarget, bench: Bench, staged: Staged) -> None:
    """Ask the same at a thousand and at a million messages of one person."""
    found: list[dict[str, Spread]] = []
    before = 0
    for size in SIZES:
        script = _FILL.format(before=before, wanted=size)
        began = time.monotonic()
        long_chat = staged.product.manage(
            "shell", "--no-imports", "-v", "0", "-c", script, seconds=400
        ).stdout.strip()
        before = size
        if size == SIZES[-1]:
            report.note(f"{size:,} messages were written in {time.monotonic() - began:.0f} s")
        await settled(staged.cpu, 20)
        found.append(await _asked(target, bench, long_chat))
    few, many = found
    for name, spread in many.items():
        ratio = spread.p95 / few[name].p95
        report.add(f"{name}, 1,000 messages, p50", "ms", few[name].p50)
        report.add(f"{name}, 1,000,000 messages, p50", "ms", spread.p50)
        report.add(f"{name}, p95 at 1,000,000 / at 1,000", "times", ratio, aim=1.3)


async def _asked(target: ChatdTarget, bench: Bench, long_chat: str) -> dict[str, Spread]:
    page = await target.get(f"{_CHATS}/{long_chat}/messages?limit=50")
    oldest = page["messages"][-1]["id"]
    asked: dict[str, str] = {
        "list of chats": f"{_CHATS}?limit=50",
        "a chat": f"{_CHATS}/{long_chat}",
        "newest messages": f"{_CHATS}/{long_chat}/messages?limit=50",
        "older messages": f"{_CHATS}/{long_chat}/messages?limit=50&before_id={oldest}",
        "limit check": f"{_CHATS}/usage-limits/status",
    }
    found = {
        name: await _timed(lambda path=path: target.get(path), ASKED)  # type: ignore[misc]
        for name, path in asked.items()
    }
    found["send"] = await _sends(bench)
    return found


async def _timed(ask: Callable[[], Awaitable[object]], times: int) -> Spread:
    for _ in range(10):
        await ask()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - began) * 1000)
    return Spread.of(taken)


async def _sends(bench: Bench) -> Spread:
    line = await bench.target.line()
    taken = []
    for _ in range(SENT):
        answer = await bench.ask(line, deltas=1, rate=50)
        taken.append((answer.heard.answered_at - answer.heard.sent_at) / 1e6)
    await line.close()
    return Spread.of(taken[5:])
