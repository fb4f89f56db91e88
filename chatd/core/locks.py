"""Locks that keep jobs from getting in each other's way. What they do is safe without, too."""

from zlib import crc32

from django.db import connection


def try_lock(name: str) -> bool:
    """Take a lock until the end of the transaction; False while somebody else holds it.

    SQLite has one writer at a time anyway.
    """
    assert connection.in_atomic_block
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [crc32(name.encode())])
        (taken,) = cursor.fetchone()
    return bool(taken)
