"""The ledger: what every model call held and cost, and what is held now. `ledger` writes both.

Rows name chats, models and messages by id alone: they stay when these are purged.
"""

from typing import Any, NoReturn, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from chatd.accounts.models import Organization
from chatd.core.clock import now


class CallKind(models.TextChoices):
    """What a model was called for."""

    TURN = "turn", "Turn"
    COMPACTION = "compaction", "Compaction"
    TITLE = "title", "Title"
    LABEL = "label", "Label"


class EntryKind(models.TextChoices):
    """What an entry does. A call has at most one hold and one settle."""

    HOLD = "hold", "Hold"
    SETTLE = "settle", "Settle"
    RELEASE = "release", "Release"
    CORRECTION = "correction", "Correction"


class AppendOnlyError(TypeError):
    """Somebody tried to change or delete what was written once."""

    def __init__(self) -> None:
        super().__init__("The ledger is append-only: write a correction.")


M = TypeVar("M", bound=models.Model)


class AppendOnlyQuerySet(models.QuerySet[M]):
    """Reads and inserts; everything else is refused."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def delete(self) -> NoReturn:
        raise AppendOnlyError


class AboutCall(models.Model):
    """Whose call it is, and of what; `root_chat_id` is the chat that people began."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    organization = models.ForeignKey(
        Organization,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    chat_id = models.UUIDField()
    root_chat_id = models.UUIDField()
    model_config_id = models.UUIDField(null=True)
    call_kind = models.CharField(max_length=10, choices=CallKind.choices, default=CallKind.TURN)
    step = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class LedgerEntry(AboutCall):
    """One entry about one call, in micros of a dollar; never changed, never deleted.

    `held_micros` and `settled_micros` are changes: their sums are what is held and what was spent.
    A hold adds to the one; a settle takes it back and adds to the other; a release gives back what
    was held and not needed; a correction may do anything, and says why in `note`. Where a call cost
    more than was held, its settle adds more than it takes back.

    `step` is the history version that the call answered, `message_id` the row that stores its
    cost. `is_priced` and `is_estimated` are told of settles: the latter where a call was cut off,
    and its tokens were reckoned from what had been streamed.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=10, choices=EntryKind.choices)
    call_id = models.UUIDField()
    message_id = models.BigIntegerField(null=True)
    held_micros = models.BigIntegerField(default=0)
    settled_micros = models.BigIntegerField(default=0)
    is_priced = models.BooleanField(default=True)
    is_estimated = models.BooleanField(default=False)
    note = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(
                fields=["call_id", "kind"],
                condition=Q(kind__in=["hold", "settle"]),
                name="ledger_one_hold_one_settle",
            ),
            models.CheckConstraint(
                condition=Q(kind="hold", held_micros__gt=0, settled_micros=0)
                | Q(kind="settle", held_micros__lte=0, settled_micros__gte=0)
                | Q(kind="release", held_micros__lt=0, settled_micros=0)
                | Q(kind="correction"),
                name="ledger_signs",
            ),
            models.CheckConstraint(
                condition=Q(call_kind__in=CallKind.values), name="ledger_call_kind_known"
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "created_at"], name="ledger_by_owner"),
            models.Index(fields=["root_chat_id", "created_at"], name="ledger_by_chat"),
            models.Index(
                fields=["created_at"],
                name="ledger_of_spend",
                condition=Q(kind__in=["settle", "correction"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of call {self.call_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    @property
    def is_overrun(self) -> bool:
        """Whether a call cost more than was held for it."""
        return self.kind == EntryKind.SETTLE and self.settled_micros > -self.held_micros > 0


class OpenHold(AboutCall):
    """What a call under way may still cost. The row goes when the call is settled or released.

    A hold of a turn lives as long as its runner has the chat (`runner_id`), any other one until
    `expires_at`. `input_tokens` is what is charged for the input of a call that is cut off, at the
    prices of `created_at`.
    """

    id = models.UUIDField(primary_key=True)
    micros = models.BigIntegerField()
    runner_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField(null=True)
    input_tokens = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(micros__gt=0), name="open_hold_positive"),
            models.CheckConstraint(
                condition=Q(runner_id__isnull=False) | Q(expires_at__isnull=False),
                name="open_hold_ends",
            ),
        ]
        indexes = [
            models.Index(fields=["owner"], name="open_hold_by_owner"),
            models.Index(fields=["runner_id"], name="open_hold_by_runner"),
        ]

    def __str__(self) -> str:
        return f"hold of call {self.pk}"
