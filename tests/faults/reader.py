"""A person who follows a chat through everything, as the page does.

A connection that ends is opened again with the id of the newest message; then the history is read
once, because what was cut from it meanwhile no socket tells. `seen` has every message that was
ever shown as stored.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.faults.caller import Caller
from tests.support.client import Client, Follower

_LOOK_SECONDS = 0.05
_CLEAN_CODES = (1000, 1001, 1006, 1012)
"""Of closed sockets that a client opens again; 1006 is a connection that was cut."""


class Reader(threading.Thread):
    """Follows until it is left."""

    def __init__(
        self,
        chat_id: str,
        addresses: Callable[[], Sequence[str]],
        token: str,
        caller: Caller,
        chance: random.Random,
    ) -> None:
        super().__init__(name=f"reader {chat_id[:8]}", daemon=True)
        self.chat_id = chat_id
        self.messages: dict[int, Any] = {}
        self.seen: dict[int, str] = {}
        self.status = ""
        self.queue: list[Any] = []
        self.connections = 0
        self.unclean: list[str] = []
        self._addresses = addresses
        self._token = token
        self._caller = caller
        self._chance = chance
        self._left = threading.Event()
        self.read_again = threading.Event()
        """Set by who edited a message: what follows it is gone, which no socket tells."""

    def wait_while_busy(self, seconds: float) -> None:
        """Return when the chat is shown at rest, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.status in ("", "pending", "running") and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def leave(self) -> None:
        self._left.set()

    def run(self) -> None:
        while not self._left.is_set():
            try:
                self._follow_once()
            except InvalidHandshake as refusal:
                self._note_refusal(refusal)
            except (OSError, WebSocketException, TimeoutError):
                pass
            except BaseException as error:
                self.unclean.append(f"follower of {self.chat_id}: {error!r}"[:300])
            self._left.wait(self._chance.uniform(0.1, 0.6))

    def _note_refusal(self, refusal: InvalidHandshake) -> None:
        answer = getattr(refusal, "response", None)
        status = getattr(answer, "status_code", 0)
        if status >= 500 and (status != 503 or "Retry-After" not in answer.headers):
            self.unclean.append(f"socket of {self.chat_id}: {status} {answer.body!r}"[:300])

    def _follow_once(self) -> None:
        client = Client(self._chance.choice(self._addresses()), self._token)
        newest = max(self.messages, default=0)
        follower = client.follow(self.chat_id, after_id=newest)
        self.connections += 1
        self.queue = []  # a snapshot tells of a queue only when there is one
        try:
            self._resync()
            self._apply_until_closed(follower)
        finally:
            follower.close()
        if follower.close_code not in _CLEAN_CODES:
            self.unclean.append(f"socket of {self.chat_id}: closed with {follower.close_code}")
        if follower._failure is not None:
            raise follower._failure

    def _apply_until_closed(self, follower: Follower) -> None:
        done = 0
        while not self._left.is_set():
            events = follower.events[done:]
            done += len(events)
            cuts = [self._apply(event) for event in events]
            if any(cuts) or self.read_again.is_set():
                self.read_again.clear()
                self._resync()
            if not events and not follower._thread.is_alive():
                return
            if not events:
                self._left.wait(_LOOK_SECONDS)

    def _apply(self, event: Any) -> bool:
        """Apply an event; True when history was cut, so that it has to be read again."""
        match event["type"]:
            case "status":
                self.status = event["status"]["status"]
            case "queue_update":
                self.queue = event.get("queued_messages", [])
            case "message":
                message = event["message"]
                is_old = message["id"] <= max(self.messages, default=0)
                self._keep(message)
                return is_old
        return False

    def _keep(self, message: Any) -> None:
        self.messages[message["id"]] = message
        self.seen[message["id"]] = message["role"]

    def _resync(self) -> None:
        """Take over the history; what came in while it was read is newer."""
        page = all_messages(self._caller, self.chat_id)
        newest = max((message["id"] for message in page), default=0)
        newer = {id_: message for id_, message in self.messages.items() if id_ > newest}
        self.messages = {}
        for message in page:
            self._keep(message)
        self.messages |= newer


def all_messages(caller: Caller, chat_id: str) -> list[Any]:
    """Return the visible messages, oldest first."""
    found: list[Any] = []
    while True:
        before = f"&before_id={found[-1]['id']}" if found else ""
        page = caller.read(f"/api/experimental/chats/{chat_id}/messages?limit=200{before}")
        found += page["messages"]
        if not page["has_more"]:
            return found[::-1]
