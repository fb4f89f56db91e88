"""The faults. Each does harm to a deployment at work and returns when the harm has ended.

What is killed is started again after a moment, as a supervisor would; nothing else is repaired.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import psycopg
import redis

from tests.faults.caller import once
from tests.faults.deployment import Stage
from tests.faults.load import CHATS, SETTLE_SECONDS
from tests.faults.provider import QUICK
from tests.faults.slow import deaf_and_vanished_clients
from tests.faults.space import no_room_for_uploads
from tests.faults.verdict import Inspector, Row
from tests.support import services
from tests.support.client import text_part

BACKLOG = int(os.environ.get("CHATD_TEST_FAULT_BACKLOG", "60"))


Strike = Callable[[Stage, random.Random], list[str] | None]
"""What it returns are troubles of its own that it saw."""


def worker_killed(stage: Stage, chance: random.Random) -> None:
    deployment = stage.deployment
    deployment.take_worker(chance).kill()
    time.sleep(chance.uniform(0, 1))
    deployment.fill()


def web_killed(stage: Stage, chance: random.Random) -> None:
    """People are sent to the dead one for a moment."""
    deployment = stage.deployment
    chance.choice(deployment.webs).kill()
    time.sleep(chance.uniform(0.1, 1))
    deployment.webs = [web for web in deployment.webs if web.is_alive]
    deployment.fill()


def redis_killed(stage: Stage, chance: random.Random) -> None:
    """What it held is lost: the broker's messages, parts that stream, every subscription."""
    stage.deployment.redis.kill()
    time.sleep(chance.uniform(0.5, 4))
    stage.deployment.redis.start()


def redis_emptied(stage: Stage, chance: random.Random) -> None:
    with redis.Redis.from_url(stage.deployment.redis.url) as store:
        for _ in range(chance.randint(1, 4)):
            store.flushall()
            time.sleep(chance.uniform(0.1, 0.8))


def postgres_killed(stage: Stage, chance: random.Random) -> None:
    stage.deployment.postgres.kill()
    time.sleep(chance.uniform(0, 4))
    stage.deployment.postgres.start()


def postgres_restarted(stage: Stage, chance: random.Random) -> None:
    """A fast shutdown: sessions are told, and ended in the middle of what they do."""
    stage.deployment.postgres.stop()
    time.sleep(chance.uniform(0, 3))
    stage.deployment.postgres.start()


def connections_exhausted(stage: Stage, chance: random.Random) -> None:
    """A foreign client takes every connection there is, half of the time the product's too."""
    url = stage.deployment.database_url
    taken: list[psycopg.Connection[tuple[object, ...]]] = []
    until = time.monotonic() + chance.uniform(3, 6)
    with psycopg.connect(url, autocommit=True) as own:
        taken += _as_many_as_there_are(url)
        if chance.random() < 0.5:
            own.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> ALL(%s)"
                " AND backend_type = 'client backend'",
                [[own.info.backend_pid, *(each.info.backend_pid for each in taken)]],
            )
        try:
            while time.monotonic() < until:
                taken += _as_many_as_there_are(url)
                time.sleep(0.02)
        finally:
            for connection in taken:
                connection.close()


def _as_many_as_there_are(url: str) -> list[psycopg.Connection[tuple[object, ...]]]:
    taken = []
    with suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(url, autocommit=True))
    return taken


def provider_stalled(stage: Stage, chance: random.Random) -> None:
    """Headers that never come, and streams that stop in the middle."""
    stage.provider.stalls = chance.uniform(0.3, 0.9)
    time.sleep(chance.uniform(2, 4))
    stage.provider.stalls = 0.0


