"""What chats have cost: sums over the answers of models, as they are stored on messages.

Deleted messages count, and so do the hidden rows of titles and labels: they were paid for. Ranges
are half open, amounts are micros of a US dollar.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from chatd.accounts.models import User
from chatd.accounts.policy import (
    ChatRight,
    memberships,
    organization_chat_rights,
    reads_every_chat,
)
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.errors import forbidden
from chatd.providers.models import ModelConfig
from chatd.spending.limits import Standing
from chatd.spending.selectors import standing_of

log = structlog.get_logger(__name__)

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
_COUNTED = (*_TOKENS, "reasoning_tokens")
_SUMMED = (*_TOKENS, "runtime_ms")

_HAS_USAGE = Q()
for _name in _COUNTED:
    _HAS_USAGE |= Q(**{f"{_name}__isnull": False})
_IS_PRICED = Q(total_cost_micros__isnull=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """From `start` to before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over messages; what a provider did not tell counts 0."""

    cost_micros: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    runtime_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What a model has cost; `messages` are those with tokens."""

    config_id: UUID
    display_name: str
    provider: str
    model: str
    messages: int
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCost:
    """What a root chat and its sub-chats have cost; the title is blank once the root is gone."""

    root_chat_id: UUID
    title: str
    messages: int
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSummary:
    totals: Totals
    priced: int
    unpriced: int
    by_model: list[ModelCost]
    by_chat: list[ChatCost]
    standing: Standing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonCost:
    """What the chats of a person have cost; `chats` are root chats with an answer."""

    user: User
    messages: int
    chats: int
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleCosts:
    """One page of people, and how many match in all."""

    count: int
    people: list[PersonCost]


def check_may_read_costs_of(user: User, owner: User) -> None:
    """Raise the 403 for a user who may not see what a person spends.

    What one spends oneself is for those who may have chats.
    """
    if user.pk != owner.pk:
        check_may_read_all_costs(user)
    elif not _may_chat(user):
        raise forbidden(detail="You may not use chats in any organization.")


def check_may_read_all_costs(user: User) -> None:
    """Raise the 403 for a user who may not see what everybody spends."""
    if not reads_every_chat(user):
        raise forbidden(detail="Only administrators may see what others spend.")


def cost_summary(owner: User, within: Range) -> CostSummary:
    """Return what the chats of a person have cost, by model and by chat."""
    rows = _answers(within).filter(chat__owner=owner)
    whole = rows.aggregate(
        **_sums(),
        priced=Count("pk", filter=_IS_PRICED),
        unpriced=Count("pk", filter=~_IS_PRICED & _HAS_USAGE),
    )
    return CostSummary(
        totals=_totals(whole),
        priced=whole["priced"],
        unpriced=whole["unpriced"],
        by_model=_by_model(rows),
        by_chat=_by_chat(rows),
        standing=_standing(owner),
    )


def _standing(owner: User) -> Standing | None:
    """Return how a person stands to their limit; None also when that cannot be told."""
    try:
        with transaction.atomic():  # so that the caller's transaction survives a failed query
            return standing_of(owner.pk)
    except Exception:
        log.exception("usage limit not shown", user_id=str(owner.pk))
        return None


def list_people_costs(within: Range, *, search: str, limit: int, offset: int) -> PeopleCosts:
    """Return what each person's chats have cost, the most expensive first; deleted people too."""
    rows = _answers(within)
    if "\x00" in search:  # a database has no text with NUL
        rows = rows.none()
    elif wanted := search.strip():
        found = Q(chat__owner__username__icontains=wanted) | Q(chat__owner__name__icontains=wanted)
        rows = rows.filter(found)
    grouped = (
        rows.values("chat__owner_id", "chat__owner__username")
        .annotate(
            **_sums(),
            messages=Count("pk", filter=_HAS_USAGE),
            chats=Count(_root(), distinct=True),
        )
        .order_by(F("cost_micros").desc(), "chat__owner__username", "chat__owner_id")
    )
    page = list(grouped[offset : offset + limit])
    people = User.objects.in_bulk([row["chat__owner_id"] for row in page])
    return PeopleCosts(
        count=rows.values("chat__owner_id").distinct().count(),
        people=[
            PersonCost(
                user=people[row["chat__owner_id"]],
                messages=row["messages"],
                chats=row["chats"],
                totals=_totals(row),
            )
            for row in page
        ],
    )


def _answers(within: Range) -> QuerySet[ChatMessage]:
    return ChatMessage.objects.filter(
        role=Role.ASSISTANT, created_at__gte=within.start, created_at__lt=within.end
    )


def _by_model(rows: QuerySet[ChatMessage]) -> list[ModelCost]:
    grouped = (
        rows.filter(model_config__isnull=False)
        .values("model_config_id")
        .annotate(**_sums(), messages=Count("pk", filter=_HAS_USAGE))
        .order_by(F("cost_micros").desc(), "model_config_id")
    )
    found = list(grouped)
    configs = ModelConfig.objects.in_bulk([row["model_config_id"] for row in found])
    return [_model_cost(configs[row["model_config_id"]], row) for row in found]


def _model_cost(config: ModelConfig, row: Mapping[str, Any]) -> ModelCost:
    return ModelCost(
        config_id=config.pk,
        display_name=config.display_name.strip() or config.model,
        provider=config.provider,
        model=config.model,
        messages=row["messages"],
        totals=_totals(row),
    )


def _by_chat(rows: QuerySet[ChatMessage]) -> list[ChatCost]:
    grouped = (
        rows.annotate(root_id=_root())
        .values("root_id")
        .annotate(**_sums(), messages=Count("pk", filter=_HAS_USAGE))
        .order_by(F("cost_micros").desc(), "root_id")
    )
    found = list(grouped)
    titles = dict(
        Chat.objects.filter(pk__in=[row["root_id"] for row in found]).values_list("pk", "title")
    )
    return [
        ChatCost(
            root_chat_id=row["root_id"],
            title=titles.get(row["root_id"], ""),
            messages=row["messages"],
            totals=_totals(row),
        )
        for row in found
    ]


def _root() -> Coalesce:
    return Coalesce(F("chat__root_chat_id"), F("chat_id"))


def _sums() -> dict[str, Coalesce]:
    """Return the sums that every listing has; names may not be those of fields."""
    return {
        "cost_micros": Coalesce(Sum("total_cost_micros"), Value(0)),
        **{f"sum_{name}": Coalesce(Sum(name), Value(0)) for name in _SUMMED},
    }


def _totals(row: Mapping[str, Any]) -> Totals:
    return Totals(cost_micros=row["cost_micros"], **{name: row[f"sum_{name}"] for name in _SUMMED})


def _may_chat(user: User) -> bool:
    """Tell whether a user may read chats of their own anywhere."""
    rights = (organization_chat_rights(user, each, own=True) for each in memberships(user))
    return reads_every_chat(user) or any(ChatRight.READ in each for each in rights)
