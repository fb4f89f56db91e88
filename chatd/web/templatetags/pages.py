"""Template filters of the pages."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import orjson
from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chatd.core.clock import now
from chatd.core.words import highlighted

register = template.Library()

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MICROS = 1_000_000


@register.filter
def ago(instant: datetime) -> str:
    """Return how long ago an instant was; a date after a week."""
    seconds = (now() - instant).total_seconds()
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min ago"
    if seconds < _DAY:
        return f"{int(seconds // _HOUR)} h ago"
    if seconds < 2 * _DAY:
        return "yesterday"
    if seconds < 7 * _DAY:
        return f"{int(seconds // _DAY)} days ago"
    return f"{instant.day} {instant:%b %Y}"


@register.filter
def dollars(micros: int) -> str:
    """Return micros of a dollar as money: in cents, and exactly where it is less than a dollar."""
    amount = Decimal(micros) / _MICROS
    if amount >= 1:
        return f"${amount:,.2f}"
    whole, digits = f"{amount:.6f}".rstrip("0").split(".")
    return f"${whole}.{digits:0<2}"


@register.filter
def lookup(mapping: Mapping[str, str], key: str) -> str:
    """Return the value of a key that a template has in a variable."""
    return mapping.get(key, key)


@register.filter
def json_text(value: object) -> str:
    """Return `value` as JSON text for a data attribute; the template escapes it."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


@register.filter
def highlight(text: str, phrases: Sequence[Sequence[str]]) -> SafeString:
    """Return a text as HTML in which the phrases of a search are marked."""
    marked = {False: "{}", True: "<mark>{}</mark>"}
    pieces = (format_html(marked[found], piece) for piece, found in highlighted(text, phrases))
    return SafeString("".join(pieces))
