"""Uploads without room: where they are stored, and where they are spooled on their way.

A file is a row of the database, so its disk is that of PostgreSQL; a large body is a temporary file
of the web process first. A limit of the size of files is what a full disk looks like to either.
"""

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.faults.caller import Answer, once, wrong_with
from tests.faults.deployment import Stage

UPLOADS = "/api/experimental/chats/files"
_FILE_BYTES = 9 * 1024 * 1024
_ROOM_BYTES = 12 * 1024 * 1024
_WEB_BYTES = 6 * 1024 * 1024
"""More than a web process writes to its log, less than a file."""

_LEAST_BYTES = 20 * 1024 * 1024
"""A segment of the write-ahead log, which must fit, has 16 MiB."""

_SIZE = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'chats_chatfile'"


def no_room_for_uploads(stage: Stage, chance: random.Random) -> list[str]:
    """Fill the disk of the database, then that of the webs; then there is room again."""
    deployment = stage.deployment
    kept: dict[str, bytes] = {}
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        [taken] = connection.execute(_SIZE).fetchone() or (0,)
        room = max(int(taken) + _ROOM_BYTES, _LEAST_BYTES)
    with _limited(lambda: deployment.postgres.pids, room):
        refused = _uploaded(stage, chance, kept, until_refused=room // _FILE_BYTES + 3)
        time.sleep(0.5)
    with _limited(lambda: [web.pid for web in deployment.webs], _WEB_BYTES):
        refused += _uploaded(stage, chance, kept, until_refused=1)
    found = [
        f"an upload without room: {problem}"
        for answer in refused
        if (problem := wrong_with(answer))
    ]
    if len(refused) != 2:
        found.append(f"{len(refused)} of 2 uploads were refused")
    if _uploaded(stage, chance, kept, until_refused=1):
        found.append("an upload was refused though there was room again")
    return found + _differences(stage, kept)


@contextmanager
def _limited(processes: Callable[[], Sequence[int]], size: int) -> Iterator[None]:
    """Let processes, and those that they start, write no file beyond a size."""
    _limit(processes(), str(size))
    try:
        yield
    finally:
        _limit(processes(), "unlimited")


def _limit(pids: Sequence[int], size: str) -> None:
    """Change soft limits as the account that a process runs under: root may not for others."""
    for pid in pids:
        with suppress(FileNotFoundError):  # it has ended meanwhile
            owner = Path(f"/proc/{pid}").stat().st_uid
            subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={size}:"], user=owner)


def _uploaded(
    stage: Stage, chance: random.Random, kept: dict[str, bytes], *, until_refused: int
) -> list[Answer]:
    """Upload at most so many files, until one is refused; return the refusal."""
    place = stage.place
    path = f"{UPLOADS}?organization={place.organization_id}"
    for _ in range(until_refused):
        body = chance.randbytes(_FILE_BYTES // 2).hex().encode()
        answer = once(
            chance.choice(place.addresses()),
            place.people[0].token,
            "POST",
            path,
            body,
            headers={
                "Content-Type": "text/plain",
                "Content-Disposition": 'attachment; filename="much.txt"',
            },
        )
        if answer.status != 201:
            return [answer]
        kept[answer.body["id"]] = body
    return []


def _differences(stage: Stage, kept: dict[str, bytes]) -> list[str]:
    """Return what is stored otherwise than it was answered."""
    place = stage.place
    found = []
    for file_id, body in kept.items():
        answer = once(place.addresses()[0], place.people[0].token, "GET", f"{UPLOADS}/{file_id}")
        if (answer.status, answer.raw) != (200, body):
            found.append(f"file {file_id} comes back with {answer.status}, {len(answer.raw)} bytes")
    with psycopg.connect(stage.deployment.database_url, autocommit=True) as connection:
        [stored] = connection.execute("SELECT count(*) FROM chats_chatfile").fetchone() or (0,)
        connection.execute("TRUNCATE chats_chatfile CASCADE")
    if stored != len(kept):
        found.append(f"{stored} files are stored, {len(kept)} were answered 201")
    return found