def broker_backlog(stage: Stage, chance: random.Random) -> list[str]:
    """Turns are sent while no worker is there; half of the time the broker loses its list."""
    deployment = stage.deployment
    for worker in deployment.workers:
        worker.signal(signal.SIGTERM)
    for worker in deployment.workers:
        worker.wait()
    deployment.workers.clear()
    names = [f"{QUICK}-{number}-{chance.randrange(10**9)}" for number in range(BACKLOG)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(partial(_created, stage, random.Random(names[0])), names))
    if chance.random() < 0.5:
        with redis.Redis.from_url(deployment.redis.url) as store:
            store.delete("chatd:celery:turns")
    deployment.fill()
    inspector = Inspector(deployment.database_url)
    deadline = time.monotonic() + SETTLE_SECONDS
    while (left := _unanswered(inspector, made)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"{len(left)} of {BACKLOG} turns were not answered once: {left[:3]}"] if left else []


def _created(stage: Stage, chance: random.Random, text: str) -> str:
    place = stage.place
    body = {"organization_id": place.organization_id, "content": [text_part(text)]}
    person, url = chance.choice(place.people), chance.choice(place.addresses())
    answer = once(url, person.token, "POST", CHATS, body)
    assert answer.status == 201, (answer.status, answer.raw[:300])
    return str(answer.body["id"])


def _unanswered(inspector: Inspector, chat_ids: list[str]) -> list[Row]:
    """Return the chats that do not rest with one answer."""
    rows = inspector.rows(
        "SELECT id::text, status, last_error, updated_at, dispatched_at, (SELECT count(*)"
        " FROM chats_chatmessage m WHERE m.chat_id = c.id AND role = 'assistant'"
        " AND visibility <> 'model') AS answers"
        " FROM chats_chat c WHERE id = ANY(%s::uuid[])",
        chat_ids,
    )
    return [row for row in rows if (row["status"], row["answers"]) != ("waiting", 1)]


def clock_jumped(stage: Stage, chance: random.Random) -> list[str]:
    """The wall clock of one worker is an hour ahead, an hour behind, or in the next day."""
    deployment, library = stage.deployment, services.faketime()
    assert library, "no clock can be changed without libfaketime"
    offset = deployment.product.folder / f"clock-{chance.randrange(10**9)}"
    offset.write_text("+0")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    odd = deployment.start_worker(**faked)
    odd.wait_for_log(" ready.")
    old = deployment.take_worker(chance)
    deployment.workers.append(odd)
    old.signal(signal.SIGTERM)
    for _ in range(2):
        to_midnight = 86_400 - int(time.time()) % 86_400
        offset.write_text(chance.choice(["+3600", "-3600", f"+{to_midnight}"]))
        told = subprocess.run(["date", "+%s"], env=faked, capture_output=True, check=True).stdout
        assert abs(int(told) - time.time()) > 60 or to_midnight < 120, "no clock was changed"
        time.sleep(chance.uniform(2, 4))
    offset.write_text("+0")
    return [] if old.wait() == 0 else ["the worker that made room did not end well"]


def everything_replaced(stage: Stage, chance: random.Random) -> list[str]:
    """A rolling restart: the new ones are ready before the old ones are asked to end."""
    deployment = stage.deployment
    old_webs, deployment.webs = deployment.webs, []
    old_workers, deployment.workers = deployment.workers, []
    deployment.others = [web.url for web in old_webs]
    deployment.fill()
    deployment.others = []
    ending = [*old_webs, *old_workers]
    chance.shuffle(ending)
    for process in ending:
        process.signal(signal.SIGTERM)
        time.sleep(chance.uniform(0, 1))
    codes = {process.name: process.wait() for process in ending}
    return [f"{name} ended with {code}" for name, code in codes.items() if code]


STRIKES: dict[str, Strike] = {
    each.__name__: each
    for each in (
        worker_killed,
        web_killed,
        redis_killed,
        redis_emptied,
        postgres_killed,
        postgres_restarted,
        connections_exhausted,
        provider_stalled,
        everything_replaced,
        broker_backlog,
        clock_jumped,
        no_room_for_uploads,
        deaf_and_vanished_clients,
    )
}
