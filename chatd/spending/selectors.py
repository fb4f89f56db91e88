"""Reads of limits and of what was spent. None of them reads a chat or a message."""

from datetime import datetime
from uuid import UUID

from django.db.models import Sum

from chatd.accounts.models import Group, User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.accounts.selectors import group_ids_of
from chatd.core.clock import now
from chatd.core.errors import forbidden
from chatd.spending.limits import Standing, effective_limit
from chatd.spending.models import SpendDay, UsageLimitConfig
from chatd.spending.periods import Period, Window, window_of


def check_may_read_limits(user: User) -> None:
    """Raise the 403 for a user who may not see the limits of others."""
    if SiteRight.CONFIG_READ not in site_rights(user):
        raise forbidden(detail="Only administrators may see the usage limits.")


def usage_limit() -> UsageLimitConfig | None:
    """Return the limit of the deployment; None when it was never set."""
    return UsageLimitConfig.objects.first()


def list_user_overrides() -> list[User]:
    """Return the people with a limit of their own, by name."""
    limited = User.objects.live().filter(chat_spend_limit_micros__isnull=False)
    return list(limited.order_by("username"))


def list_group_overrides() -> list[Group]:
    """Return the groups with a limit, by name."""
    limited = Group.objects.filter(
        chat_spend_limit_micros__isnull=False, organization__deleted=False
    )
    return list(limited.select_related("organization").order_by("name", "pk"))


def standing_of(
    user_id: UUID, *, organization_id: UUID | None = None, at: datetime | None = None
) -> Standing | None:
    """Return how a user stands to their limit for chats of an organisation; None without a limit.

    Without an organisation the limits of all their groups count, and all that they spent.
    """
    config = usage_limit()
    if config is None or not config.enabled:
        return None
    user = User.objects.get(pk=user_id)
    limit = effective_limit(
        own=user.chat_spend_limit_micros,
        of_groups=_limits_of_groups(user, organization_id),
        default=config.default_limit_micros,
        organization_id=organization_id,
    )
    period = Period(config.period)
    window = window_of(period, at or now())
    return Standing(
        period=period,
        window=window,
        limit_micros=limit.micros,
        spent_micros=_spent(user_id, window, limit.organization_id),
    )


def _limits_of_groups(user: User, organization_id: UUID | None) -> list[int]:
    """Return the limits of a user's groups; none is asked for where their own one holds anyway."""
    if user.chat_spend_limit_micros is not None or user.deleted:
        return []
    limited = Group.objects.filter(pk__in=group_ids_of(user), chat_spend_limit_micros__isnull=False)
    if organization_id is not None:
        limited = limited.filter(organization_id=organization_id)
    return [group.chat_spend_limit_micros or 0 for group in limited]


def _spent(user_id: UUID, window: Window, organization_id: UUID | None) -> int:
    days = SpendDay.objects.filter(
        owner_id=user_id, day__gte=window.start.date(), day__lt=window.end.date()
    )
    if organization_id is not None:
        days = days.filter(organization_id=organization_id)
    return days.aggregate(spent=Sum("micros"))["spent"] or 0
