"""What asking for a usage limit costs, whatever the history: with few and with very many rows.

`make bench-limits`, on the database of DATABASE_URL (a PostgreSQL server; a database of its own is
made there and dropped again) or on a SQLite file in a temporary folder. The same person is asked
about with a thousand and with a million rows of history of theirs: entries of the ledger, and
messages with their costs. Prints the median of each and their ratio, and the plan of the one
statement that reads what was spent and held.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from config.env import env
from tests.support.product import scrubbed_environment

SIZES = (1_000, 1_000_000)
ASKED = 300
BATCH = 5_000
_CHILD = "measure"


@contextmanager
def database() -> Iterator[dict[str, str]]:
    """Yield the settings of an empty database that goes again."""
    server = env.database_url
    with tempfile.TemporaryDirectory() as folder:
        if not server.startswith("postgres"):
            yield {"CHATD_DATA": folder, "DATABASE_URL": ""}
            return
        import psycopg

        name = f"bench_{uuid4().hex[:12]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
            try:
                url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
                yield {"CHATD_DATA": folder, "DATABASE_URL": url}
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def main() -> None:
    with database() as settings:
        django = {"DJANGO_SETTINGS_MODULE": "config.settings"}
        environment = {**scrubbed_environment(), **settings, **django}
        migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v", "0"]
        subprocess.run(migrate, check=True, env=environment, cwd=ROOT)
        child = [sys.executable, __file__, _CHILD]
        subprocess.run(child, check=True, env=environment, cwd=ROOT)


def measure() -> None:
    """Fill the database up, and ask after each size. Runs with the database of its own."""
    import django

    django.setup()
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from chatd.accounts.actions import create_organization, create_user
    from chatd.spending.admission import check_limit
    from chatd.spending.holds import take_hold
    from chatd.spending.models import UsageLimitConfig
    from chatd.spending.selectors import standing_of

    organization = create_organization(name="bench")
    user = create_user(username="bench", email="bench@example.com", password=None)
    UsageLimitConfig.objects.create(enabled=True, default_limit_micros=10**15)

    def hold() -> None:
        with transaction.atomic():
            take_hold(a_call(user.pk, organization.pk))
            transaction.set_rollback(True)

    questions: dict[str, Callable[[], object]] = {
        "admission of a message": lambda: check_limit(user.pk, organization.pk),
        "status": lambda: standing_of(user.pk),
        "hold of a call": hold,
    }
    found: dict[str, list[float]] = {name: [] for name in questions}
    filled = 0
    for size in SIZES:
        fill(user.pk, organization.pk, filled, size)
        filled = size
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        for name, ask in questions.items():
            found[name].append(asked(ask))
    print(f"{connection.vendor}, median of {ASKED}, ms")
    print(f"{'':26}{SIZES[0]:>12,} rows{SIZES[1]:>12,} rows   ratio")
    for name, (few, many) in found.items():
        print(f"{name:26}{few * 1000:>17.2f}{many * 1000:>17.2f}{many / few:>8.2f}")
    with CaptureQueriesContext(connection) as captured:
        standing_of(user.pk)
    [sql] = [q["sql"] for q in captured.captured_queries if "spending_spendday" in q["sql"]]
    how = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}")
        print(*(row[-1] for row in cursor.fetchall()), sep="\n")


def asked(ask: Callable[[], object]) -> float:
    """Return the median seconds of a question."""
    times = []
    for _ in range(ASKED):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return median(times)


def a_call(owner_id, organization_id):  # type: ignore[no-untyped-def]
    from decimal import Decimal

    from chatd.providers.pricing import Prices
    from chatd.spending.holds import CallToAdmit, WorstCase
    from chatd.spending.ledger import Account
    from chatd.spending.ledger_models import CallKind

    chat_id = uuid4()
    return CallToAdmit(
        account=Account(
            owner_id=owner_id,
            organization_id=organization_id,
            chat_id=chat_id,
            root_chat_id=chat_id,
        ),
        kind=CallKind.TURN,
        model_config_id=uuid4(),
        step=1,
        worst=WorstCase(
            prices=Prices(input=Decimal(3), output=Decimal(15)),
            input_tokens=4000,
            output_tokens=32_000,
            least_output=1024,
        ),
        runner_id=uuid4(),
    )


def fill(owner_id, organization_id, start: int, end: int) -> None:  # type: ignore[no-untyped-def]
    """Add history from row `start` to `end`: charged messages of a chat, and their entries."""
    from datetime import timedelta

    from chatd.chats.models import Chat, ChatMessage, Role, Status
    from chatd.core.clock import now
    from chatd.providers.actions import save_provider
    from chatd.providers.model_configs import save_model_config
    from chatd.providers.models import AIProvider, ModelConfig, ProviderType
    from chatd.spending.ledger_models import LedgerEntry
    from chatd.spending.models import SpendDay

    model = ModelConfig.objects.first()
    if model is None:
        kind = ProviderType.OPENAI_COMPAT
        provider = AIProvider(type=kind, name="bench", base_url="http://127.0.0.1:9/v1")
        made = save_provider(provider, new_key="bench-key")
        model = save_model_config(ModelConfig(ai_provider=made, model="bench"))
    chat, _ = Chat.objects.get_or_create(
        owner_id=owner_id,
        organization_id=organization_id,
        last_model_config=model,
        status=Status.WAITING,
    )
    today = now().date()
    for day in range(400):
        SpendDay.objects.get_or_create(
            owner_id=owner_id,
            organization_id=organization_id,
            day=today - timedelta(days=day),
            defaults={"micros": 5},
        )
    about = {
        "owner_id": owner_id,
        "organization_id": organization_id,
        "chat_id": chat.pk,
        "root_chat_id": chat.pk,
    }
    for first in range(start, end, BATCH):
        count = min(BATCH, end - first)
        ChatMessage.objects.bulk_create(
            ChatMessage(chat=chat, revision=1, role=Role.ASSISTANT, content=[], total_cost_micros=5)
            for _ in range(count)
        )
        LedgerEntry.objects.bulk_create(
            LedgerEntry(kind="settle", call_id=uuid4(), settled_micros=5, **about)
            for _ in range(count)
        )


if __name__ == "__main__":
    if _CHILD in sys.argv:
        measure()
    else:
        main()
