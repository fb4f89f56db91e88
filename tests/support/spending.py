"""Limits, and what was spent, for tests."""

from datetime import datetime
from uuid import UUID

from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.spending.actions import record_spend
from chatd.spending.models import UsageLimitConfig
from chatd.spending.periods import Period


def limit_everybody(micros: int | None, period: Period = Period.MONTH) -> None:
    """Set the limit of everybody; None switches limits off."""
    UsageLimitConfig.objects.update_or_create(
        defaults={
            "enabled": micros is not None,
            "default_limit_micros": micros or 0,
            "period": period,
        }
    )


def spend(
    micros: int, *, owner_id: UUID, organization_id: UUID, at: datetime | None = None
) -> None:
    record_spend(owner_id=owner_id, organization_id=organization_id, at=at or now(), micros=micros)


def spend_in(chat: Chat, micros: int) -> None:
    """Spend in the name of a chat's owner, now."""
    spend(micros, owner_id=chat.owner_id, organization_id=chat.organization_id)
