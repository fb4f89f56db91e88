"""Chats, messages and queued messages. `states` and `runs` alone write its state.

The constraints repeat the laws of the state machine, so that no code path can break them.
"""

import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db import models
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.functions import Lower

from chatd.accounts.models import Organization
from chatd.chats import debug_models, step_models  # noqa: F401 - Django looks for models here
from chatd.core.clock import now
from chatd.core.fields import JSONTextField, NulSafeJSONField, WordsField
from chatd.providers.models import ModelConfig


class Status(models.TextChoices):
    """`paused` and `completed` are part of the contract, are read as idle and never written."""

    WAITING = "waiting", "Waiting"
    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    COMPLETED = "completed", "Completed"
    ERROR = "error", "Error"
    REQUIRES_ACTION = "requires_action", "Requires action"


IDLE = frozenset({Status.WAITING, Status.ERROR, Status.PAUSED, Status.COMPLETED})
BUSY = frozenset({Status.PENDING, Status.RUNNING, Status.REQUIRES_ACTION})


class Mode(models.TextChoices):
    COMPUTER_USE = "computer_use", "Computer use"
    EXPLORE = "explore", "Explore"


class PlanMode(models.TextChoices):
    PLAN = "plan", "Plan"


class ClientType(models.TextChoices):
    UI = "ui", "Web page"
    API = "api", "API"


class Role(models.TextChoices):
    SYSTEM = "system", "System"
    USER = "user", "User"
    ASSISTANT = "assistant", "Assistant"
    TOOL = "tool", "Tool"


class Visibility(models.TextChoices):
    USER = "user", "People only"
    MODEL = "model", "Model only"
    BOTH = "both", "Both"


VISIBLE_TO_USER = (Visibility.USER, Visibility.BOTH)
VISIBLE_TO_MODEL = (Visibility.MODEL, Visibility.BOTH)


@dataclass(frozen=True, slots=True)
class Found:
    """The text by which a search found a chat; `message_id` is None where it is the title."""

    snippet: str
    message_id: int | None


