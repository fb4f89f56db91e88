"""Template filters of amounts."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chatd.spending.amounts import MICROS, exact_dollars

register = template.Library()


@register.filter
def exact(micros: int) -> str:
    """Return micros of a dollar as money, to the last digit."""
    return f"{'-' if micros < 0 else ''}${exact_dollars(abs(micros))}"


@register.filter
def money(micros: int) -> SafeString:
    """Return micros of a dollar as money in short, with the exact amount for who points at it."""
    short = exact(micros)
    if abs(micros) >= MICROS:
        short = f"{'-' if micros < 0 else ''}${round(abs(micros), -4) / MICROS:,.2f}"
    return format_html('<data value="{}" title="{}">{}</data>', str(micros), exact(micros), short)
