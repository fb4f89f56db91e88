"""Who has spent what in the running period, and how near everybody is to their limit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from uuid import UUID

from django.db.models import F, Sum

from chatd.accounts.models import Group, GroupMember, OrganizationMember, User
from chatd.core.clock import now
from chatd.spending.limits import effective_limit
from chatd.spending.models import SpendDay
from chatd.spending.periods import Period, Window, window_of
from chatd.spending.selectors import usage_limit

SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalStanding:
    """What a person spent, and their limit as their own status tells it; None without one."""

    user: User
    spent_micros: int
    limit_micros: int | None

    @property
    def percent(self) -> int | None:
        """How much of the limit is used up, in whole percent, rounded down."""
        return None if self.limit_micros is None else self.spent_micros * 100 // self.limit_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """Those nearest to their limits, or who spent most while nobody has a limit."""

    window: Window
    total_micros: int
    people: list[PersonalStanding]


def list_standings(at: datetime | None = None) -> Standings:
    """Return where people stand in the running period, in the same few queries for any number."""
    config = usage_limit()
    window = window_of(Period(config.period) if config else Period.MONTH, at or now())
    spent = _spent_in(window)
    limits: Mapping[UUID, int] = {}
    if config is not None and config.enabled:
        limits = _limits_of(spent, config.default_limit_micros)
    top = nlargest(
        SHOWN, spent, key=lambda owner: (spent[owner] / limits.get(owner, 1), spent[owner])
    )
    users = User.objects.in_bulk(top)
    people = [
        PersonalStanding(user=users[key], spent_micros=spent[key], limit_micros=limits.get(key))
        for key in top
        if key in users
    ]
    return Standings(window=window, total_micros=sum(spent.values()), people=people)


def _spent_in(window: Window) -> dict[UUID, int]:
    days = SpendDay.objects.filter(day__gte=window.start.date(), day__lt=window.end.date())
    return dict(days.values_list("owner_id").annotate(Sum("micros")).order_by("owner_id"))


def _limits_of(people: Iterable[UUID], default: int) -> dict[UUID, int]:
    """Return the limit of each: the one over everything they spend, wherever that was."""
    limited = User.objects.filter(chat_spend_limit_micros__isnull=False)
    own = dict(limited.values_list("pk", "chat_spend_limit_micros"))
    of_groups = _limits_of_groups()
    return {
        person: effective_limit(
            own=own.get(person),
            of_groups=of_groups.get(person, ()),
            default=default,
            organization_id=None,
        ).micros
        for person in people
    }


def _limits_of_groups() -> dict[UUID, list[int]]:
    groups = Group.objects.filter(
        chat_spend_limit_micros__isnull=False, organization__deleted=False
    )
    limits = {group.pk: group.chat_spend_limit_micros or 0 for group in groups}
    everyone = OrganizationMember.objects.filter(organization__in=limits, user__deleted=False)
    explicit = GroupMember.objects.filter(
        group__in=limits,
        group__organization__memberships__user=F("user"),
        user__deleted=False,
    )
    found: dict[UUID, list[int]] = {}
    for user_id, group_id in [
        *everyone.values_list("user_id", "organization_id"),
        *explicit.values_list("user_id", "group_id"),
    ]:
        found.setdefault(user_id, []).append(limits[group_id])
    return found
