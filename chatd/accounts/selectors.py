"""Reads of people and organisations."""

from chatd.accounts.models import Organization, User


def list_organizations_for(user: User) -> list[Organization]:
    """Return the live organisations the user is a member of, by name."""
    return list(Organization.objects.filter(memberships__user=user, deleted=False).order_by("name"))
