"""The clock by which processes judge each other: that of the database.

A lease is written by one process and judged by another. By their own clocks one that is an hour off
would take every turn away from the others, or let its own be taken. SQLite has no clock of its own,
and one machine.
"""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from chatd.core.clock import now


def shared_now() -> datetime:
    """Return the current instant, aware, in UTC; on PostgreSQL one short query."""
    if connection.vendor == "sqlite":
        return now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        instant: datetime = cursor.fetchone()[0]
    return instant


def from_now(seconds: float) -> datetime | Combinable:
    """Return the instant in so many seconds, to be written in a statement."""
    span = timedelta(seconds=seconds)
    if connection.vendor == "sqlite":
        return now() + span
    return ExpressionWrapper(Now() + Value(span), output_field=DateTimeField())
