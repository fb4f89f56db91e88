"""Give every organisation its Everyone group."""

from typing import Any

from django.db import migrations


def create_everyone(apps: Any, schema_editor: Any) -> None:
    organization_model = apps.get_model("accounts", "Organization")
    group_model = apps.get_model("accounts", "Group")
    for organization in organization_model.objects.all():
        group_model.objects.get_or_create(
            id=organization.pk,
            defaults={
                "organization": organization,
                "name": "Everyone",
                "display_name": "Everyone",
            },
        )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_groups")]

    operations = [migrations.RunPython(create_everyone, migrations.RunPython.noop)]
