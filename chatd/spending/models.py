"""The usage limit of the deployment, and what was spent by day. Changes go through `actions`.

The limits of single people and groups are columns of their rows.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

from chatd.accounts.models import Organization
from chatd.core.clock import now
from chatd.spending.ledger_models import LedgerEntry, OpenHold
from chatd.spending.periods import Period

__all__ = ["LedgerEntry", "OpenHold", "Spend", "SpendDay", "UsageLimitConfig"]


class UsageLimitConfig(models.Model):
    """The limit of everybody who has no other, in micros of a dollar; no row or one at most.

    While it is disabled nobody has a limit, and 0 is stored.
    """

    id = models.BigAutoField(primary_key=True)
    singleton = models.BooleanField(default=True, unique=True, editable=False)
    enabled = models.BooleanField(default=False)
    default_limit_micros = models.BigIntegerField(default=0)
    period = models.CharField(max_length=5, choices=Period.choices, default=Period.MONTH)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "usage limit"
        constraints = [
            models.CheckConstraint(condition=Q(singleton=True), name="usage_limit_singleton"),
            models.CheckConstraint(
                condition=Q(enabled=True, default_limit_micros__gt=0)
                | Q(enabled=False, default_limit_micros=0),
                name="usage_limit_positive_iff_enabled",
            ),
            models.CheckConstraint(
                condition=Q(period__in=Period.values), name="usage_limit_period_known"
            ),
        ]

    def __str__(self) -> str:
        return "usage limit"

    @property
    def spend_limit_micros(self) -> int | None:
        """The limit as clients see it: None while it is disabled."""
        return self.default_limit_micros if self.enabled else None


class SpendDay(models.Model):
    """What the chats of a person in an organisation cost on one UTC day, in micros of a dollar.

    Kept with every priced message, in its transaction; it stays when the chat is purged.
    """

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    day = models.DateField()
    micros = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "day", "organization"], name="spend_day_unique"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="spend_day_by_day")]

    def __str__(self) -> str:
        return f"spend of {self.owner_id} on {self.day}"


class Spend(LedgerEntry):
    """What was spent, as a page of the administration of its own."""

    class Meta:
        proxy = True
        verbose_name = "spend"
        verbose_name_plural = "spend"
