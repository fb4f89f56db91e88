"""Enter into the ledger what was spent before there was one, and keep entries from being changed.

Of chats that were purged only the sums by day are known: what they hold beyond the messages that
are left becomes a correction.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from django.db import migrations

_BATCH = 500
_NOBODY = UUID(int=0)
_TRIGGER = "ledger_is_append_only"


def fill(apps: Any, schema_editor: Any) -> None:
    entry = apps.get_model("spending", "LedgerEntry")
    of_messages: Counter[tuple[Any, ...]] = Counter()
    _insert(entry, _settles(apps, entry, of_messages))
    _insert(entry, _corrections(apps, entry, of_messages))


def _insert(entry: Any, rows: Iterator[Any]) -> None:
    while batch := list(islice(rows, _BATCH)):
        entry.objects.bulk_create(batch)


def _settles(apps: Any, entry: Any, sums: Counter[tuple[Any, ...]]) -> Iterator[Any]:
    message = apps.get_model("chats", "ChatMessage")
    priced = message.objects.filter(total_cost_micros__isnull=False).select_related("chat")
    for row in priced.defer("content").order_by("id").iterator(chunk_size=_BATCH):
        chat = row.chat
        day = row.created_at.astimezone(UTC).date()
        sums[chat.owner_id, chat.organization_id, day] += row.total_cost_micros
        is_beside = row.deleted and row.visibility == "model"
        yield entry(
            kind="settle",
            call_id=uuid4(),
            owner_id=chat.owner_id,
            organization_id=chat.organization_id,
            chat_id=chat.pk,
            root_chat_id=chat.root_chat_id or chat.pk,
            model_config_id=row.model_config_id,
            call_kind="title" if is_beside else "turn",
            message_id=row.pk,
            settled_micros=row.total_cost_micros,
            created_at=row.created_at,
        )


def _corrections(apps: Any, entry: Any, of_messages: Counter[tuple[Any, ...]]) -> Iterator[Any]:
    for day in apps.get_model("spending", "SpendDay").objects.iterator():
        key = (day.owner_id, day.organization_id, day.day)
        if missing := day.micros - of_messages[key]:
            yield entry(
                kind="correction",
                call_id=uuid4(),
                owner_id=day.owner_id,
                organization_id=day.organization_id,
                chat_id=_NOBODY,
                root_chat_id=_NOBODY,
                settled_micros=missing,
                note="Of chats that were purged before there was a ledger.",
                created_at=datetime.combine(day.day, time.min, UTC),
            )


def protect(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            f"CREATE FUNCTION {_TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
        )
        schema_editor.execute(
            f"CREATE TRIGGER {_TRIGGER} BEFORE UPDATE OR DELETE ON spending_ledgerentry"
            f" FOR EACH ROW EXECUTE FUNCTION {_TRIGGER}()"
        )
    else:
        schema_editor.execute(
            f"CREATE TRIGGER {_TRIGGER} BEFORE UPDATE ON spending_ledgerentry"
            " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )


def unprotect(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP TRIGGER {_TRIGGER} ON spending_ledgerentry")
        schema_editor.execute(f"DROP FUNCTION {_TRIGGER}()")
    else:
        schema_editor.execute(f"DROP TRIGGER {_TRIGGER}")


class Migration(migrations.Migration):
    dependencies = [("spending", "0004_ledger"), ("chats", "0012_prompt_index")]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(protect, unprotect),
    ]
