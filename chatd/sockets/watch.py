"""`/chats/watch`: what happens to the caller's own chats, one JSON object per frame."""

from collections.abc import AsyncIterator
from typing import Any

from chatd.live.messages import owner_group
from chatd.sockets.consumer import OneWaySocket


class WatchConsumer(OneWaySocket):
    """Forwards watch events; there is no snapshot and no replay."""

    async def subscribe(self) -> list[str]:
        return [owner_group(self.actor.user.pk)]

    async def frames_for(self, items: list[Any], *, resync: bool) -> AsyncIterator[str]:
        for payload in items:
            yield payload.decode() + "\n"

    async def live_watch(self, message: dict[str, Any]) -> None:
        self.deliver(message["payload"])
