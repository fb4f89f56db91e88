"""What administrators are told about secrets that cannot be read."""

from django import template

from chatd.core import coverage

register = template.Library()


@register.simple_tag
def secrets_notice() -> str:
    """Return what is wrong with reading secrets and what to do; blank when all is well."""
    return coverage.secrets_notice()
