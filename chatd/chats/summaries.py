"""What a chat says about its last turn, when that comes after the turn (`last_turn_summary`).

Does not belong here: what is said in the transition that ends a turn (`moves`), the words of a
label (`turns.label_text`).
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from chatd.chats.charges import charge_hidden_cost
from chatd.chats.models import Chat
from chatd.chats.new_messages import NewMessage
from chatd.chats.transition import lock_chat, watch_after_commit

FINISHED = "Finished latest turn"


@transaction.atomic
def store_summary(
    chat_id: UUID, summary: str, *, ended_at: datetime, costs: Sequence[NewMessage] = ()
) -> bool:
    """Record what a label cost and store it; False when the chat has moved on since `ended_at`.

    `updated_at` stays, so that lists keep their order. Raises the 404.
    """
    chat = lock_chat(chat_id)
    for cost in costs:
        charge_hidden_cost(chat, cost)
    if chat.updated_at != ended_at:
        return False
    Chat.objects.filter(pk=chat_id).update(last_turn_summary=summary)
    chat.last_turn_summary = summary
    watch_after_commit(chat, "summary_change")
    return True
