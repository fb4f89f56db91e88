"""Who gets the next free slot of a process: not who asked first, but who has had least.

A broker message is a hint. While slots are free its chat starts at once. When they are not, or a
person holds as many as one may, the slot that comes free goes to the person with the fewest
running turns here, of those to who has waited longest for a start, and of theirs to the oldest
chat. So a person with many waiting chats cannot keep others from starting.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Min

from chatd.chats.models import Chat, Status

_REMEMBERED = 10_000
"""People whose last start is remembered; who is forgotten counts as never served."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A person with pending chats: the oldest of them, and since when it waits."""

    chat_id: UUID
    since: datetime


class FairShares:
    """What the turns of one process are shared by. Used from one thread."""

    def __init__(self, *, per_person: int) -> None:
        self._per_person = per_person
        self._running: Counter[UUID] = Counter()
        self._started: OrderedDict[UUID, int] = OrderedDict()
        self._starts = 0

    def has_room_for(self, owner_id: UUID) -> bool:
        """Whether a person may have one more turn."""
        return self._running[owner_id] < self._per_person

    def choose(self, waiting: Mapping[UUID, Waiting]) -> tuple[UUID, UUID] | None:
        """Return the owner and the chat that is next; None when nobody may start."""
        able = [owner for owner in waiting if self.has_room_for(owner)]
        if not able:
            return None
        owner = min(
            able,
            key=lambda each: (
                self._running[each],
                self._started.get(each, 0),
                waiting[each].since,
                each,
            ),
        )
        return owner, waiting[owner].chat_id

    def start(self, owner_id: UUID) -> None:
        self._running[owner_id] += 1
        self._starts += 1
        self._started[owner_id] = self._starts
        self._started.move_to_end(owner_id)
        while len(self._started) > _REMEMBERED:
            self._started.popitem(last=False)

    def end(self, owner_id: UUID) -> None:
        self._running[owner_id] -= 1
        if not self._running[owner_id]:
            del self._running[owner_id]


def who_waits() -> dict[UUID, Waiting]:
    """Return everybody with pending chats and their oldest one. Reads pending chats only."""
    pending = Chat.objects.filter(status=Status.PENDING, archived=False)
    oldest = pending.values("owner_id").annotate(since=Min("updated_at")).values_list("since")
    found: dict[UUID, Waiting] = {}
    rows = pending.filter(updated_at__in=oldest).values_list("owner_id", "pk", "updated_at")
    for owner_id, chat_id, since in rows.order_by("updated_at", "pk"):
        found.setdefault(owner_id, Waiting(chat_id, since))
    return found
