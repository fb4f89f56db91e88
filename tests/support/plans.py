"""How the database would answer: from an index, or by going through a whole table."""

from collections.abc import Callable, Collection
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext


def analyze() -> None:
    """Have the planner know how large the tables are."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def statements(run: Callable[[], Any]) -> list[str]:
    """Return the SQL that `run` sends."""
    with CaptureQueriesContext(connection) as captured:
        run()
    return [str(query["sql"]) for query in captured.captured_queries]


def scans(read: Callable[[], Any], tables: Collection[str]) -> list[str]:
    """Return the steps of the plans of `read` that go through a whole one of these tables."""
    found = []
    for sql in statements(read):
        if sql.startswith(("SELECT", "DELETE", "UPDATE")):
            found += [step for step in steps(sql) if is_scan(step, tables)]
    return found


def steps(sql: str) -> list[str]:
    """Return the steps of the plan of a statement."""
    how = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}")
        return [str(row[-1]) for row in cursor.fetchall()]


def ordered_steps(sql: str) -> list[str]:
    """Return the steps of a plan that sorts only if no index has the order.

    What a planner prefers for few rows hangs on how full the pages of the table happen to be.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_sort = off")
        try:
            return steps(sql)
        finally:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_sort = on")


def sorts_everything(step: str) -> bool:
    """Tell whether a step puts all rows in order, not only those that an index holds together."""
    if connection.vendor == "postgresql":
        return step.strip().removeprefix("->").strip().startswith("Sort  (")
    return step.startswith("USE TEMP B-TREE FOR ORDER BY")


def is_scan(step: str, tables: Collection[str]) -> bool:
    """Tell whether a step goes through a whole one of these tables."""
    words = step.replace(",", " ").split()
    named = any(table in words for table in tables)
    if connection.vendor == "postgresql":
        return named and "Seq Scan" in step
    return named and words[0] == "SCAN" and "INDEX" not in words
