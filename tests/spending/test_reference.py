"""Costs and limits, as clients are told them, against a slow reading of everything there is."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings

from chatd.providers.models import ModelConfig
from chatd.spending.selectors import standing_of
from tests.api.client import LIMIT_EXCEEDED, Api, api_of, text_part
from tests.conftest import Cast
from tests.spending import reference
from tests.spending.reference import Row, World, shown
from tests.spending.worlds import ORGANIZATIONS, Built, borders, build, instants, worlds

pytestmark = pytest.mark.django_db

ZONES = [timezone(timedelta(minutes=minutes)) for minutes in (0, 330, -720, 840)]
DAYS = timedelta(days=30)

examples = settings(
    max_examples=60,
    phases=[Phase.generate],  # to shrink a world takes minutes
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def in_world(world: World, check: Callable[[Built], None]) -> None:
    """Store a world, look at it at its moment, and forget it."""
    with time_machine.travel(world.now, tick=False), transaction.atomic():
        check(build(world))
        transaction.set_rollback(True)


@st.composite
def ranges(draw: Any, world: World) -> tuple[datetime | None, datetime | None, Row]:
    """Return a range of a world and how a client in any zone asks for it."""
    moments = [*borders(world.now), *(message.at for message in world.messages)]
    edges = st.none() | st.sampled_from(moments) | instants(world.now)
    whole = st.just((world.now - 2 * DAYS, world.now + 2 * DAYS))
    start, end = draw(whole | st.tuples(edges, edges))
    zone = draw(st.sampled_from(ZONES))
    asked = {"start_date": start, "end_date": end}
    query = {name: at.astimezone(zone).isoformat() for name, at in asked.items() if at}
    return start, end, query


@examples
@given(data=st.data())
def test_what_chats_cost(data: st.DataObject, cast: Cast, model: ModelConfig) -> None:
    world = data.draw(worlds())
    start, end, query = data.draw(ranges(world))
    search = data.draw(st.sampled_from(["", "", "P1", " ann ", "%", "_", "Lee", "x y"]))
    limit, offset = data.draw(st.integers(-1, 3)), data.draw(st.integers(0, 3))
    start, end = start or world.now - DAYS, end or world.now

    def check(built: Built) -> None:
        root = api_of(cast.root)
        bounds = {"start_date": shown(start), "end_date": shown(end)}
        page = {"username": search, "limit": limit, "offset": offset}
        count, people = reference.people(
            world, start, end, search=search, limit=limit, offset=offset
        )
        body = root.get(f"/chats/cost/users?{urlencode(query | page)}").body
        listed = [without(row, "user_id", "avatar_url") for row in body.pop("users")]
        assert (body, listed) == ({**bounds, "count": count}, people)
        for number, person in enumerate(world.people):
            path = f"/chats/cost/{built.people[number].pk}/summary?{urlencode(query)}"
            answer = root.get(path)
            assert answer.status == (404 if person.deleted else 200)
            if not person.deleted:
                told = reference.status(world, number)
                limited = {"usage_limit": told} if told["is_limited"] else {}
                wanted = reference.summary(world, number, start, end)
                assert named(answer.body, built) == {**bounds, **wanted, **limited}

    in_world(world, check)


def named(body: Row, built: Built) -> Row:
    """Return a summary with places in lists for ids; its lists are in order."""
    for name, key, rows in (
        ("by_model", "model_config_id", built.models),
        ("by_chat", "root_chat_id", built.chats),
    ):
        places = {str(row.pk): place for place, row in enumerate(rows)}
        amounts = [each["total_cost_micros"] for each in body[name]]
        assert amounts == sorted(amounts, reverse=True)
        found = {places[each[key]]: without(each, key, "provider", "model") for each in body[name]}
        assert len(found) == len(body[name])
        body[name] = found
    return body


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


@examples
@given(world=worlds())
def test_which_limit_holds_and_what_was_spent_of_it(
    world: World, cast: Cast, model: ModelConfig
) -> None:
    def check(built: Built) -> None:
        for number, person in enumerate(built.people):
            for organization in (None, *range(ORGANIZATIONS)):
                row = None if organization is None else built.organizations[organization].pk
                found = standing_of(person.pk, organization_id=row)
                wanted = reference.standing(world, number, organization)
                assert (found is None) == (wanted is None)
                if found is not None and wanted is not None:
                    assert (found.limit_micros, found.spent_micros) == (wanted.limit, wanted.spent)
                    assert (found.window.start, found.window.end) == (wanted.start, wanted.end)
                    assert found.is_exceeded == wanted.blocked
            if not world.people[number].deleted:
                api = api_of(person)
                told = api.get("/chats/usage-limits/status").body
                assert told == reference.status(world, number)
                for organization in range(ORGANIZATIONS):
                    if (number, organization) in world.members - _of_gone(world):
                        wanted = reference.standing(world, number, organization)
                        check_admission(api, built, model, organization, wanted)

    in_world(world, check)


def _of_gone(world: World) -> set[tuple[int, int]]:
    return {each for each in world.members if each[1] in world.gone}


def check_admission(
    api: Api,
    built: Built,
    model: ModelConfig,
    organization: int,
    wanted: reference.Standing | None,
) -> None:
    """Begin a chat: it is refused exactly when its owner has used up their limit."""
    body = {
        "organization_id": str(built.organizations[organization].pk),
        "model_config_id": str(model.pk),
        "content": [text_part()],
    }
    answer = api.post("/chats", body)
    if wanted is None or not wanted.blocked:
        assert answer.status == 201
        return
    assert (answer.status, answer.body) == (
        409,
        {
            "message": LIMIT_EXCEEDED,
            "spent_micros": wanted.spent,
            "limit_micros": wanted.limit,
            "resets_at": shown(wanted.end),
        },
    )


@examples
@given(world=worlds())
def test_what_administrators_see_of_limits(world: World, cast: Cast, model: ModelConfig) -> None:
    def check(built: Built) -> None:
        body = api_of(cast.root).get("/chats/usage-limits").body
        # `model` has no price either
        assert body["unpriced_model_count"] == reference.unpriced_model_count(world) + 1
        assert (body["spend_limit_micros"], body["period"]) == (world.default, world.period)
        assert [(each["username"], each["spend_limit_micros"]) for each in body["overrides"]] == [
            (each.username(number), each.own)
            for number, each in enumerate(world.people)
            if each.own is not None and not each.deleted
        ]
        told = {
            each["group_id"]: (each["spend_limit_micros"], each["member_count"])
            for each in body["group_overrides"]
        }
        assert told == limited_groups(world, built)

    in_world(world, check)


def limited_groups(world: World, built: Built) -> dict[str, tuple[int, int]]:
    found = {}
    for number, limit in enumerate(world.everyone):
        everyone = {person for person, joined in world.members if joined == number}
        found[str(built.organizations[number].pk)] = (number, limit, everyone)
    for row, group in zip(built.groups, world.groups, strict=True):
        found[str(row.pk)] = (group.organization, group.limit, set(group.members))
    return {
        key: (limit, sum(not world.people[person].deleted for person in people))
        for key, (number, limit, people) in found.items()
        if limit is not None and number not in world.gone
    }
