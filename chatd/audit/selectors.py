"""Reads of the audit log."""

from django.db import connection

# From one kind to the next by the index on kinds: the number of entries does not matter.
_KINDS = """
WITH RECURSIVE kinds AS (
    SELECT MIN(resource_type) AS kind FROM audit_auditentry
    UNION ALL
    SELECT (SELECT MIN(resource_type) FROM audit_auditentry WHERE resource_type > kinds.kind)
    FROM kinds WHERE kinds.kind IS NOT NULL
)
SELECT kind FROM kinds WHERE kind IS NOT NULL
"""


def resource_types() -> list[str]:
    """Return the kinds of things that there are entries of, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_KINDS)
        return [row[0] for row in cursor.fetchall()]
