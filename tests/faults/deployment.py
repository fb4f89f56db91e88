"""A whole deployment whose every part may be ended and started again by the suite."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.load import Person, Place
from tests.faults.provider import FaultProvider
from tests.support.client import Client
from tests.support.product import Process, Product, RedisProcess, Web, split
from tests.support.services import PostgresServer
from tests.support.tool_ledger import Ledger

WEBS = 2
WORKERS = 2
TURNS_OF_WORKER = 30
SILENCE_SECONDS = 2
PING_SECONDS = 2

SETTINGS = {
    "CHATD_LEASE_SECONDS": "5",
    "CHATD_LEASE_RENEW_SECONDS": "1",
    "CHATD_SWEEP_SECONDS": "0.5",
    "CHATD_PENDING_RESEND_SECONDS": "1",
    "CHATD_HEAL_SECONDS": "1",
    "CHATD_RETRY_FIRST_DELAY_SECONDS": "0.1",
    "CHATD_RETRY_MAX_DELAY_SECONDS": "0.5",
    "CHATD_STREAM_SILENCE_SECONDS": str(SILENCE_SECONDS),
    "CHATD_PING_SECONDS": str(PING_SECONDS),
    "CHATD_API_RATE_LIMIT": "0",
    "CHATD_UPLOAD_RATE_LIMIT": "0",
    # what a lost worker holds for a title is free a minute later: longer than is waited for here
    "CHATD_SIDE_CALLS": "false",
}

_MAKE_PEOPLE = """
import json
from chatd.accounts.actions import create_token, create_user
from chatd.accounts.models import User
made = [["", create_token(user=User.objects.get(username="admin"), name="faults")[1]]]
for number in range(3):
    name = f"person-{number}"
    user = create_user(username=name, email=name + "@x.example", password=None)
    made.append([str(user.pk), create_token(user=user, name="faults")[1]])
print(json.dumps(made))
"""


class Deployment:
    """Webs and workers on PostgreSQL and Redis. `webs` and `workers` are those that should run."""

    def __init__(self, product: Product, postgres: PostgresServer) -> None:
        assert product.redis is not None
        self.product = product
        self.postgres = postgres
        self.redis: RedisProcess = product.redis
        self.webs: list[Web] = []
        self.workers: list[Process] = []
        self.others: list[str] = []
        """Addresses of webs that are about to be replaced."""

    @property
    def database_url(self) -> str:
        return self.product.environment["DATABASE_URL"]

    def addresses(self) -> list[str]:
        """Where people are sent: a web that has just died is among them for a moment."""
        return [*self.others, *(web.url for web in self.webs)]

    def fill(self) -> None:
        """Start what is missing, and wait until all of it is ready."""
        webs = [self.product.web(ready=False) for _ in range(WEBS - len(self.webs))]
        workers = [self.start_worker() for _ in range(WORKERS - len(self.workers))]
        for web in webs:
            web.wait_until_ready()
        for worker in workers:
            worker.wait_for_log(" ready.")
        self.webs += webs
        self.workers += workers

    def start_worker(self, **extra: str) -> Process:
        return self.product.worker(ready=False, turns=TURNS_OF_WORKER, **extra)

    def take_worker(self, chance: random.Random) -> Process:
        return self.workers.pop(chance.randrange(len(self.workers)))


class Stage:
    """A deployment with people, a provider and a tool server: what faults are played on."""

    def __init__(self, deployment: Deployment, provider: FaultProvider, ledger: Ledger) -> None:
        self.deployment = deployment
        self.provider = provider
        self.ledger = ledger
        self.place = self._prepared()

    def _prepared(self) -> Place:
        deployment = self.deployment
        deployment.product.add_models(
            {
                "base_url": self.provider.base_url,
                "is_default": True,
                "options": {"max_output_tokens": 2000},
                "prices": {"input": "2", "output": "4"},
            }
        )
        (_, token), *made = json.loads(deployment.product.shell(_MAKE_PEOPLE))
        admin = Client(deployment.webs[0].url, token)
        body = {
            "display_name": "Ledger",
            "slug": "ledger",
            "url": self.ledger.url,
            "transport": "streamable_http",
            "auth_type": "none",
            "availability": "default_off",
            "enabled": True,
        }
        server = admin.call("POST", "/api/experimental/mcp/servers", body, expect=201)
        return Place(
            deployment.addresses,
            [Person(user_id, token) for user_id, token in made],
            admin.organization_id,
            server["id"],
        )


@contextmanager
def started_stage() -> Iterator[Stage]:
    """Yield a deployment at work on servers of its own, with a database that keeps its word."""
    with (
        TemporaryDirectory(prefix="chatd-faults-") as folder,
        PostgresServer(Path(folder), max_connections="120") as postgres,
        FaultProvider() as provider,
        Ledger() as ledger,
        split(postgres.url, **SETTINGS) as product,
    ):
        deployment = Deployment(product, postgres)
        deployment.fill()
        yield Stage(deployment, provider, ledger)
