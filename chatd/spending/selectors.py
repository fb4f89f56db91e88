"""Reads of limits and of what was spent. None of them reads a chat or a message."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from chatd.accounts.models import Group, User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.accounts.selectors import group_ids_of
from chatd.core.clock import now
from chatd.core.errors import forbidden
from chatd.core.statements import Select
from chatd.spending.ledger_models import OpenHold
from chatd.spending.limits import Standing, effective_limit
from chatd.spending.models import SpendDay, UsageLimitConfig
from chatd.spending.periods import Period, Window, window_of


def check_may_read_limits(user: User) -> None:
    """Raise the 403 for a user who may not see the limits of others."""
    if SiteRight.CONFIG_READ not in site_rights(user):
        raise forbidden(detail="Only administrators may see the usage limits.")


def usage_limit() -> UsageLimitConfig | None:
    """Return the limit of the deployment; None when it was never set."""
    return _LIMIT.first()


_LIMIT = Select(lambda: UsageLimitConfig.objects.order_by("pk")[:1])


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
    user_id: UUID,
    *,
    organization_id: UUID | None = None,
    at: datetime | None = None,
    locked: bool = False,
) -> Standing | None:
    """Return how a user stands to their limit for chats of an organisation; None without a limit.

    Without an organisation the limits of all their groups count, and all that they spent. `locked`
    holds their row until the transaction ends, so that what is free stays so for whoever asked.
    """
    config = usage_limit()
    if config is None or not config.enabled:
        return None
    users = User.objects.select_for_update(no_key=True) if locked else User.objects
    user = users.get(pk=user_id)
    limit = effective_limit(
        own=user.chat_spend_limit_micros,
        of_groups=_limits_of_groups(user, organization_id),
        default=config.default_limit_micros,
        organization_id=organization_id,
    )
    period = Period(config.period)
    window = window_of(period, at or now())
    spent, held = _amounts(user_id, window, limit.organization_id)
    return Standing(
        period=period,
        window=window,
        limit_micros=limit.micros,
        spent_micros=spent,
        held_micros=held,
    )


def _limits_of_groups(user: User, organization_id: UUID | None) -> list[int]:
    """Return the limits of a user's groups; none is asked for where their own one holds anyway."""
    if user.chat_spend_limit_micros is not None or user.deleted:
        return []
    limited = Group.objects.filter(pk__in=group_ids_of(user), chat_spend_limit_micros__isnull=False)
    if organization_id is not None:
        limited = limited.filter(organization_id=organization_id)
    return [group.chat_spend_limit_micros or 0 for group in limited]


def _amounts(user_id: UUID, window: Window, organization_id: UUID | None) -> tuple[int, int]:
    """Return what was spent and what is held, in one statement: a call that ends meanwhile is in
    one of the two.

    What is held counts in every period: nobody knows in which one a call will end.
    """
    scope = {} if organization_id is None else {"organization_id": organization_id}
    days = SpendDay.objects.filter(
        owner_id=OuterRef("pk"), day__gte=window.start.date(), day__lt=window.end.date(), **scope
    )
    holds = OpenHold.objects.filter(owner_id=OuterRef("pk"), **scope)
    amounts = User.objects.filter(pk=user_id).values_list(_sum_of(days), _sum_of(holds))
    spent, held = amounts.get()
    return int(spent), int(held)


def _sum_of(rows: QuerySet[Any]) -> Coalesce:
    total = rows.order_by().values("owner_id").annotate(sum=Sum("micros")).values("sum")
    return Coalesce(Subquery(total, output_field=BigIntegerField()), 0)
