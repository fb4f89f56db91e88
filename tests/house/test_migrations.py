"""Schemas change so that the code of the release before goes on working (docs/operating.md)."""

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Now

from tests.support.migration_policy import objection_to

BASELINE = {
    "accounts": "0004_renewing_tokens",
    "api": "0001_stored_answers",
    "audit": "0002_audit_by_actor_name",
    "chats": "0014_message_cost_not_negative",
    "mcp": "0001_mcp_servers",
    "preferences": "0001_initial",
    "providers": "0004_prices_are_short",
    "spending": "0006_spend_page",
}
"""The schema of version 0.1.0: what came before it was never upgraded step by step."""

EXPLAINED: dict[tuple[str, str], str] = {}
"""Migrations that do more than add, by app and name, and why no code of the release before minds.

That is the release since which nothing uses what they take away, or what keeps data harmless.
"""


def _later() -> dict[tuple[str, str], migrations.Migration]:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return {
        (app, name): found
        for (app, name), found in loader.disk_migrations.items()
        if found.__module__.startswith("chatd.") and name > BASELINE.get(app, "")
    }


def test_a_migration_after_the_baseline_only_adds_or_says_why_not() -> None:
    objections = {
        key: list(filter(None, map(objection_to, found.operations)))
        for key, found in _later().items()
    }
    assert {key: said for key, said in objections.items() if said and key not in EXPLAINED} == {}


def test_every_explanation_belongs_to_a_migration() -> None:
    assert {key for key in EXPLAINED if key not in _later()} == set()
    assert all(EXPLAINED.values())


def test_the_baseline_is_there() -> None:
    disk = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    assert {key for key in BASELINE.items() if key not in disk} == set()


@pytest.mark.parametrize(
    "operation",
    [
        migrations.CreateModel("A", []),
        migrations.AddField("A", "b", models.TextField(null=True)),
        migrations.AddField("A", "b", models.DateTimeField(db_default=Now())),
        migrations.AddIndex("A", models.Index(fields=["b"], name="i")),
        AddIndexConcurrently("A", models.Index(fields=["b"], name="i")),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_adds_is_let_through(operation: Operation) -> None:
    assert objection_to(operation) == ""


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("A", "b", models.TextField()),
        migrations.AddField("A", "b", models.TextField(default="")),
        migrations.AlterField("A", "b", models.TextField(null=True)),
        migrations.RemoveField("A", "b"),
        migrations.RenameField("A", "b", "c"),
        migrations.DeleteModel("A"),
        migrations.RenameModel("A", "B"),
        migrations.AddConstraint("A", models.UniqueConstraint(fields=["b"], name="c")),
        migrations.RunSQL("DROP TABLE a"),
        migrations.RunPython(migrations.RunPython.noop),
        migrations.SeparateDatabaseAndState([migrations.RemoveField("A", "b")]),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_may_take_away_needs_an_explanation(operation: Operation) -> None:
    assert objection_to(operation)
