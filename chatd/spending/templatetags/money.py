"""Template filters of amounts."""

from django import template

from chatd.spending.amounts import exact_dollars

register = template.Library()


@register.filter
def exact(micros: int) -> str:
    """Return micros of a dollar as money, to the last digit."""
    return f"${exact_dollars(micros)}"
