"""Debug runs and their steps; a step's chat is that of its run, where the database can say so."""

import uuid
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import chatd.core.clock
import chatd.core.fields


def tie_chat_to_run(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE chats_chatdebugstep ADD CONSTRAINT debug_step_of_run_and_chat"
            " FOREIGN KEY (run_id, chat_id) REFERENCES chats_chatdebugrun (id, chat_id)"
            " ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        )


def untie_chat_from_run(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE chats_chatdebugstep DROP CONSTRAINT debug_step_of_run_and_chat"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("chats", "0005_fill_search"),
    ]

    operations = [
        migrations.CreateModel(
            name="ChatDebugRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("root_chat_id", models.UUIDField(blank=True, null=True)),
                ("parent_chat_id", models.UUIDField(blank=True, null=True)),
                ("model_config_id", models.UUIDField(blank=True, null=True)),
                ("trigger_message_id", models.BigIntegerField(blank=True, null=True)),
                ("history_tip_message_id", models.BigIntegerField(blank=True, null=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("chat_turn", "Turn"),
                            ("title_generation", "Title"),
                            ("quickgen", "Turn label"),
                            ("compaction", "Compaction"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("in_progress", "In progress"),
                            ("completed", "Completed"),
                            ("error", "Error"),
                            ("interrupted", "Interrupted"),
                        ],
                        max_length=11,
                    ),
                ),
                ("provider", models.TextField(blank=True, null=True)),
                ("model", models.TextField(blank=True, null=True)),
                ("summary", chatd.core.fields.JSONTextField(blank=True, default=dict)),
                ("started_at", models.DateTimeField(default=chatd.core.clock.now)),
                ("updated_at", models.DateTimeField(default=chatd.core.clock.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "chat",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="debug_runs",
                        to="chats.chat",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("id", "chat"), name="debug_run_of_chat"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                ["chat_turn", "title_generation", "quickgen", "compaction"],
                            )
                        ),
                        name="debug_run_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["in_progress", "completed", "error", "interrupted"])
                        ),
                        name="debug_run_status_known",
                    ),
                ],
                "indexes": [
                    models.Index(fields=["chat", "-started_at", "-id"], name="debug_run_by_chat"),
                    models.Index(fields=["updated_at"], name="debug_run_by_age"),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=["updated_at"],
                        name="debug_run_unfinished",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ChatDebugStep",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("step_number", models.IntegerField()),
                (
                    "operation",
                    models.CharField(
                        choices=[("stream", "Stream"), ("generate", "Generate")], max_length=8
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("in_progress", "In progress"),
                            ("completed", "Completed"),
                            ("error", "Error"),
                            ("interrupted", "Interrupted"),
                        ],
                        max_length=11,
                    ),
                ),
                ("history_tip_message_id", models.BigIntegerField(blank=True, null=True)),
                ("assistant_message_id", models.BigIntegerField(blank=True, null=True)),
                ("normalized_request", chatd.core.fields.JSONTextField(blank=True, default=dict)),
                ("normalized_response", chatd.core.fields.JSONTextField(blank=True, null=True)),
                ("usage", chatd.core.fields.JSONTextField(blank=True, null=True)),
                ("attempts", chatd.core.fields.JSONTextField(blank=True, default=list)),
                ("error", chatd.core.fields.JSONTextField(blank=True, null=True)),
                ("metadata", chatd.core.fields.JSONTextField(blank=True, default=dict)),
                ("started_at", models.DateTimeField(default=chatd.core.clock.now)),
                ("updated_at", models.DateTimeField(default=chatd.core.clock.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "chat",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="chats.chat",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="chats.chatdebugrun",
                    ),
                ),
            ],
            options={
                "ordering": ["step_number"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "step_number"), name="debug_step_number_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("operation__in", ["stream", "generate"])),
                        name="debug_step_operation_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["in_progress", "completed", "error", "interrupted"])
                        ),
                        name="debug_step_status_known",
                    ),
                ],
                "indexes": [
                    models.Index(
                        fields=["chat", "history_tip_message_id"], name="debug_step_by_tip"
                    ),
                    models.Index(
                        condition=models.Q(("assistant_message_id__isnull", False)),
                        fields=["chat", "assistant_message_id"],
                        name="debug_step_by_answer",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=["updated_at"],
                        name="debug_step_unfinished",
                    ),
                ],
            },
        ),
        migrations.RunPython(tie_chat_to_run, untie_chat_from_run),
    ]
