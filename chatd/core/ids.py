"""Ids as text."""

from uuid import UUID

NIL_UUID = UUID(int=0)
"""What Go clients send for an id that is not set."""


def canonical_uuid(raw: str) -> UUID | None:
    """Return the id that `raw` is the canonical text of, in any letter case; None for others.

    `UUID` itself also reads braces, URNs and hexadecimal without dashes.
    """
    try:
        found = UUID(raw)
    except ValueError:
        return None
    return found if str(found) == raw.lower() else None
