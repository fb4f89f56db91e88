"""Who has spent what in the running period, and how near everybody is to their limit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from heapq import nlargest
from uuid import UUID

from django.db.models import F, Sum

from chatd.accounts.models import Group, GroupMember, OrganizationMember, User
from chatd.accounts.selectors import group_ids_of
from chatd.core.clock import now
from chatd.spending.ledger_models import OpenHold
from chatd.spending.limits import effective_limit
from chatd.spending.models import SpendDay
from chatd.spending.periods import Period, Window, window_of
from chatd.spending.selectors import usage_limit

SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalStanding:
    """What a person spent, and their limit as their own status tells it; None without one.

    `held_micros` is what their calls under way may still cost.
    """

    user: User
    spent_micros: int
    held_micros: int
    limit_micros: int | None

    @property
    def percent(self) -> int | None:
        """How much of the limit is used up or held, in whole percent, rounded down."""
        if self.limit_micros is None:
            return None
        return (self.spent_micros + self.held_micros) * 100 // self.limit_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """Those nearest to their limits, or who spent most while nobody has a limit."""

    window: Window
    total_micros: int
    held_micros: int
    people: list[PersonalStanding]


def list_standings(at: datetime | None = None) -> Standings:
    """Return where people stand in the running period, in the same few queries for any number."""
    config = usage_limit()
    window = window_of(Period(config.period) if config else Period.MONTH, at or now())
    spent, held = _spent_in(window), _held()
    taken = {person: spent.get(person, 0) + held.get(person, 0) for person in {**spent, **held}}
    limits: Mapping[UUID, int] = {}
    if config is not None and config.enabled:
        limits = _limits_of(taken, config.default_limit_micros)
    top = nlargest(
        SHOWN, taken, key=lambda owner: (taken[owner] / limits.get(owner, 1), taken[owner])
    )
    users = User.objects.in_bulk(top)
    people = [
        PersonalStanding(
            user=users[key],
            spent_micros=spent.get(key, 0),
            held_micros=held.get(key, 0),
            limit_micros=limits.get(key),
        )
        for key in top
        if key in users
    ]
    return Standings(
        window=window,
        total_micros=sum(spent.values()),
        held_micros=sum(held.values()),
        people=people,
    )


def _spent_in(window: Window) -> dict[UUID, int]:
    days = SpendDay.objects.filter(day__gte=window.start.date(), day__lt=window.end.date())
    return dict(days.values_list("owner_id").annotate(Sum("micros")).order_by("owner_id"))


def _held() -> dict[UUID, int]:
    holds = OpenHold.objects.values_list("owner_id").annotate(Sum("micros"))
    return {owner: int(micros) for owner, micros in holds.order_by("owner_id")}


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


class LimitOf(StrEnum):
    """Whose limit it is that holds for somebody."""

    PERSON = "person"
    GROUP = "group"
    EVERYBODY = "everybody"


def limit_holder(user: User) -> tuple[LimitOf, Group | None]:
    """Return whose limit holds for a person while there are limits, and the group if it is one's.

    As `standing_of` chooses it over everything they spend.
    """
    if user.chat_spend_limit_micros is not None:
        return LimitOf.PERSON, None
    groups = Group.objects.filter(pk__in=group_ids_of(user), chat_spend_limit_micros__isnull=False)
    ranked = groups.select_related("organization").order_by("chat_spend_limit_micros", "name", "pk")
    group = ranked.first()
    return (LimitOf.EVERYBODY if group is None else LimitOf.GROUP), group
