"""Random people with limits, models with dated prices, chats and messages; and their rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st

from chatd.accounts import models as accounts
from chatd.accounts.actions import create_organization
from chatd.chats import models as chats
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.providers.prices import price_at
from chatd.providers.pricing import cost_micros
from chatd.spending.periods import Period
from tests.spending import reference
from tests.spending.reference import USAGE, Chat, Group, Message, Model, Person, World
from tests.support.spending import limit_everybody, spend

ORGANIZATIONS = 2
TICK = timedelta(microseconds=1)

NOWS = [
    datetime(2026, 7, 1, 9, tzinfo=UTC),  # a Wednesday: its day and month began the same midnight
    datetime(2024, 2, 29, 23, 59, 59, 999999, UTC),
    datetime(2024, 12, 31, 12, tzinfo=UTC),
    datetime(2025, 3, 3, tzinfo=UTC),  # a Monday's first moment
    datetime(2025, 5, 31, 0, 0, 0, 1, UTC),
]


def borders(now: datetime) -> list[datetime]:
    """Return the moments at which something begins or ends, as seen from `now`."""
    edges = [edge for period in Period.values for edge in reference.window(period, now)]
    return [now, now - timedelta(days=30), *edges]


def instants(now: datetime) -> st.SearchStrategy[datetime]:
    """Return moments next to a border, by a tick at most, and any others."""
    ticks = st.integers(-1, 1).map(lambda number: number * TICK)
    near = st.builds(lambda edge, by: edge + by, st.sampled_from(borders(now)), ticks)
    days = timedelta(days=40)
    return near | near | st.timedeltas(-days, days).map(lambda distance: now + distance)


# Up to twelve digits after the point: sums are seldom whole, and are rounded up once.
price = st.integers(0, 3 * 10**12).map(lambda digits: Fraction(digits, 10**12)) | st.sampled_from(
    [Fraction(0), Fraction(1, 10**12), Fraction(1, 2), Fraction(3)]
)
limits = st.none() | st.integers(1, 5000) | st.sampled_from([10, 50])
KINDS = list(reference.KINDS.values())


@st.composite
def worlds(draw: Any) -> World:
    now = draw(st.sampled_from(NOWS))
    when = instants(now)
    count = draw(st.integers(1, 4))
    people = [
        Person(
            draw(st.sampled_from(["", "Ann Lee", "ANNA", "100% b_x"])),
            draw(st.none() | st.none() | limits),
            draw(st.integers(0, 4)) == 0,
        )
        for _ in range(count)
    ]
    who, where = st.integers(0, count - 1), st.integers(0, ORGANIZATIONS - 1)
    members = draw(st.frozensets(st.tuples(who, where)))
    groups = [
        Group(
            organization,
            draw(limits),
            frozenset(n for n in draw(st.frozensets(who)) if (n, organization) in members),
        )
        for organization in draw(st.lists(where, max_size=3))
    ]
    dated = st.dictionaries(
        when, st.dictionaries(st.sampled_from(KINDS), price, max_size=4), max_size=3
    )
    models = draw(
        st.lists(
            st.builds(
                Model,
                display_name=st.sampled_from(["", "  ", " Large "]),
                enabled=st.booleans(),
                deleted=st.booleans(),
                prices=dated.map(lambda entries: list(entries.items())),
            ),
            min_size=1,
            max_size=3,
        )
    )
    made = [
        Chat(draw(who), draw(where), None, draw(st.integers(0, 5)) == 0)
        for _ in range(draw(st.integers(1, 4)))
    ]
    for parent in draw(st.lists(places(made), max_size=3)):
        made.append(replace(made[parent], parent=parent, purged=draw(st.integers(0, 5)) == 0))
    kinds = st.sampled_from([*USAGE, "runtime_ms"])
    tokens = st.integers(1, 40)
    counts = st.dictionaries(kinds, tokens, max_size=6) | st.dictionaries(kinds, tokens, max_size=1)
    changes = [since for model in models for since, _ in model.prices]
    message = st.builds(
        Message,
        chat=places(made),
        at=when | st.sampled_from(changes or [now]),
        role=st.sampled_from(["assistant"] * 4 + ["user", "tool"]),
        model=st.none() | places(models) | places(models),
        deleted=st.booleans(),
        counts=counts,
    )
    world = World(
        now=now,
        period=draw(st.sampled_from(Period.values)),
        default=draw(limits),
        everyone=tuple(draw(limits) for _ in range(ORGANIZATIONS)),
        gone=draw(st.frozensets(where, max_size=1))
        if draw(st.integers(0, 3)) == 0
        else frozenset(),
        members=members,
        people=people,
        groups=groups,
        models=models,
        chats=made,
        messages=draw(st.lists(message, min_size=draw(st.integers(0, 20)), max_size=25)),
    )
    return _near_a_limit(draw, world)


def places(listed: Sequence[Any]) -> st.SearchStrategy[int]:
    return st.integers(0, len(listed) - 1)


def _near_a_limit(draw: Any, world: World) -> World:
    """Move a limit of somebody to what they spent, or next to it."""
    about = draw(st.none() | places(world.everyone))
    standings = [reference.standing(world, each, about) for each in range(len(world.people))]
    spenders = [(n, found) for n, found in enumerate(standings) if found and found.spent]
    if not spenders:
        return world
    person, found = draw(st.sampled_from(spenders))
    limit = max(1, found.spent + draw(st.sampled_from([-1, 0, 0, 0, 1])))
    whose = draw(st.sampled_from(["default", "own", "own", "everyone"]))
    if whose == "default":
        return replace(world, default=limit)
    if whose == "everyone":
        return replace(world, everyone=(limit,) * ORGANIZATIONS)
    people = list(world.people)
    people[person] = replace(people[person], own=limit)
    return replace(world, people=people)


@dataclass(frozen=True)
class Built:
    """The rows of a world, in its order."""

    organizations: list[accounts.Organization]
    people: list[accounts.User]
    groups: list[accounts.Group]
    models: list[ModelConfig]
    chats: list[chats.Chat]


def build(world: World) -> Built:
    """Store a world: every message costs what the product says, and is counted as spent."""
    limit_everybody(world.default, Period(world.period))
    organizations = [create_organization(name=f"o{number}") for number in range(ORGANIZATIONS)]
    for number, organization in enumerate(organizations):
        everyone = accounts.Group.objects.filter(pk=organization.pk)
        everyone.update(chat_spend_limit_micros=world.everyone[number])
    people = [
        accounts.User.objects.create(
            username=each.username(number), name=each.name, chat_spend_limit_micros=each.own
        )
        for number, each in enumerate(world.people)
    ]
    for person, number in world.members:
        accounts.OrganizationMember.objects.create(
            user=people[person], organization=organizations[number]
        )
    groups = [_group(number, world, people, organizations) for number in range(len(world.groups))]
    models = _models(world)
    made: list[chats.Chat] = []
    for number, each in enumerate(world.chats):
        parent = None if each.parent is None else made[each.parent]
        made.append(
            chats.Chat.objects.create(
                owner=people[each.owner],
                organization=organizations[each.organization],
                last_model_config=models[0],
                parent_chat=parent,
                root_chat=parent,
                title=f"chat {number}",
            )
        )
    for message in world.messages:
        _store(message, made[message.chat], models)
    _remove(world, organizations, people, models, made)
    return Built(organizations, people, groups, models, made)


def _group(
    number: int,
    world: World,
    people: list[accounts.User],
    organizations: list[accounts.Organization],
) -> accounts.Group:
    each = world.groups[number]
    group = accounts.Group.objects.create(
        organization=organizations[each.organization],
        name=f"g{number}",
        chat_spend_limit_micros=each.limit,
    )
    for member in each.members:
        accounts.GroupMember.objects.create(group=group, user=people[member])
    return group


def _models(world: World) -> list[ModelConfig]:
    provider = AIProvider.objects.get()
    made = []
    for number, each in enumerate(world.models):
        config = save_model_config(
            ModelConfig(ai_provider=provider, model=f"m{number}", enabled=each.enabled)
        )
        ModelConfig.objects.filter(pk=config.pk).update(display_name=each.display_name)
        ModelPrice.objects.bulk_create(
            ModelPrice(
                model_config=config,
                valid_from=since,
                **{kind: _decimal(amount) for kind, amount in prices.items()},
            )
            for since, prices in each.prices
        )
        made.append(config)
    return made


def _decimal(amount: Fraction) -> Decimal:
    return Decimal(amount.numerator * 10**12 // amount.denominator).scaleb(-12)


def _store(message: Message, chat: chats.Chat, models: list[ModelConfig]) -> None:
    config = None if message.model is None else models[message.model]
    row = chats.ChatMessage(
        chat=chat,
        revision=1,
        role=message.role,
        content=[],
        model_config=config,
        deleted=message.deleted,
        created_at=message.at,
        **message.counts,
    )
    if config is not None:
        row.total_cost_micros = cost_micros(row, price_at(config.pk, message.at))
    row.save()
    spend(
        row.total_cost_micros or 0,
        owner_id=chat.owner_id,
        organization_id=chat.organization_id,
        at=message.at,
    )


def _remove(
    world: World,
    organizations: list[accounts.Organization],
    people: list[accounts.User],
    models: list[ModelConfig],
    made: list[chats.Chat],
) -> None:
    for each, is_gone in (
        *((organizations[n], n in world.gone) for n in range(ORGANIZATIONS)),
        *((row, each.deleted) for row, each in zip(people, world.people, strict=True)),
        *((row, each.deleted) for row, each in zip(models, world.models, strict=True)),
    ):
        if is_gone:
            type(each).objects.filter(pk=each.pk).update(deleted=True)
    purged = [row.pk for row, each in zip(made, world.chats, strict=True) if each.purged]
    chats.Chat.objects.filter(pk__in=purged).delete()
