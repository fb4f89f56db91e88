"""Prices with dates: which one holds when, and new ones. What was billed is never billed anew."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, OuterRef, Q, QuerySet, Subquery, UUIDField

from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.clock import now, rfc3339
from chatd.core.errors import bad_request
from chatd.core.statements import Parameter, Select
from chatd.providers.models import ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.providers.pricing import Prices


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices of one model with the moments from which they hold, the earliest first."""

    entries: Sequence[tuple[datetime, Prices]] = ()

    def at(self, instant: datetime) -> Prices:
        """Return the prices in force; none before the first entry."""
        held = [prices for valid_from, prices in self.entries if valid_from <= instant]
        return held[-1] if held else Prices()


def price_list(config_id: UUID, since: datetime) -> PriceList:
    """Return the prices of a model from `since` on, planned ones too, in one query."""
    rows = _SINCE.all(config_id=config_id, since=since)
    return PriceList([(row.valid_from, _prices(row)) for row in rows])


def price_at(config_id: UUID, instant: datetime) -> Prices:
    """Return what a model takes at a moment."""
    return prices_at([config_id], instant).get(config_id, Prices())


def prices_at(config_ids: Iterable[UUID], instant: datetime) -> Mapping[UUID, Prices]:
    """Return what models take at a moment; those that never had a price are left out."""
    rows = ModelPrice.objects.filter(_is_in_force(instant), model_config__in=config_ids)
    return {row.model_config_id: _prices(row) for row in rows}


def set_prices(config_id: UUID, prices: Prices, *, by: UUID | None) -> None:
    """Have prices hold from now on; the same ones as now are no change. Part of a transaction."""
    at = now()
    if price_at(config_id, at) != prices:
        _store(config_id, prices, at, by)


@transaction.atomic
def plan_prices(author: Author, resource: Resource, prices: Prices, valid_from: datetime) -> None:
    """Have prices hold from a moment to come; those planned for the same moment are replaced.

    `resource` is the model config. Whoever calls has checked the rights. Raises ChatdError 400.
    """
    if valid_from <= now():
        raise bad_request(
            "Invalid model config.",
            detail="A price can be planned for a moment to come; what was billed stays.",
        )
    config_id = UUID(resource.id)
    _store(config_id, prices, valid_from, author.id)
    planned = {"price_from": rfc3339(valid_from), "price": asdict(prices)}
    record(author, Action.WRITE, resource, after=planned)


@transaction.atomic
def withdraw_prices(author: Author, resource: Resource, planned: ModelPrice) -> None:
    """Delete planned prices. Raises ChatdError 400 once they hold."""
    gone, _ = ModelPrice.objects.filter(pk=planned.pk, valid_from__gt=now()).delete()
    if not gone:
        raise bad_request("This price is or was in force: what was billed stays.")
    before = {"price_from": rfc3339(planned.valid_from), "price": asdict(_prices(planned))}
    record(author, Action.WRITE, resource, before=before)


def _store(config_id: UUID, prices: Prices, valid_from: datetime, by: UUID | None) -> None:
    ModelPrice.objects.update_or_create(
        model_config_id=config_id,
        valid_from=valid_from,
        defaults={**asdict(prices), "created_by": by, "created_at": now()},
    )


def _since() -> QuerySet[ModelPrice]:
    since = Parameter("since", DateTimeField())
    of_model = ModelPrice.objects.filter(model_config_id=Parameter("config_id", UUIDField()))
    return of_model.filter(Q(valid_from__gt=since) | _is_in_force(since)).order_by("valid_from")


_SINCE = Select(_since)


def _is_in_force(at: datetime | Parameter) -> Q:
    """Return the condition of a row: the latest of its model that begins at or before `at`."""
    of_same = ModelPrice.objects.filter(model_config=OuterRef("model_config"), valid_from__lte=at)
    return Q(pk=Subquery(of_same.order_by("-valid_from").values("pk")[:1]))


def _prices(row: ModelPrice) -> Prices:
    return Prices(**{each.name: getattr(row, each.name) for each in fields(Prices)})


def count_unpriced_models() -> int:
    """Return how many enabled models have neither a price of input nor one of output now."""
    enabled = ModelConfig.objects.filter(enabled=True, deleted=False)
    ids = list(enabled.values_list("pk", flat=True))
    known = prices_at(ids, now())
    unpriced = Prices()
    return sum(
        prices.input is None and prices.output is None
        for prices in (known.get(config_id, unpriced) for config_id in ids)
    )
