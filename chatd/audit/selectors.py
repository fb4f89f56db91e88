"""Reads of the audit log."""

from django.db import connection

# Each step asks the index for the next greater kind: so many steps as there are kinds, however
# many entries there are of each.
_KINDS = """
    WITH RECURSIVE kinds(kind) AS (
        SELECT MIN(resource_type) FROM audit_auditentry
        UNION ALL
        SELECT (SELECT MIN(resource_type) FROM audit_auditentry WHERE resource_type > kind)
        FROM kinds WHERE kind IS NOT NULL
    )
    SELECT kind FROM kinds WHERE kind IS NOT NULL
"""


def resource_types() -> list[str]:
    """Return the kinds of things that there are entries about, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(_KINDS)
        return [kind for (kind,) in cursor.fetchall()]
