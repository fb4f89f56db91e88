"""People at work while something breaks: chats, turns, queues, interrupts, edits, tools, followers.

What was answered 2xx is a promise: `promised` has every text whose message must be stored once.
Chats of all kinds but the interrupted ones are strict: each message has one whole answer.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.caller import Caller, Counts
from tests.faults.provider import BOOKING
from tests.faults.reader import Reader
from tests.support.client import text_part

CHATS = "/api/experimental/chats"
KINDS = ("plain", "queueing", "editing", "interrupting", BOOKING)
SETTLE_SECONDS = 60.0
_ASK_SECONDS = 3.0


@dataclass(frozen=True)
class Person:
    """Somebody with a token."""

    id: str
    token: str


@dataclass
class Place:
    """What a load needs of the product."""

    addresses: Callable[[], Sequence[str]]
    people: Sequence[Person]
    organization_id: str
    tool_server_id: str


@dataclass
class Work:
    """One chat, and what was promised in it."""

    kind: str
    person: Person
    id: str = ""
    promised: list[str] = field(default_factory=list)
    decided: set[str] = field(default_factory=set)
    """Tool calls in doubt that a person decided about."""
    failure: str = ""

    @property
    def is_strict(self) -> bool:
        return self.kind != "interrupting"


class Writer(threading.Thread):
    """One person in one chat: writes, waits, and in the end sees to it that the chat rests."""

    def __init__(self, load: "Load", work: Work, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._load = load
        self._work = work
        self._chance = random.Random(name)
        self._caller = load.caller(work.person, name)
        self._number = 0

    def run(self) -> None:
        try:
            self._create()
            while not self._load.is_over.is_set():
                self._round()
                self._load.is_over.wait(self._chance.uniform(0.0, 0.3))
            self._rest(until=lambda: self._load.deadline)
        except BaseException as error:
            self._work.failure = f"{self.name}: {error}"[:400]

    def _text(self) -> str:
        self._number += 1
        prefix = f"{BOOKING}-" if self._work.kind == BOOKING else ""
        return f"{prefix}{self.name}-{self._number}"

    def _create(self) -> None:
        text = self._text()
        body: dict[str, Any] = {
            "organization_id": self._load.place.organization_id,
            "content": [text_part(text)],
        }
        if self._work.kind == BOOKING:
            body["mcp_server_ids"] = [self._load.place.tool_server_id]
        answer = self._caller.write("POST", CHATS, body)
        assert answer.status == 201, (answer.status, answer.raw[:300])
        self._work.id = answer.body["id"]
        self._work.promised.append(text)
        self._reader = self._load.follow(self._work, self.name)

    def _round(self) -> None:
        match self._work.kind:
            case "queueing":
                for _ in range(self._chance.randint(2, 4)):
                    self._send()
            case "editing":
                self._rest(until=lambda: self._load.deadline)
                self._edit_last()
            case "interrupting":
                self._send()
                self._load.is_over.wait(self._chance.uniform(0.0, 0.5))
                if self._chance.random() < 0.5:
                    self._send(busy="interrupt")
                else:
                    self._interrupt()
            case _:
                self._send()
        self._rest(until=lambda: self._load.deadline)

    def _send(self, *, busy: str = "queue") -> None:
        text = self._text()
        body = {"content": [text_part(text)], "busy_behavior": busy}
        answer = self._caller.write("POST", f"{CHATS}/{self._work.id}/messages", body)
        if answer.status < 300:
            self._work.promised.append(text)
        else:
            self._unexpected("a message", answer.status, answer.raw)

    def _edit_last(self) -> None:
        page = self._caller.read(f"{CHATS}/{self._work.id}/messages?limit=20")
        users = [message["id"] for message in page["messages"] if message["role"] == "user"]
        text = self._text()
        path = f"{CHATS}/{self._work.id}/messages/{users[0]}"
        answer = self._caller.write("PATCH", path, {"content": [text_part(text)]})
        if answer.status < 300:
            self._work.promised.append(text)
            self._reader.read_again.set()
        else:
            self._unexpected("an edit", answer.status, answer.raw)

    def _interrupt(self) -> None:
        answer = self._caller.write("POST", f"{CHATS}/{self._work.id}/interrupt", None)
        if answer.status != 200:
            self._unexpected("an interrupt", answer.status, answer.raw)

    def _unexpected(self, what: str, status: int, raw: bytes) -> None:
        raise AssertionError(f"{what} was refused: {status} {raw[:200]!r}")

    def _rest(self, *, until: Callable[[], float]) -> None:
        """Wait until the chat is idle, deciding what is in doubt. Raises AssertionError.

        As long as the socket shows that it works, it is asked for rarely.
        """
        while True:
            self._reader.wait_while_busy(_ASK_SECONDS)
            chat = self._caller.read(f"{CHATS}/{self._work.id}")
            if chat["status"] == "waiting":
                return
            if chat["status"] == "error":
                self._decide(chat)
            if time.monotonic() > until():
                raise AssertionError(f"{self._work.id} is still {chat['status']}")
            time.sleep(0.2)

    def _decide(self, chat: Any) -> None:
        path = f"{CHATS}/{self._work.id}/calls-in-doubt"
        calls = self._caller.read(path)
        if not calls and self._caller.read(f"{CHATS}/{self._work.id}")["status"] == "error":
            raise AssertionError(f"{self._work.id} failed: {chat['last_error']}")
        for call in calls:
            choice = {"decision": self._chance.choice(["done", "skip"])}
            self._caller.write("POST", f"{path}/{call['id']}", choice)
            self._work.decided.add(call["tool_call_id"])


class Load:
    """Several people with several chats, from `start` to `end`."""

    def __init__(self, place: Place, name: str, *, rounds_of_kinds: int = 2) -> None:
        self.place = place
        self.counts = Counts()
        self.is_over = threading.Event()
        self.deadline = float("inf")
        self.works: list[Work] = []
        self.readers: list[Reader] = []
        self._guard = threading.Lock()
        kinds = KINDS * rounds_of_kinds
        self._writers = []
        for number, kind in enumerate(kinds):
            work = Work(kind, place.people[number % len(place.people)])
            self.works.append(work)
            self._writers.append(Writer(self, work, f"{name}-{kind[:4]}-{number}"))

    def caller(self, person: Person, name: str) -> Caller:
        chance = random.Random(f"{name} calls")
        return Caller(self.place.addresses, person.token, chance, self.counts)

    def follow(self, work: Work, name: str) -> Reader:
        """Have a chat followed from now on."""
        reader = Reader(
            work.id,
            self.place.addresses,
            work.person.token,
            self.caller(work.person, f"{name} reader"),
            random.Random(f"{name} reader"),
        )
        with self._guard:
            self.readers.append(reader)
        reader.start()
        return reader

    def start(self) -> None:
        for writer in self._writers:
            writer.start()

    def wait_until_busy(self, seconds: float = 30.0) -> None:
        """Return when every chat is there."""
        deadline = time.monotonic() + seconds
        while not all(work.id or work.failure for work in self.works):
            assert time.monotonic() < deadline, "the load did not begin"
            time.sleep(0.02)

    def end(self) -> None:
        """Begin nothing new, and wait until every chat rests, or `SETTLE_SECONDS` are over."""
        self.deadline = time.monotonic() + SETTLE_SECONDS
        self.is_over.set()
        for writer in self._writers:
            writer.join(max(self.deadline + 20 - time.monotonic(), 0.1))
        for writer, work in zip(self._writers, self.works, strict=True):
            if writer.is_alive():
                work.failure = work.failure or f"{writer.name} hangs"

    def leave(self) -> None:
        """End all followers."""
        for reader in self.readers:
            reader.leave()
        for reader in self.readers:
            reader.join(10)
