"""Debug runs: what a chat asked of models, and what came of it, while debug logging is on.

Ids of messages and chats are kept as numbers and ids, without foreign keys: a run tells what was,
also when that has gone. Only the chat itself takes its runs with it.
"""

import uuid

from django.db import models
from django.db.models import Q

from chatd.core.clock import now
from chatd.core.fields import JSONTextField


class DebugStatus(models.TextChoices):
    """The states of runs and steps."""

    IN_PROGRESS = "in_progress", "In progress"
    COMPLETED = "completed", "Completed"
    ERROR = "error", "Error"
    INTERRUPTED = "interrupted", "Interrupted"


class DebugRunKind(models.TextChoices):
    CHAT_TURN = "chat_turn", "Turn"
    TITLE_GENERATION = "title_generation", "Title"
    QUICKGEN = "quickgen", "Turn label"
    COMPACTION = "compaction", "Compaction"


class DebugOperation(models.TextChoices):
    STREAM = "stream", "Stream"
    GENERATE = "generate", "Generate"


class ChatDebugRun(models.Model):
    """One piece of work with a model. `trigger_message_id` is the user message it answers,
    `history_tip_message_id` the last message it saw.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    chat = models.ForeignKey(
        "chats.Chat", on_delete=models.CASCADE, related_name="debug_runs", db_index=False
    )
    root_chat_id = models.UUIDField(null=True, blank=True)
    parent_chat_id = models.UUIDField(null=True, blank=True)
    model_config_id = models.UUIDField(null=True, blank=True)
    trigger_message_id = models.BigIntegerField(null=True, blank=True)
    history_tip_message_id = models.BigIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=16, choices=DebugRunKind.choices)
    status = models.CharField(max_length=11, choices=DebugStatus.choices)
    provider = models.TextField(null=True, blank=True)  # noqa: DJ001 - left out on the wire
    model = models.TextField(null=True, blank=True)  # noqa: DJ001
    summary = JSONTextField(default=dict, blank=True)
    started_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["id", "chat"], name="debug_run_of_chat"),
            models.CheckConstraint(
                condition=Q(kind__in=DebugRunKind.values), name="debug_run_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=DebugStatus.values), name="debug_run_status_known"
            ),
        ]
        indexes = [
            models.Index(fields=["chat", "-started_at", "-id"], name="debug_run_by_chat"),
            models.Index(fields=["updated_at"], name="debug_run_by_age"),
            models.Index(
                fields=["updated_at"],
                condition=Q(finished_at__isnull=True),
                name="debug_run_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class ChatDebugStep(models.Model):
    """One model call of a run; retries of the call are its `attempts`.

    Who writes a step locks its run first. The chat has no foreign key of its own, which would lock
    the chat after the run; on PostgreSQL (run, chat) refers to the run (see the migration).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(
        ChatDebugRun, on_delete=models.CASCADE, related_name="steps", db_index=False
    )
    chat = models.ForeignKey(
        "chats.Chat",
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    step_number = models.IntegerField()
    operation = models.CharField(max_length=8, choices=DebugOperation.choices)
    status = models.CharField(max_length=11, choices=DebugStatus.choices)
    history_tip_message_id = models.BigIntegerField(null=True, blank=True)
    assistant_message_id = models.BigIntegerField(null=True, blank=True)
    normalized_request = JSONTextField(default=dict, blank=True)
    normalized_response = JSONTextField(null=True, blank=True)
    usage = JSONTextField(null=True, blank=True)
    attempts = JSONTextField(default=list, blank=True)
    error = JSONTextField(null=True, blank=True)
    metadata = JSONTextField(default=dict, blank=True)
    started_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["step_number"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step_number"], name="debug_step_number_unique"),
            models.CheckConstraint(
                condition=Q(operation__in=DebugOperation.values),
                name="debug_step_operation_known",
            ),
            models.CheckConstraint(
                condition=Q(status__in=DebugStatus.values), name="debug_step_status_known"
            ),
        ]
        indexes = [
            models.Index(fields=["chat", "history_tip_message_id"], name="debug_step_by_tip"),
            models.Index(
                fields=["chat", "assistant_message_id"],
                condition=Q(assistant_message_id__isnull=False),
                name="debug_step_by_answer",
            ),
            models.Index(
                fields=["updated_at"],
                condition=Q(finished_at__isnull=True),
                name="debug_step_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.step_number} of {self.run_id}"
