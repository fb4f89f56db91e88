"""`/chats/watch`: what happens to the caller's own chats, one JSON object per frame."""

from collections.abc import AsyncIterator
from typing import Any

from chatd.accounts.policy import may_read_chats
from chatd.core.errors import forbidden
from chatd.live.messages import owner_group
from chatd.sockets.consumer import OneWaySocket


class WatchConsumer(OneWaySocket):
    """Forwards watch events; there is no snapshot and no replay."""

    async def subscribe(self) -> list[str]:
        if not may_read_chats(self.actor.user):
            raise forbidden(detail="This token may not be used to read chats.")
        return [owner_group(self.actor.user.pk)]

    async def frames_for(self, items: list[Any], *, resync: bool) -> AsyncIterator[str]:
        for payload in items:
            yield payload.decode() + "\n"

    async def live_watch(self, message: dict[str, Any]) -> None:
        self.deliver(message["payload"])
