"""Pins: the positions 1..n of an owner's pinned chats, always dense.

Every change takes the owner's row as a lock first, so that concurrent pins line up. Pins do not
touch `updated_at`.
"""

from uuid import UUID

from chatd.accounts.models import User
from chatd.chats.models import Chat
from chatd.core.errors import bad_request


def check_pin(chat: Chat, position: int) -> None:
    """Raise ChatdError 400 when `position` (0 unpins) cannot be given to `chat`."""
    if position < 0:
        raise bad_request("Pin order must be non-negative.")
    if position > 0 and chat.archived:
        raise bad_request("Cannot pin an archived chat.")
    if position > 0 and chat.parent_chat_id is not None:
        raise bad_request("Cannot pin a child chat.")


def lock_pins(owner_id: UUID) -> None:
    """Make every other change of this owner's pins wait for this transaction."""
    User.objects.select_for_update(no_key=True).filter(pk=owner_id).values_list("pk").first()


def lock_pins_of(chat_id: UUID) -> None:
    """As `lock_pins`, for the owner of a chat. Comes before the lock of the chat itself."""
    owner_id = Chat.objects.filter(pk=chat_id).values_list("owner_id", flat=True).first()
    if owner_id is not None:
        lock_pins(owner_id)


def set_pin(chat: Chat, position: int) -> None:
    """Unpin (0), pin at the end (was unpinned), or move (clamped to 1..n). In a transaction."""
    lock_pins(chat.owner_id)
    order = _pinned_ids(chat.owner_id)
    pinned = chat.pk in order
    if pinned:
        order.remove(chat.pk)
    if position > 0:
        index = min(position, len(order) + 1) - 1 if pinned else len(order)
        order.insert(index, chat.pk)
    else:
        Chat.objects.filter(pk=chat.pk).update(pin_order=0)
    _renumber(order)


def _pinned_ids(owner_id: UUID) -> list[UUID]:
    pinned = Chat.objects.filter(owner_id=owner_id, archived=False, pin_order__gt=0)
    return list(pinned.order_by("pin_order", "pk").values_list("pk", flat=True))


def _renumber(order: list[UUID]) -> None:
    for position, chat_id in enumerate(order, start=1):
        Chat.objects.filter(pk=chat_id).exclude(pin_order=position).update(pin_order=position)
