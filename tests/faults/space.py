"""Uploads without room: where they are stored, and where they are spooled on their way.

A file is a row of the database, so its disk is that of PostgreSQL; a large body is a temporary file
of the web process first. PostgreSQL gets a small disk for files, where one can be mounted; to a web
a limit of the size of files is what a full disk looks like.
"""

import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.faults.caller import Answer, once, wrong_with
from tests.faults.deployment import Stage

UPLOADS = "/api/experimental/chats/files"
_FILE_BYTES = 9 * 1024 * 1024
_DISK_BYTES = 24 * 1024 * 1024
_WEB_BYTES = 6 * 1024 * 1024
"""More than a web process writes to its log, less than a file."""


def no_room_for_uploads(stage: Stage, chance: random.Random) -> list[str]:
    """Fill the disk that files lie on, then that of the webs; then there is room again."""
    kept: dict[str, bytes] = {}
    refused = []
    expected = 1
    with _small_disk(stage) as is_small:
        if is_small:
            expected += 1
            refused += _uploaded(stage, chance, kept, until_refused=4)
            time.sleep(chance.uniform(0, 1))
    with _limited(stage):
        refused += _uploaded(stage, chance, kept, until_refused=1)
    problems = [wrong_with(answer) for answer in refused]
    found = [f"an upload without room: {problem}" for problem in problems if problem]
    if len(refused) != expected:
        found.append(f"{len(refused)} of {expected} uploads were refused")
    if _uploaded(stage, chance, kept, until_refused=1):
        found.append("an upload was refused though there was room again")
    return found + _differences(stage, kept)


@contextmanager
def _small_disk(stage: Stage) -> Iterator[bool]:
    """Have files stored on a disk of few bytes; False where none can be mounted."""
    server = stage.deployment.postgres
    folder = server.folder / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        folder.rmdir()
        yield False
        return
    try:
        if server.account is not None:
            shutil.chown(folder, server.account)
        _execute(stage, f"CREATE TABLESPACE small LOCATION '{folder}'")
        _execute(stage, "ALTER TABLE chats_chatfile SET TABLESPACE small")
        yield True
        _execute(stage, "ALTER TABLE chats_chatfile SET TABLESPACE pg_default")
        _execute(stage, "CHECKPOINT")  # what was moved is removed with it
        _execute(stage, "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def _execute(stage: Stage, statement: str) -> None:
    with psycopg.connect(stage.deployment.database_url, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def _limited(stage: Stage) -> Iterator[None]:
    """Let webs write no large file: to them that is a disk that is full."""
    webs = list(stage.deployment.webs)
    for web in webs:
        resource.prlimit(web.pid, resource.RLIMIT_FSIZE, (_WEB_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        for web in webs:
            resource.prlimit(web.pid, resource.RLIMIT_FSIZE, unlimited)


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
