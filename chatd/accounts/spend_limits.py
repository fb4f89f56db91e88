"""The spending limits of single people and groups: columns of their rows, written here alone."""

from chatd.accounts.models import Group, User
from chatd.core.clock import now


def set_spend_limit(holder: User | Group, micros: int | None) -> None:
    """Give a locked person or group a limit of their own; None takes it away."""
    holder.chat_spend_limit_micros = micros
    holder.updated_at = now()
    holder.save(update_fields=["chat_spend_limit_micros", "updated_at"])
