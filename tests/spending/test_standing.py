"""The limit that holds, and what was spent of it, against a slow reference that sums messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings

from chatd.accounts.actions import create_organization
from chatd.accounts.models import Group, GroupMember, Organization, OrganizationMember, User
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.providers.models import ModelConfig
from chatd.spending.limits import Standing
from chatd.spending.models import UsageLimitConfig
from chatd.spending.periods import Period, Window
from chatd.spending.selectors import standing_of
from chatd.spending.standings import list_standings
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)
"""A Wednesday: the day and the month began the same midnight, the week two days before."""

EDGES = [timedelta(hours=hours) for hours in (9, 9 + 48, -15, -15 - 24 * 4, -15 - 24 * 30)]
"""How long before NOW its periods began, and how long before that they end."""


@dataclass(frozen=True)
class Spent:
    """A message: in whose chat, of which organisation, when, and what it cost."""

    mine: bool
    organization: int
    before: timedelta
    micros: int | None
    deleted: bool


@dataclass(frozen=True)
class World:
    """Everything that a limit depends on. `groups`: organisation, is Everyone, am I in, limit."""

    default: int | None
    period: Period
    own: int | None
    joined: tuple[bool, bool]
    groups: Sequence[tuple[int, bool, bool, int | None]]
    spent: Sequence[Spent]
    about: int | None


limits = st.none() | st.integers(1, 100)
worlds = st.builds(
    World,
    default=limits,
    period=st.sampled_from(Period),
    own=st.none() | limits,
    joined=st.tuples(st.booleans(), st.booleans()),
    groups=st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans(), limits), max_size=5),
    spent=st.lists(
        st.builds(
            Spent,
            mine=st.integers(0, 3).map(bool),
            organization=st.integers(0, 1),
            before=st.timedeltas(timedelta(days=-32), timedelta(days=32)) | st.sampled_from(EDGES),
            micros=st.none() | st.integers(0, 60),
            deleted=st.booleans(),
        ),
        max_size=12,
    ),
    about=st.none() | st.integers(0, 1),
)


@pytest.fixture
def organizations(cast: Cast) -> list[Organization]:
    """Two, of which nobody is a member."""
    return [create_organization(name="first"), create_organization(name="second")]


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(world=worlds)
def test_a_standing_is_what_a_sum_over_all_messages_says(
    world: World, cast: Cast, organizations: list[Organization], model: ModelConfig
) -> None:
    with transaction.atomic():
        build(world, cast, organizations, model)
        about = None if world.about is None else organizations[world.about].pk
        found = standing_of(cast.alice.pk, organization_id=about, at=NOW)
        assert found == reference(cast.alice.pk, about)
        listed = {each.user.pk: each for each in list_standings(NOW).people}
        if everywhere := reference(cast.alice.pk, None):
            mine = listed.get(cast.alice.pk)
            assert (mine.spent_micros if mine else 0) == everywhere.spent_micros
            assert mine is None or mine.limit_micros == everywhere.limit_micros
        transaction.set_rollback(True)


def build(world: World, cast: Cast, organizations: list[Organization], model: ModelConfig) -> None:
    limit_everybody(world.default, world.period)
    User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=world.own)
    OrganizationMember.objects.filter(user=cast.alice).delete()
    for joined, organization in zip(world.joined, organizations, strict=True):
        if joined:
            OrganizationMember.objects.create(organization=organization, user=cast.alice)
    for number, (which, is_everyone, am_in, micros) in enumerate(world.groups):
        organization = organizations[which]
        if is_everyone:
            everyone = Group.objects.filter(pk=organization.pk)
            everyone.update(chat_spend_limit_micros=micros)
            continue
        group = Group.objects.create(
            organization=organization, name=f"g{number}", chat_spend_limit_micros=micros
        )
        if am_in and world.joined[which]:
            GroupMember.objects.create(group=group, user=cast.alice)
    chats: dict[Any, Chat] = {}
    for entry in world.spent:
        owner = cast.alice if entry.mine else cast.bob
        key = (owner.pk, entry.organization)
        if key not in chats:
            organization = organizations[entry.organization]
            chats[key] = Chat.objects.create(
                owner=owner, organization=organization, last_model_config=model
            )
        at = NOW - entry.before
        ChatMessage.objects.create(
            chat=chats[key],
            revision=1,
            role=Role.ASSISTANT,
            content=[],
            deleted=entry.deleted,
            total_cost_micros=entry.micros,
            created_at=at,
        )
        spend(
            entry.micros or 0,
            owner_id=owner.pk,
            organization_id=chats[key].organization_id,
            at=at,
        )


def reference(user_id: UUID, about: UUID | None) -> Standing | None:
    """Read all rows there are and go by the words of the contract."""
    config = UsageLimitConfig.objects.get()
    if not config.enabled:
        return None
    user = User.objects.get(pk=user_id)
    groups = [
        group
        for group in Group.objects.all()
        if group.chat_spend_limit_micros is not None
        and (about is None or group.organization_id == about)
        and (
            GroupMember.objects.filter(group=group, user=user).exists()
            or (
                group.is_everyone
                and OrganizationMember.objects.filter(
                    organization_id=group.organization_id, user=user
                ).exists()
            )
        )
    ]
    start, end = {
        "day": (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC)),
        "week": (datetime(2026, 6, 29, tzinfo=UTC), datetime(2026, 7, 6, tzinfo=UTC)),
        "month": (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)),
    }[config.period]
    counts_here_alone = user.chat_spend_limit_micros is None and groups and about is not None
    if user.chat_spend_limit_micros is not None:
        limit = user.chat_spend_limit_micros
    elif groups:
        limit = min(group.chat_spend_limit_micros or 0 for group in groups)
    else:
        limit = config.default_limit_micros
    spent = 0
    for message in ChatMessage.objects.select_related("chat"):
        if message.chat.owner_id != user_id or not start <= message.created_at < end:
            continue
        if counts_here_alone and message.chat.organization_id != about:
            continue
        spent += message.total_cost_micros or 0
    return Standing(
        period=Period(config.period),
        window=Window(start, end),
        limit_micros=limit,
        spent_micros=spent,
        held_micros=0,
    )


def test_nothing_is_limited_before_a_limit_was_ever_set(cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=1)
    assert standing_of(cast.alice.pk) is None


def test_the_default_holds_for_somebody_of_whom_nothing_is_known_yet(cast: Cast) -> None:
    limit_everybody(5)
    standing = standing_of(cast.alice.pk)
    assert standing is not None
    assert (standing.limit_micros, standing.spent_micros, standing.is_exceeded) == (5, 0, False)


def test_a_group_of_an_organization_that_was_left_or_deleted_counts_no_more(cast: Cast) -> None:
    limit_everybody(50)
    group = Group.objects.create(
        organization=cast.organization, name="careful", chat_spend_limit_micros=5
    )
    GroupMember.objects.create(group=group, user=cast.alice)

    def limit() -> int:
        standing = standing_of(cast.alice.pk)
        assert standing is not None
        return standing.limit_micros

    assert limit() == 5
    membership = OrganizationMember.objects.filter(user=cast.alice)
    (organization_id,) = membership.values_list("organization_id", flat=True)
    membership.delete()
    assert limit() == 50
    OrganizationMember.objects.create(user=cast.alice, organization_id=organization_id)
    assert limit() == 5
    User.objects.filter(pk=cast.alice.pk).update(deleted=True)
    assert limit() == 50, "deleted people are in no group"
    User.objects.filter(pk=cast.alice.pk).update(deleted=False)
    Organization.objects.filter(pk=organization_id).update(deleted=True)
    assert limit() == 50


def test_a_limit_that_is_off_costs_one_query(cast: Cast) -> None:
    limit_everybody(None)
    with CaptureQueriesContext(connection) as captured:
        assert standing_of(cast.alice.pk) is None
    assert len(captured) == 1
