"""Two hundred turns of one person at once, and what happens to them: interrupts, killed workers."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.e2e.billing import WITH_TOOLS, BillingProvider
from tests.support.client import Client, text_part
from tests.support.product import Process, Product

CHATS = 200
WORKERS = 3
TURNS_OF_WORKER = 70
KILLS = 2
INTERRUPTS = 15


@dataclass(frozen=True)
class Person:
    """Whose turns they are."""

    id: str
    client: Client


class Workers:
    """The workers of the product; those that are killed are followed by others."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._alive = [self._started() for _ in range(WORKERS)]

    def _started(self) -> Process:
        return self._product.worker(ready=False, turns=TURNS_OF_WORKER)

    def wait_until_ready(self) -> None:
        for worker in self._alive:
            worker.wait_for_log(" ready.")

    def kill_one(self, chance: random.Random) -> None:
        self._alive.pop(chance.randrange(len(self._alive))).kill()
        self._alive.append(self._started())


class Round:
    """The turns of one seed."""

    def __init__(self, seed: int, person: Person, models: list[str], tool_server_id: str) -> None:
        self.chance = random.Random(seed)
        self.limit = self.chance.randrange(600_000, 1_200_000)
        self.person = person
        self.chats: dict[str, str] = {}
        """Ids of the chats, by the names of their turns."""
        self.interrupted: set[str] = set()
        self._seed = seed
        self._models = models
        self._tool_server_id = tool_server_id

    def create(self) -> None:
        names = [f"turn-{self._seed}-{number:03}" for number in range(CHATS)]
        names = [name + (WITH_TOOLS if self.chance.random() < 0.2 else "") for name in names]
        bodies = [self._body(name) for name in names]
        with ThreadPoolExecutor(8) as pool:
            self.chats = dict(zip(names, pool.map(self._create, bodies), strict=True))

    def _body(self, name: str) -> dict[str, Any]:
        words = f"{name} {'größer ' * self.chance.choice([0, 0, 10, 100])}"
        return {
            "organization_id": self.person.client.organization_id,
            "content": [text_part(words)],
            "model_config_id": self.chance.choices(self._models, [1, 5, 5])[0],
            "mcp_server_ids": [self._tool_server_id] if name.endswith(WITH_TOOLS) else [],
        }

    def _create(self, body: dict[str, Any]) -> str:
        made = self.person.client.call("POST", "/api/experimental/chats", body, expect=201)
        return str(made["id"])

    def interrupt_some(self, provider: BillingProvider, is_over: threading.Event) -> None:
        """Interrupt turns that are being answered."""
        chance = random.Random(f"{self._seed} interrupts")
        for _ in range(INTERRUPTS):
            if is_over.wait(chance.uniform(0, 0.4)):
                return
            if names := sorted(provider.under_way):
                name = chance.choice(names)
                self.interrupted.add(name)
                self.person.client.interrupt(self.chats[name])

    def kill_some(
        self, workers: Workers, provider: BillingProvider, is_over: threading.Event
    ) -> None:
        """Kill workers at moments that are chosen by how many calls there have been."""
        chance = random.Random(f"{self._seed} kills")
        for count in sorted(chance.randrange(10, CHATS // 2) for _ in range(KILLS)):
            while len(provider.requests) < count and not is_over.wait(0.02):
                pass
            if is_over.wait(chance.uniform(0, 0.3)):
                return
            workers.kill_one(chance)
