"""What survives: every fault of a seed, one after another, under load; then the verdict on each.

`CHATD_TEST_FAULT_SEEDS` is the number of seeds, `CHATD_TEST_SEED` the first one: the name of a test
tells its own. `CHATD_TEST_FAULTS` names the faults to be played, with commas; without it a seed has
a quarter of them, and the next ones the other quarters.
"""

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.faults.deployment import Stage, started_stage
from tests.faults.load import Load
from tests.faults.logs import LogWatch
from tests.faults.shares import faults_of
from tests.faults.strikes import STRIKES
from tests.faults.verdict import Inspector, Verdict, judge
from tests.support import services
from tests.support.product import has_redis_server

RUNS_ON = "split"
FIRST_SEED = int(os.environ.get("CHATD_TEST_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("CHATD_TEST_FAULT_SEEDS", "2")))
NAMED = [name for name in os.environ.get("CHATD_TEST_FAULTS", "").split(",") if name]

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Outcome:
    """How one fault of one seed went; `seconds` are those from its end until all was well."""

    seed: int
    fault: str
    harm_seconds: float
    seconds: float
    verdict: Verdict
    load: Load
    lines: int
    tracebacks: Counter[str]

    def __str__(self) -> str:
        counts = self.load.counts
        promised = sum(len(work.promised) for work in self.load.works)
        connections = sum(reader.connections for reader in self.load.readers)
        return (
            f"seed {self.seed:3} {self.fault:22} {self.verdict};"
            f" {self.harm_seconds:4.1f} s of harm, well after {self.seconds:4.1f} s;"
            f" {promised} messages, {connections} connections,"
            f" {counts.repeated} repeated, {counts.refused} answered 503,"
            f" slowest {counts.slowest_seconds:.1f} s; {self.lines} lines of log,"
            f" {self.tracebacks.total()} tracebacks"
        )


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not has_redis_server():
        pytest.skip("no redis-server binary: the deployment cannot be started")
    with started_stage() as started:
        yield started


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_stuck(
    seed: int,
    stage: Stage,
    record_property: Callable[[str, object], None],
) -> None:
    broken = []
    names = NAMED or faults_of(seed, STRIKES)
    playable = [name for name in names if name != "clock_jumped" or services.faketime()]
    for name in playable:
        outcome = play(seed, name, stage)
        log.info("%s\n%s\n%s", outcome, outcome.verdict.in_words(), outcome.tracebacks)
        record_property("fault", str(outcome))
        record_property("verdict", [seed, name, outcome.seconds, outcome.verdict.counts()])
        if not outcome.verdict.is_good:
            broken.append(f"{outcome}\n{outcome.verdict.in_words()}")
    books = stage.deployment.product.manage("check_spend", check=False)
    if books.returncode:
        broken.append(books.stdout + books.stderr)
    assert not broken, "\n".join(broken)
    if playable != names:
        pytest.skip("all went well, but no clock was changed: install libfaketime")


def play(seed: int, name: str, stage: Stage) -> Outcome:
    """Let people work, do harm, let them go on for a moment, and judge."""
    chance = random.Random(f"{seed} {name}")
    stage.deployment.fill()
    stage.provider.begin(f"{seed} {name}")
    stage.ledger.booked.clear()
    logs = LogWatch(stage.deployment.product)
    load = Load(stage.place, f"s{seed}-{name}")
    load.start()
    try:
        load.wait_until_busy()
        time.sleep(chance.uniform(0.2, 2))
        began = time.monotonic()
        troubles = STRIKES[name](stage, chance) or []
        ended = time.monotonic()
        time.sleep(chance.uniform(0.2, 1))
        load.end()
        inspector = Inspector(stage.deployment.database_url)
        verdict = judge(load, inspector, stage.provider, stage.ledger.booked)
        verdict.unclean += troubles
        seconds = time.monotonic() - ended
        return Outcome(seed, name, ended - began, seconds, verdict, load, *logs.take())
    finally:
        load.leave()
