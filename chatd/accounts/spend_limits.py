"""The spending limits of single people and groups: columns of their rows, written here alone."""

from uuid import UUID

from chatd.accounts.models import Group, User
from chatd.core.clock import now


def lock_user(user_id: UUID) -> User | None:
    """Return a person, locked until the transaction ends; None for an unknown or deleted one."""
    return User.objects.live().select_for_update(no_key=True).filter(pk=user_id).first()


def lock_group(group_id: UUID) -> Group | None:
    """Return a group, locked until the transaction ends; None for an unknown one."""
    found = Group.objects.select_for_update(no_key=True, of=("self",))
    return found.filter(pk=group_id, organization__deleted=False).first()


def set_spend_limit(holder: User | Group, micros: int | None) -> None:
    """Give a locked person or group a limit of their own; None takes it away."""
    holder.chat_spend_limit_micros = micros
    holder.updated_at = now()
    holder.save(update_fields=["chat_spend_limit_micros", "updated_at"])
