"""Sum up what the messages cost that were there before the sums were."""

from datetime import UTC
from typing import Any

from django.db import migrations
from django.db.models import F, Sum
from django.db.models.functions import TruncDate

_BATCH = 500


def fill(apps: Any, schema_editor: Any) -> None:
    days = apps.get_model("spending", "SpendDay")
    sums = (
        apps.get_model("chats", "ChatMessage")
        .objects.filter(total_cost_micros__isnull=False)
        .values(
            owner_id=F("chat__owner_id"),
            organization_id=F("chat__organization_id"),
            day=TruncDate("created_at", tzinfo=UTC),
        )
        .annotate(micros=Sum("total_cost_micros"))
    )
    days.objects.bulk_create((days(**row) for row in sums), batch_size=_BATCH)


class Migration(migrations.Migration):
    dependencies = [("spending", "0001_initial"), ("chats", "0007_title_lock")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
