"""Rows held until a transaction ends, so that nobody changes them meanwhile.

They are locked without their keys: rows that refer to them can still be written.
"""

from uuid import UUID

from chatd.accounts.models import Group, User


def lock_user(user_id: UUID) -> User | None:
    """Return a person, locked until the transaction ends; None for an unknown or deleted one."""
    return User.objects.live().select_for_update(no_key=True).filter(pk=user_id).first()


def lock_group(group_id: UUID) -> Group | None:
    """Return a group, locked until the transaction ends; None for an unknown one."""
    found = Group.objects.select_for_update(no_key=True, of=("self",))
    return found.filter(pk=group_id, organization__deleted=False).first()
