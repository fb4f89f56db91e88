"""All numbers of costs and limits once more: slowly, over lists, by the words of the contract.

Nothing here is shared with the product. People, organisations, models and chats are named by their
places in the lists.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

WORDS = ("input", "output")
KINDS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_creation_tokens": "cache_write",
}
"""Tokens that are priced, and by which price."""

SUMMED = (*KINDS, "runtime_ms")
USAGE = (*KINDS, "reasoning_tokens")
Row = dict[str, Any]


@dataclass(frozen=True)
class Person:
    name: str
    own: int | None
    deleted: bool

    def username(self, number: int) -> str:
        return f"p{number}"


@dataclass(frozen=True)
class Group:
    organization: int
    limit: int | None
    members: frozenset[int]


@dataclass(frozen=True)
class Model:
    display_name: str
    enabled: bool
    deleted: bool
    prices: Sequence[tuple[datetime, dict[str, Fraction]]]
    """Dollars per million tokens, from a moment on."""


@dataclass(frozen=True)
class Chat:
    owner: int
    organization: int
    parent: int | None
    purged: bool


@dataclass(frozen=True)
class Message:
    chat: int
    at: datetime
    role: str
    model: int | None
    deleted: bool
    counts: dict[str, int]
    """Tokens and milliseconds; what is missing is unknown."""


@dataclass(frozen=True)
class World:
    now: datetime
    period: str
    default: int | None
    everyone: tuple[int | None, ...]
    """The limit of everyone in each organisation."""
    gone: frozenset[int]
    """Organisations that were deleted."""
    members: frozenset[tuple[int, int]]
    """People and the organisations they are in."""
    people: Sequence[Person]
    groups: Sequence[Group]
    models: Sequence[Model]
    chats: Sequence[Chat]
    messages: Sequence[Message] = field(default=())


# what a call costs


def prices_at(model: Model, at: datetime) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for since, prices in sorted(model.prices, key=lambda entry: entry[0]):
        if since <= at:
            found = prices
    return found


def cost(world: World, message: Message) -> int | None:
    """Return micros, rounded up once; None without a kind of tokens that has a price."""
    if message.model is None:
        return None
    prices = prices_at(world.models[message.model], message.at)
    dollars = [
        Fraction(message.counts[tokens], 10**6) * prices[kind]
        for tokens, kind in KINDS.items()
        if message.counts.get(tokens) and kind in prices
    ]
    return ceil(sum(dollars) * 10**6) if dollars else None


def unpriced_model_count(world: World) -> int:
    return sum(
        model.enabled and not model.deleted and not prices_at(model, world.now).keys() & set(WORDS)
        for model in world.models
    )


# limits


def window(period: str, at: datetime) -> tuple[datetime, datetime]:
    """Return when the period began and when it ends, found by going from day to day."""

    def begins(day: date) -> bool:
        return {"day": True, "week": day.isoweekday() == 1, "month": day.day == 1}[period]

    first = at.astimezone(UTC).date()
    while not begins(first):
        first -= timedelta(days=1)
    last = first + timedelta(days=1)
    while not begins(last):
        last += timedelta(days=1)
    return _midnight(first), _midnight(last)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def limits_of_groups(world: World, person: int, organization: int | None) -> list[int]:
    if world.people[person].deleted:
        return []
    found = [
        *((n, limit, (person, n) in world.members) for n, limit in enumerate(world.everyone)),
        *((each.organization, each.limit, person in each.members) for each in world.groups),
    ]
    return [
        limit
        for number, limit, is_in in found
        if limit is not None
        and is_in
        and number not in world.gone
        and organization in (None, number)
    ]


@dataclass(frozen=True)
class Standing:
    limit: int
    spent: int
    start: datetime
    end: datetime

    @property
    def blocked(self) -> bool:
        return self.spent >= self.limit


def standing(world: World, person: int, organization: int | None) -> Standing | None:
    """Return how somebody stands to their limit in an organisation, or everywhere."""
    if world.default is None:
        return None
    scope = None
    if (own := world.people[person].own) is not None:
        limit = own
    elif of_groups := limits_of_groups(world, person, organization):
        limit, scope = min(of_groups), organization
    else:
        limit = world.default
    start, end = window(world.period, world.now)
    spent = 0
    for message in world.messages:
        chat = world.chats[message.chat]
        if chat.owner == person and scope in (None, chat.organization):
            spent += (cost(world, message) or 0) if start <= message.at < end else 0
    return Standing(limit, spent, start, end)


def status(world: World, person: int) -> Row:
    """Return the answer of the status route."""
    found = standing(world, person, None)
    if found is None:
        zero = "0001-01-01T00:00:00Z"
        return {"is_limited": False, "current_spend": 0, "period_start": zero, "period_end": zero}
    return {
        "is_limited": True,
        "period": world.period,
        "spend_limit_micros": found.limit,
        "current_spend": found.spent,
        "period_start": shown(found.start),
        "period_end": shown(found.end),
    }


def shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


# costs in a range


def answers(world: World, start: datetime, end: datetime) -> list[Message]:
    return [
        message
        for message in world.messages
        if message.role == "assistant"
        and start <= message.at < end
        and not world.chats[message.chat].purged
    ]


def root(world: World, chat: int) -> int:
    parent = world.chats[chat].parent
    return chat if parent is None or world.chats[parent].purged else parent


def has_usage(message: Message) -> bool:
    return any(name in message.counts for name in USAGE)


def totals(world: World, rows: Iterable[Message]) -> Row:
    listed = list(rows)
    return {
        "total_cost_micros": sum(cost(world, each) or 0 for each in listed),
        **{f"total_{name}": sum(each.counts.get(name, 0) for each in listed) for name in SUMMED},
    }


def _counted(world: World, rows: list[Message]) -> Row:
    return {"message_count": sum(map(has_usage, rows)), **totals(world, rows)}


def grouped(rows: Iterable[Message], key: Callable[[Message], Any]) -> dict[Any, list[Message]]:
    found: dict[Any, list[Message]] = {}
    for each in rows:
        found.setdefault(key(each), []).append(each)
    return found


def summary(world: World, person: int, start: datetime, end: datetime) -> Row:
    """Return the sums of a person; `by_model` and `by_chat` by places in the lists."""
    rows = [each for each in answers(world, start, end) if world.chats[each.chat].owner == person]
    by_model = grouped((each for each in rows if each.model is not None), lambda each: each.model)
    by_chat = grouped(rows, lambda each: root(world, each.chat))
    unpriced = [each for each in rows if cost(world, each) is None]
    return {
        **totals(world, rows),
        "priced_message_count": len(rows) - len(unpriced),
        "unpriced_message_count": sum(map(has_usage, unpriced)),
        "by_model": {
            number: {"display_name": model_name(world, number), **_counted(world, found)}
            for number, found in by_model.items()
        },
        "by_chat": {
            number: {"chat_title": f"chat {number}", **_counted(world, found)}
            for number, found in by_chat.items()
        },
    }


def model_name(world: World, number: int) -> str:
    return world.models[number].display_name.strip() or f"m{number}"


def people(
    world: World, start: datetime, end: datetime, *, search: str, limit: int, offset: int
) -> tuple[int, list[Row]]:
    """Return how many people match, and the page of them."""
    wanted = search.strip().lower()
    rows = []
    by_owner = grouped(answers(world, start, end), lambda each: world.chats[each.chat].owner)
    for number, found in by_owner.items():
        person = world.people[number]
        if wanted not in person.username(number).lower() and wanted not in person.name.lower():
            continue
        roots = {root(world, each.chat) for each in found}
        about = {"username": person.username(number), "name": person.name}
        rows.append({**about, "chat_count": len(roots), **_counted(world, found)})
    rows.sort(key=lambda row: (-row["total_cost_micros"], row["username"]))
    return len(rows), rows[offset : offset + (limit if limit > 0 else 10)]
