"""Which key every stored secret is under: the columns, counts of them, and what to tell people.

Belongs here: reads over all encrypted columns. Does not belong here: re-sealing (`rotation`), the
state of one secret (`fields.secret_state`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from django.apps import apps
from django.apps.registry import Apps
from django.db import DatabaseError, connection
from django.db.models import Count, Model, QuerySet
from django.db.models.functions import Left

from chatd.core.crypto import HEAD_CHARS, KeyRing, KeyRingError, SecretState, key_ring
from chatd.core.fields import EncryptedTextField
from chatd.core.threads import give_back_connections

log = structlog.get_logger(__name__)

_READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A column of secrets."""

    model: type[Model]
    field: EncryptedTextField

    @property
    def name(self) -> str:
        return self.field.name

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.name}"

    def rows(self) -> QuerySet[Model]:
        """Return every row of the table, also those that the model's own manager hides."""
        return self.model._base_manager.all()

    def secrets(self) -> QuerySet[Model]:
        """Return the rows that hold a secret: blank ones are none."""
        return self.rows().filter(**{f"{self.name}__gt": ""})

    def is_in_database(self) -> bool:
        """Tell whether the column was migrated already."""
        meta = self.model._meta
        with connection.cursor() as cursor:
            if meta.db_table not in connection.introspection.table_names(cursor):
                return False
            described = connection.introspection.get_table_description(cursor, meta.db_table)
        return self.field.column in {column.name for column in described}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many secrets are in which state."""

    counts: Counter[SecretState]

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def current(self) -> int:
        return self.counts[SecretState.CURRENT]

    @property
    def older(self) -> int:
        return self.counts[SecretState.OLDER]

    @property
    def clear(self) -> int:
        return self.counts[SecretState.CLEAR]

    @property
    def unreadable(self) -> int:
        return sum(number for state, number in self.counts.items() if state.needs_reentry)


def encrypted_columns(registry: Apps = apps) -> list[EncryptedColumn]:
    """Return every encrypted column of every model, found by the type of its field."""
    return [
        EncryptedColumn(model, field)
        for model in registry.get_models(include_auto_created=True)
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedTextField)
    ]


def count_by_opening(column: EncryptedColumn, ring: KeyRing) -> Coverage:
    """Open every secret of a column and count the states."""
    stored = column.secrets().values_list(column.name, flat=True)
    return Coverage(Counter(map(ring.state, stored.iterator(_READ_AT_ONCE))))


def count_by_key(column: EncryptedColumn, ring: KeyRing) -> Coverage:
    """Count the states in one query by the keys that are named; damage is not seen."""
    heads = column.secrets().order_by().values_list(Left(column.name, HEAD_CHARS))
    counts: Counter[SecretState] = Counter()
    for head, number in heads.annotate(Count("pk")):
        counts[ring.state_by_head(head)] += number
    return Coverage(counts)


def total_by_key(columns: Iterable[EncryptedColumn], ring: KeyRing) -> Coverage:
    """Return the sum of `count_by_key` over columns, in one query."""
    heads = [
        column.secrets()
        .order_by()
        .values(head=Left(column.name, HEAD_CHARS))
        .annotate(number=Count("pk"))
        .values_list("head", "number")
        for column in columns
    ]
    counts: Counter[SecretState] = Counter()
    for head, number in heads[0].union(*heads[1:], all=True) if heads else ():
        counts[ring.state_by_head(head)] += number
    return Coverage(counts)


def total_coverage(coverages: Iterable[Coverage]) -> Coverage:
    """Return the sum."""
    return Coverage(sum((each.counts for each in coverages), Counter()))


def secrets_notice() -> str:
    """Return what is wrong with reading secrets and what to do, for people; blank when all is well.

    One query.
    """
    try:
        ring = key_ring()
    except KeyRingError as error:
        return f"{error} Until that is corrected, secrets can be neither read nor stored."
    if not ring.primary_id:
        return (
            "CHATD_ENCRYPTION_KEYS is empty, so secrets can be neither read nor stored."
            " Set it to the keys that were in use and restart."
        )
    found = total_by_key(encrypted_columns(), ring)
    if not found.unreadable:
        return ""
    return (
        f"{found.unreadable} of {found.total} stored secrets cannot be read: their key is not in"
        " CHATD_ENCRYPTION_KEYS. Add that key at the end of the list and restart,"
        " or enter those secrets again."
    )


def log_secrets_notice() -> None:
    """Say in the log of a process that starts what is wrong with reading secrets."""
    try:
        notice = secrets_notice()
    except DatabaseError:
        return  # not there or not migrated, which the health of the process tells
    finally:
        give_back_connections()
    if notice:
        log.error("secrets cannot be read", what_to_do=notice)
