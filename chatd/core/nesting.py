"""How deep a JSON value may go that is stored as somebody gave it."""

from collections.abc import Iterable
from typing import Any

MAX_NESTING = 100
"""Levels of lists and objects; well below what the encoders of Python and of clients take."""


def is_nested_too_deeply(value: Any) -> bool:
    """True for a decoded JSON value of more than `MAX_NESTING` levels; never recurses itself."""
    level = [value]
    for _ in range(MAX_NESTING):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
