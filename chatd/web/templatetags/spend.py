"""Template filters of what was spent."""

from django import template

from chatd.web.spend.names import name_of_kind

register = template.Library()


@register.filter
def kind_of_call(kind: str) -> str:
    """Return what a kind of calls is called."""
    return name_of_kind(kind)