class Chat(models.Model):
    """A conversation and the state of its current turn.

    Versions: `snapshot_version` grows by one in every transition; `history_version`,
    `queue_version`, `retry_version` and `refresh_version` are the snapshot versions at which the
    messages, the queue, the retry notice changed, and at which history was last cut. `attempt`
    counts generation attempts on the current history; (history_version, attempt) names an
    episode of streamed parts. `runner_id` with `lease_expires_at` is the owner of a running turn.
    `dispatched_at` is when a sweep last sent a pending chat to the broker again. `title_lock_id`
    with `title_locked_at` is held by whoever asks a model for a title; `titles` alone writes them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="chats")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="chats"
    )
    workspace_id = models.UUIDField(null=True, blank=True)
    build_id = models.UUIDField(null=True, blank=True)
    agent_id = models.UUIDField(null=True, blank=True)
    parent_chat = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="spawned"
    )
    root_chat = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="descendants",
        db_index=False,  # most chats are roots: `chat_by_root` leaves them out
    )
    last_model_config = models.ForeignKey(ModelConfig, on_delete=models.PROTECT, related_name="+")
    title = models.TextField(default="New Chat")
    title_lock_id = models.UUIDField(null=True, blank=True)
    title_locked_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.WAITING)
    mode = models.CharField(max_length=16, choices=Mode.choices, null=True, blank=True)  # noqa: DJ001
    plan_mode = models.CharField(  # noqa: DJ001 - NULL is "off" in the contract
        max_length=8, choices=PlanMode.choices, null=True, blank=True
    )
    client_type = models.CharField(max_length=4, choices=ClientType.choices, default=ClientType.API)

    runner_id = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    action_deadline_at = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(null=True, blank=True)
    last_error = JSONTextField(null=True, blank=True)
    retry = JSONTextField(null=True, blank=True)
    last_turn_summary = models.TextField(null=True, blank=True)  # noqa: DJ001 - null on the wire

    snapshot_version = models.BigIntegerField(default=1)
    history_version = models.BigIntegerField(default=1)
    queue_version = models.BigIntegerField(default=0)
    retry_version = models.BigIntegerField(default=0)
    refresh_version = models.BigIntegerField(default=0)
    attempt = models.IntegerField(default=0)

    mcp_server_ids = models.JSONField(default=list, blank=True)
    labels = NulSafeJSONField(default=dict, blank=True)
    pin_order = models.IntegerField(default=0)
    archived = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    last_read_message_id = models.BigIntegerField(null=True, blank=True)
    last_injected_context = JSONTextField(null=True, blank=True)
    dynamic_tools = JSONTextField(null=True, blank=True)
    user_acl = models.JSONField(default=dict, blank=True)
    group_acl = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    found: Found | None = None
    """Set on the chats that a search returns."""

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status=Status.RUNNING, runner_id__isnull=False, lease_expires_at__isnull=False
                )
                | (
                    ~Q(status=Status.RUNNING)
                    & Q(runner_id__isnull=True, lease_expires_at__isnull=True)
                ),
                name="chat_lease_iff_running",
            ),
            models.CheckConstraint(
                condition=Q(status=Status.REQUIRES_ACTION, action_deadline_at__isnull=False)
                | (~Q(status=Status.REQUIRES_ACTION) & Q(action_deadline_at__isnull=True)),
                name="chat_deadline_iff_requires_action",
            ),
            models.CheckConstraint(
                condition=Q(status=Status.ERROR, last_error__isnull=False)
                | (~Q(status=Status.ERROR) & Q(last_error__isnull=True)),
                name="chat_last_error_iff_error",
            ),
            models.CheckConstraint(
                condition=Q(title_lock_id__isnull=True, title_locked_at__isnull=True)
                | Q(title_lock_id__isnull=False, title_locked_at__isnull=False),
                name="chat_title_lock_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(archived=False) | ~Q(status__in=[Status.PENDING, Status.RUNNING]),
                name="chat_archived_is_not_active",
            ),
            models.CheckConstraint(
                condition=Q(archived=True, archived_at__isnull=False)
                | Q(archived=False, archived_at__isnull=True),
                name="chat_archived_at_iff_archived",
            ),
            models.CheckConstraint(
                condition=Q(
                    history_version__lte=F("snapshot_version"),
                    queue_version__lte=F("snapshot_version"),
                    retry_version__lte=F("snapshot_version"),
                    refresh_version__lte=F("snapshot_version"),
                ),
                name="chat_versions_ordered",
            ),
            models.CheckConstraint(
                condition=Q(pin_order=0) | Q(archived=False), name="chat_pin_not_archived"
            ),
            models.CheckConstraint(
                condition=Q(pin_order=0) | Q(parent_chat__isnull=True), name="chat_pin_root_only"
            ),
            models.CheckConstraint(condition=Q(pin_order__gte=0), name="chat_pin_not_negative"),
            models.CheckConstraint(
                condition=Q(parent_chat__isnull=True, root_chat__isnull=True)
                | Q(user_acl={}, group_acl={}),
                name="chat_acl_only_on_roots",
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="chat_status_known"),
        ]
        indexes = [
            models.Index(
                F("owner"),
                F("archived"),
                ExpressionWrapper(Q(pin_order=0), output_field=models.BooleanField()),
                F("pin_order"),
                F("updated_at").desc(),
                F("id").desc(),
                condition=Q(parent_chat__isnull=True),
                name="chat_list_by_owner",
            ),
            models.Index(
                fields=["root_chat", "-created_at"],
                condition=Q(root_chat__isnull=False),
                name="chat_by_root",
            ),
            models.Index(
                fields=["updated_at"], condition=Q(status=Status.PENDING), name="chat_pending"
            ),
            models.Index(
                fields=["updated_at", "id"], condition=Q(archived=True), name="chat_archived_age"
            ),
            models.Index(
                fields=["created_at", "id"],
                condition=Q(archived=False, parent_chat__isnull=True, pin_order=0),
                name="chat_root_age",
            ),
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(status=Status.RUNNING),
                name="chat_running_lease",
            ),
            models.Index(
                fields=["runner_id"],
                condition=Q(runner_id__isnull=False),
                name="chat_by_runner",
            ),
            models.Index(
                fields=["action_deadline_at"],
                condition=Q(status=Status.REQUIRES_ACTION),
                name="chat_action_deadline",
            ),
            models.Index(fields=["-updated_at", "-id"], name="chat_newest"),
            models.Index(
                fields=["-updated_at", "-id"],
                condition=Q(status=Status.ERROR),
                name="chat_failed",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def root_id(self) -> uuid.UUID:
        """The chat whose ACL applies: the stored root, else the parent, else the chat itself."""
        return self.root_chat_id or self.parent_chat_id or self.id


class FailedTurn(Chat):
    """A chat whose last turn failed, as a page of the administration of its own."""

    class Meta:
        proxy = True
        verbose_name = "failed turn"


class ChatMessage(models.Model):
    """One message. Ids grow across the deployment and are the cursor of clients.

    Deleting is soft, because deleted messages keep counting for costs. Token and cost columns
    are NULL where unknown. `revision` is the chat's snapshot version that last touched the row.
    """

    id = models.BigAutoField(primary_key=True)
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="messages")
    revision = models.BigIntegerField()
    created_by = models.UUIDField(null=True, blank=True)
    api_key_id = models.CharField(max_length=10, null=True, blank=True)  # noqa: DJ001
    model_config = models.ForeignKey(
        ModelConfig, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    content = JSONTextField(null=True, blank=True)
    content_version = models.SmallIntegerField(default=1)
    visibility = models.CharField(max_length=5, choices=Visibility.choices, default=Visibility.BOTH)
    input_tokens = models.BigIntegerField(null=True, blank=True)
    output_tokens = models.BigIntegerField(null=True, blank=True)
    total_tokens = models.BigIntegerField(null=True, blank=True)
    reasoning_tokens = models.BigIntegerField(null=True, blank=True)
    cache_creation_tokens = models.BigIntegerField(null=True, blank=True)
    cache_read_tokens = models.BigIntegerField(null=True, blank=True)
    context_limit = models.BigIntegerField(null=True, blank=True)
    total_cost_micros = models.BigIntegerField(null=True, blank=True)
    runtime_ms = models.BigIntegerField(null=True, blank=True)
    compressed = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    provider_response_id = models.TextField(null=True, blank=True)  # noqa: DJ001
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(total_cost_micros=None) | Q(total_cost_micros__gte=0),
                name="message_cost_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["chat", "id"], name="message_by_chat"),
            models.Index(fields=["chat", "revision"], name="message_by_revision"),
            models.Index(
                fields=["chat", "-id"],
                condition=Q(role=Role.ASSISTANT, deleted=False),
                name="message_unread",
            ),
            # What a compaction leaves in the prompt, and the summaries themselves.
            models.Index(
                fields=["chat", "id"],
                condition=Q(role=Role.SYSTEM)
                | Q(role=Role.USER, created_by__isnull=True)
                | Q(compressed=True),
                name="message_outliving",
            ),
            # What calls cost: in the chats of a person, and in a range of days.
            models.Index(
                fields=["chat", "created_at"],
                condition=Q(role=Role.ASSISTANT),
                name="message_cost_by_chat",
            ),
            models.Index(
                fields=["created_at", "chat"],
                condition=Q(role=Role.ASSISTANT),
                name="message_cost_by_age",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.pk}"


class ChatQueuedMessage(models.Model):
    """A message that waits for the running turn to end. First in, first out by created_at, id."""

    id = models.BigAutoField(primary_key=True)
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="queued_messages")
    content = JSONTextField()
    size_bytes = models.IntegerField()
    model_config_id = models.UUIDField(null=True, blank=True)
    created_by = models.UUIDField(null=True, blank=True)
    api_key_id = models.CharField(max_length=10, null=True, blank=True)  # noqa: DJ001
    created_at = models.DateTimeField(default=now)

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["chat", "created_at", "id"], name="queued_by_chat")]

    def __str__(self) -> str:
        return f"queued message {self.pk}"


class ChatSearchEntry(models.Model):
    """The words of a title (`message` is NULL) or of a message, for full-text search.

    `search` alone writes and reads it. The full-text index over `words` is made by a migration,
    on SQLite with triggers that follow this table: a change of its columns must make them anew.
    """

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="+", db_index=False)
    message = models.ForeignKey(
        ChatMessage, on_delete=models.CASCADE, null=True, related_name="+", db_index=False
    )
    words = WordsField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chat"], condition=Q(message__isnull=True), name="search_one_title"
            ),
            models.UniqueConstraint(
                fields=["message"], condition=Q(message__isnull=False), name="search_once"
            ),
        ]
        indexes = [
            models.Index(fields=["chat", "message"], name="search_by_chat"),
            # "-id" as an expression: else the primary key looks like a cheaper way to the newest.
            models.Index(
                F("owner"), -F("id"), condition=Q(message__isnull=True), name="search_titles"
            ),
            models.Index(
                F("owner"), -F("id"), condition=Q(message__isnull=False), name="search_messages"
            ),
        ]

    def __str__(self) -> str:
        return f"words of {'a message' if self.message_id else 'the title'} of {self.chat_id}"


class ArchiveDigest(models.Model):
    """What a person is told of their chats that were archived for them, until they dismiss it.

    `titles` are the first of `count`. `idle_days` and `retention_days` are the settings it went by;
    0 of the latter is for ever.
    """

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    titles = NulSafeJSONField()
    count = models.IntegerField()
    idle_days = models.IntegerField()
    retention_days = models.IntegerField()
    created_at = models.DateTimeField(default=now)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.count} archived chats"

    @property
    def more(self) -> int:
        """How many are not named."""
        return self.count - len(self.titles)


class ChatDiffStatus(models.Model):
    """What is known about the pull request or branch of a chat. One row per chat."""

    chat = models.OneToOneField(
        Chat, on_delete=models.CASCADE, primary_key=True, related_name="diff_status"
    )
    url = models.TextField(null=True, blank=True)  # noqa: DJ001
    pull_request_state = models.TextField(null=True, blank=True)  # noqa: DJ001
    pull_request_title = models.TextField(default="", blank=True)
    pull_request_draft = models.BooleanField(default=False)
    changes_requested = models.BooleanField(default=False)
    additions = models.IntegerField(default=0)
    deletions = models.IntegerField(default=0)
    changed_files = models.IntegerField(default=0)
    author_login = models.TextField(null=True, blank=True)  # noqa: DJ001
    author_avatar_url = models.TextField(null=True, blank=True)  # noqa: DJ001
    base_branch = models.TextField(null=True, blank=True)  # noqa: DJ001
    head_branch = models.TextField(null=True, blank=True)  # noqa: DJ001
    pr_number = models.IntegerField(null=True, blank=True)
    commits = models.IntegerField(null=True, blank=True)
    approved = models.BooleanField(null=True, blank=True)
    reviewer_count = models.IntegerField(null=True, blank=True)
    git_branch = models.TextField(default="", blank=True)
    git_remote_origin = models.TextField(default="", blank=True)
    refreshed_at = models.DateTimeField(null=True, blank=True)
    stale_at = models.DateTimeField(default=now)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["stale_at"], name="diff_stale"),
            models.Index(
                Lower("url"), condition=Q(url__isnull=False) & ~Q(url=""), name="diff_by_url"
            ),
        ]

    def __str__(self) -> str:
        return self.url or str(self.chat_id)


class ChatFile(models.Model):
    """An uploaded or tool-made file; immutable. Tied to a chat only by links."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="chat_files"
    )
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    name = models.TextField(default="")
    mimetype = models.CharField(max_length=128)
    data = models.BinaryField()
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="chat_file_by_age")]

    def __str__(self) -> str:
        return self.name


class ChatFileLink(models.Model):
    """A file that a message of a chat refers to; its readers may read the file."""

    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="file_links")
    file = models.ForeignKey(ChatFile, on_delete=models.CASCADE, related_name="links")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chat", "file"], name="chat_file_link_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.file_id} in {self.chat_id}"
