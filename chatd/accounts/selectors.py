"""Reads of people and organisations."""

from uuid import UUID

from chatd.accounts.models import Organization, User


def list_organizations_for(user: User) -> list[Organization]:
    """Return the live organisations the user is a member of, by name."""
    return list(Organization.objects.filter(memberships__user=user, deleted=False).order_by("name"))


def own_organization(user: User) -> UUID | None:
    """Return the organisation a request that names none is about.

    That is the default one for its members, else the user's only one; None when that is open.
    """
    joined = list_organizations_for(user)
    for organization in joined:
        if organization.is_default:
            return organization.pk
    return joined[0].pk if len(joined) == 1 else None
