"""Re-sealing of stored secrets under the first key, while others read and change them.

Each row is written by compare-and-set in a transaction of its own: a change made meanwhile is
never overwritten, one row is locked at a time, so that nobody waits in a circle with us, and a
rotation can be stopped anywhere and run again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatd.core.coverage import EncryptedColumn
from chatd.core.crypto import KeyRing, SecretState

BATCH_ROWS = 200

_TRIES = 5
"""How often a secret is tried that others change again and again under an older key."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was done with some rows of a column: `seen` were not under the first key."""

    seen: int
    resealed: int


def reseal(column: EncryptedColumn, ring: KeyRing) -> Iterator[Batch]:
    """Re-seal a column batch by batch; what cannot be read is left as it is.

    Whoever stops asking for the next batch stops the rotation. Raises KeyRingError.
    """
    last: Any = None
    while rows := _next_rows(column, ring, after=last):
        done = [_reseal_row(column, ring, key, stored) for key, stored in rows]
        yield Batch(seen=len(rows), resealed=sum(done))
        last = rows[-1][0]


def _next_rows(column: EncryptedColumn, ring: KeyRing, *, after: Any) -> list[tuple[Any, str]]:
    """Return primary key and stored secret of the next rows that are not under the first key."""
    under_first = {f"{column.name}__startswith": ring.prefix}
    rows = column.secrets().exclude(**under_first)
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return list(rows.order_by("pk").values_list("pk", column.name)[:BATCH_ROWS])


def _reseal_row(column: EncryptedColumn, ring: KeyRing, key: Any, stored: str) -> bool:
    """Return whether the secret was re-sealed; one that changes meanwhile is looked at again."""
    row = column.rows().filter(pk=key)
    for _ in range(_TRIES):
        if ring.state(stored) not in (SecretState.OLDER, SecretState.CLEAR):
            return False
        sealed = ring.encrypt(ring.open(stored))
        if row.filter(**{column.name: stored}).update(**{column.name: sealed}):
            return True
        stored = row.values_list(column.name, flat=True).first() or ""
    return False
