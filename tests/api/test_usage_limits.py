"""The routes of usage limits: what everybody has, who has another one, how one stands to it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from chatd.accounts.models import Group, GroupMember, Organization, User
from chatd.audit.models import Action, AuditEntry
from chatd.core.clock import ZERO_TIME
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.prices import set_prices
from chatd.providers.pricing import Prices
from chatd.spending.models import UsageLimitConfig
from tests.api.client import NIL, SIGNED_OUT, Api
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend

LIMITS = "/chats/usage-limits"
UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"
BAD_JSON = "Request body must be valid JSON."
NOT_POSITIVE = "Spend limit must be greater than 0."

pytestmark = pytest.mark.django_db


def of_user(user_id: object) -> str:
    return f"{LIMITS}/overrides/{user_id}"


def of_group(group_id: object) -> str:
    return f"{LIMITS}/group-overrides/{group_id}"


@pytest.fixture
def group(cast: Cast) -> Group:
    """A group of alice, bob and a machine; the machine does not count as a member."""
    made = Group.objects.create(
        organization=cast.organization, name="careful", display_name="The careful", avatar_url="/a"
    )
    machine = User.objects.create(username="machine", is_system=True)
    GroupMember.objects.bulk_create(
        GroupMember(group=made, user=user) for user in (cast.alice, cast.bob, machine)
    )
    return made


def entries(kind: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(resource_type=kind).order_by("pk"))


# the limit of everybody


def test_before_anything_was_set_there_is_no_limit(root: Api) -> None:
    assert root.get(LIMITS).body == {
        "spend_limit_micros": None,
        "period": "",
        "updated_at": ZERO_TIME,
        "unpriced_model_count": 0,
        "overrides": [],
        "group_overrides": [],
    }


def test_a_limit_that_is_set_is_answered_and_read_again(root: Api) -> None:
    with time_machine.travel(datetime(2026, 6, 7, 8, 9, 10, tzinfo=UTC), tick=False):
        answer = root.put(LIMITS, {"spend_limit_micros": 5_000_000, "period": "week"})
    stored = {
        "spend_limit_micros": 5_000_000,
        "period": "week",
        "updated_at": "2026-06-07T08:09:10Z",
    }
    assert (answer.status, answer.body) == (200, stored)
    assert root.get(LIMITS).body.items() >= stored.items()


def test_a_second_change_takes_the_place_of_the_first(root: Api) -> None:
    for period in ("day", "week", "month"):
        sent = {"spend_limit_micros": 7, "period": period, "updated_at": ZERO_TIME}
        assert root.put(LIMITS, sent).body["period"] == period
    assert UsageLimitConfig.objects.count() == 1


@pytest.mark.parametrize(
    ("sent", "period"),
    [
        ({"spend_limit_micros": None, "period": "week"}, "week"),
        ({"spend_limit_micros": None, "period": ""}, "month"),
        ({"spend_limit_micros": None, "period": None}, "month"),
        ({"spend_limit_micros": None}, "month"),
        ({}, "month"),
    ],
)
def test_limits_are_switched_off_and_the_period_is_kept(
    root: Api, sent: dict[str, Any], period: str
) -> None:
    root.put(LIMITS, {"spend_limit_micros": 5, "period": "day"})
    answer = root.put(LIMITS, sent)
    assert answer.status == 200
    for body in (answer.body, root.get(LIMITS).body):
        assert (body["spend_limit_micros"], body["period"]) == (None, period)


@pytest.mark.parametrize(
    ("body", "message", "detail"),
    [
        (b"{", BAD_JSON, None),
        (b"", BAD_JSON, None),
        ({"spend_limit_micros": "5", "period": "x"}, BAD_JSON, None),
        ({"spend_limit_micros": 2**63, "period": "day"}, BAD_JSON, None),
        (
            {"spend_limit_micros": 0, "period": "x"},
            "Invalid chat usage limit spend limit.",
            NOT_POSITIVE,
        ),
        (
            {"spend_limit_micros": -1, "period": "day"},
            "Invalid chat usage limit spend limit.",
            NOT_POSITIVE,
        ),
        *(
            (
                body,
                "Invalid chat usage limit period.",
                "Period must be one of: day, week, month.",
            )
            for body in (
                {"spend_limit_micros": 1},
                {"spend_limit_micros": 1, "period": ""},
                {"spend_limit_micros": 1, "period": "Day"},
                {"spend_limit_micros": None, "period": "year"},
            )
        ),
    ],
)
def test_a_limit_that_cannot_be_is_refused_and_nothing_changes(
    root: Api, body: Any, message: str, detail: str | None
) -> None:
    root.put(LIMITS, {"spend_limit_micros": 5, "period": "day"})
    before = root.get(LIMITS).body
    options = {"raw": body} if isinstance(body, bytes) else {"body": body}
    answer = root.call("PUT", LIMITS, **options)
    assert (answer.status, answer.message) == (400, message)
    assert detail is None or answer.body == {"message": message, "detail": detail}
    assert root.get(LIMITS).body == before


def test_the_largest_limit_there_can_be_is_one(root: Api) -> None:
    sent = {"spend_limit_micros": 2**63 - 1, "period": "day"}
    assert root.put(LIMITS, sent).body["spend_limit_micros"] == 2**63 - 1


# rights


PATHS = [
    ("PUT", LIMITS, {"spend_limit_micros": 1, "period": "day"}),
    ("PUT", of_user("{user}"), {"spend_limit_micros": 1}),
    ("DELETE", of_user("{user}"), None),
    ("PUT", of_group("{group}"), {"spend_limit_micros": 1}),
    ("DELETE", of_group("{group}"), None),
]


@pytest.mark.parametrize(("method", "path", "body"), PATHS)
@pytest.mark.parametrize("bad", [False, True])
def test_others_than_administrators_may_not_change_a_limit_whatever_they_send(
    alice: Api, admin: Api, cast: Cast, group: Group, method: str, path: str, body: Any, bad: bool
) -> None:
    ids = {"user": "x", "group": "x"} if bad else {"user": cast.alice.pk, "group": group.pk}
    options: dict[str, Any] = {"raw": b"{"} if bad else {} if body is None else {"body": body}
    for api in (alice, admin):
        answer = api.call(method, path.format(**ids), **options)
        assert (answer.status, answer.body) == (
            403,
            {
                "message": "Forbidden.",
                "detail": "Only administrators may change the usage limits.",
            },
        )
    assert not UsageLimitConfig.objects.exists()
    assert {entry.refused for entry in AuditEntry.objects.all()} == {"Forbidden."}
    assert [entry.actor_name for entry in AuditEntry.objects.order_by("pk")] == ["alice", "bob"]


@pytest.mark.parametrize(("method", "path", "body"), [*PATHS, ("GET", LIMITS, None)])
def test_nobody_is_told_to_sign_in(db: None, method: str, path: str, body: Any) -> None:
    answer = Api().call(method, path.format(user="x", group="x"), raw=b"{")
    assert (answer.status, answer.message) == (401, SIGNED_OUT)


def test_others_than_administrators_may_not_read_the_limits(alice: Api, admin: Api) -> None:
    for api in (alice, admin):
        answer = api.get(LIMITS)
        assert (answer.status, answer.message) == (403, "Forbidden.")
        assert answer.detail


# people


def test_a_person_is_given_a_limit_another_one_and_none(root: Api, cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(name="Alice A.", avatar_url="/alice.png")
    shown = {
        "user_id": str(cast.alice.pk),
        "username": "alice",
        "name": "Alice A.",
        "avatar_url": "/alice.png",
    }
    for micros in (3, 4):
        answer = root.put(of_user(cast.alice.pk), {"spend_limit_micros": micros})
        assert (answer.status, answer.body) == (200, {**shown, "spend_limit_micros": micros})
        assert root.get(LIMITS).body["overrides"] == [answer.body]
    assert root.delete(of_user(cast.alice.pk)).status == 204
    assert root.get(LIMITS).body["overrides"] == []


def test_people_with_a_limit_are_listed_by_name_unless_they_are_deleted(
    root: Api, cast: Cast
) -> None:
    for user in (cast.carol, cast.root, cast.alice, cast.bob):
        assert root.put(of_user(user.pk), {"spend_limit_micros": 1}).status == 200
    User.objects.filter(pk=cast.bob.pk).update(deleted=True)
    names = [row["username"] for row in root.get(LIMITS).body["overrides"]]
    assert names == ["alice", "carol", "root"]


def test_limits_of_people_and_groups_outlive_the_limit_of_everybody(
    root: Api, cast: Cast, group: Group
) -> None:
    root.put(LIMITS, {"spend_limit_micros": 5, "period": "day"})
    root.put(of_user(cast.alice.pk), {"spend_limit_micros": 1})
    root.put(of_group(group.pk), {"spend_limit_micros": 2})
    root.put(LIMITS, {"spend_limit_micros": None})
    root.put(LIMITS, {"spend_limit_micros": 6, "period": "day"})
    body = root.get(LIMITS).body
    assert [row["spend_limit_micros"] for row in body["overrides"]] == [1]
    assert [row["spend_limit_micros"] for row in body["group_overrides"]] == [2]


@pytest.mark.parametrize(
    ("body", "message", "detail"),
    [
        (b"{", BAD_JSON, None),
        (b"", BAD_JSON, None),
        ({"spend_limit_micros": 1.5}, BAD_JSON, None),
        ({"spend_limit_micros": 2**63}, BAD_JSON, None),
        *(
            (body, "Invalid chat usage limit override.", NOT_POSITIVE)
            for body in (
                {},
                {"spend_limit_micros": None},
                {"spend_limit_micros": 0},
                {"spend_limit_micros": -5},
            )
        ),
    ],
)
def test_a_limit_of_a_person_is_more_than_nothing(
    root: Api, cast: Cast, body: Any, message: str, detail: str | None
) -> None:
    options = {"raw": body} if isinstance(body, bytes) else {"body": body}
    for user_id in (cast.alice.pk, UNKNOWN):  # the body is looked at before the person
        answer = root.call("PUT", of_user(user_id), **options)
        assert (answer.status, answer.message) == (400, message)
        assert detail is None or answer.body == {"message": message, "detail": detail}
    assert root.get(LIMITS).body["overrides"] == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (of_user("x"), "Invalid chat usage limit user ID."),
        (of_user("me"), "Invalid chat usage limit user ID."),
        (of_user("a" * 300), "Invalid chat usage limit user ID."),
        (of_user("%00"), "Invalid chat usage limit user ID."),
        (of_group("x"), "Invalid group ID."),
    ],
)
def test_an_id_that_is_none_is_refused_before_the_body(
    root: Api, method: str, path: str, message: str
) -> None:
    answer = root.call(method, path, raw=b"{")
    assert (answer.status, answer.message) == (400, message)


@pytest.mark.parametrize("user_id", [UNKNOWN, NIL])
def test_an_unknown_person_is_told_apart_by_method(root: Api, user_id: str) -> None:
    put = root.put(of_user(user_id), {"spend_limit_micros": 1})
    assert (put.status, put.body) == (404, {"message": "User not found."})
    delete = root.delete(of_user(user_id))
    assert (delete.status, delete.body) == (400, {"message": "User not found."})


def test_a_deleted_person_is_unknown(root: Api, cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(deleted=True, chat_spend_limit_micros=5)
    assert root.put(of_user(cast.bob.pk), {"spend_limit_micros": 1}).message == "User not found."
    assert root.delete(of_user(cast.bob.pk)).message == "User not found."
    assert User.objects.get(pk=cast.bob.pk).chat_spend_limit_micros == 5


def test_a_limit_that_is_not_there_cannot_be_taken_away(
    root: Api, cast: Cast, group: Group
) -> None:
    answer = root.delete(of_user(cast.alice.pk))
    assert (answer.status, answer.body) == (
        400,
        {"message": "Chat usage limit override not found."},
    )
    answer = root.delete(of_group(group.pk))
    assert (answer.status, answer.body) == (
        400,
        {"message": "Chat usage limit group override not found."},
    )


def test_ids_are_read_in_any_case(root: Api, cast: Cast) -> None:
    path = of_user(str(cast.alice.pk).upper())
    assert root.put(path, {"spend_limit_micros": 1}).body["user_id"] == str(cast.alice.pk)


# groups


def test_a_group_is_given_a_limit_another_one_and_none(root: Api, group: Group) -> None:
    for micros in (3, 4):
        answer = root.put(of_group(group.pk), {"spend_limit_micros": micros})
        assert (answer.status, answer.body) == (
            200,
            {
                "group_id": str(group.pk),
                "group_name": "careful",
                "group_display_name": "The careful",
                "group_avatar_url": "/a",
                "member_count": 2,
                "spend_limit_micros": micros,
            },
        )
        assert root.get(LIMITS).body["group_overrides"] == [answer.body]
    assert root.delete(of_group(group.pk)).status == 204
    assert root.get(LIMITS).body["group_overrides"] == []


def test_everyone_of_an_organization_is_a_group_too(root: Api, cast: Cast) -> None:
    everyone = of_group(cast.organization.pk)
    answer = root.put(everyone, {"spend_limit_micros": 9})
    assert (answer.body["group_name"], answer.body["member_count"]) == ("Everyone", 3)
    assert root.get(LIMITS).body["group_overrides"] == [answer.body]


def test_groups_with_a_limit_are_listed_by_name(root: Api, cast: Cast, group: Group) -> None:
    empty = Group.objects.create(organization=cast.organization, name="absent")
    for each in (group.pk, empty.pk):
        root.put(of_group(each), {"spend_limit_micros": 1})
    listed = root.get(LIMITS).body["group_overrides"]
    assert [(row["group_name"], row["member_count"]) for row in listed] == [
        ("absent", 0),
        ("careful", 2),
    ]


@pytest.mark.parametrize("body", [{}, {"spend_limit_micros": 0}, {"spend_limit_micros": -1}])
def test_a_limit_of_a_group_is_more_than_nothing(
    root: Api, group: Group, body: dict[str, int]
) -> None:
    for group_id in (group.pk, UNKNOWN):
        answer = root.put(of_group(group_id), body)
        assert (answer.status, answer.body) == (
            400,
            {
                "message": "Invalid chat usage limit group override.",
                "detail": "Spend limit (in microdollars) must be greater than 0.",
            },
        )


def test_an_unknown_group_is_told_apart_by_method(root: Api, cast: Cast, group: Group) -> None:
    gone = Organization.objects.create(name="gone", deleted=True)
    of_gone = Group.objects.create(organization=gone, name="g", chat_spend_limit_micros=1)
    for group_id in (UNKNOWN, of_gone.pk):
        put = root.put(of_group(group_id), {"spend_limit_micros": 1})
        assert (put.status, put.body) == (404, {"message": "Group not found."})
        delete = root.delete(of_group(group_id))
        assert (delete.status, delete.body) == (400, {"message": "Group not found."})
    assert root.get(LIMITS).body["group_overrides"] == []


# models without a price


def test_models_without_a_price_of_words_are_counted(root: Api, model: ModelConfig) -> None:
    provider = AIProvider.objects.get()
    one = Decimal(1)
    unpriced = [Prices(), Prices(cache_read=one), Prices(cache_read=one, cache_write=one)]
    priced = [Prices(input=one), Prices(output=Decimal(0)), Prices(output=one, cache_read=one)]

    def made(prices: Prices, **columns: Any) -> ModelConfig:
        config = save_model_config(ModelConfig(ai_provider=provider, model="m", **columns))
        set_prices(config.pk, prices, by=None)
        return config

    for prices in [*unpriced, *priced]:
        made(prices)
    made(Prices(), enabled=False)
    delete_model_config(made(Prices()))
    assert root.get(LIMITS).body["unpriced_model_count"] == len([model, *unpriced])


# one's own status


def test_without_a_limit_the_status_says_so_and_no_more(alice: Api, cast: Cast) -> None:
    off = {
        "is_limited": False,
        "current_spend": 0,
        "period_start": ZERO_TIME,
        "period_end": ZERO_TIME,
    }
    spend(5, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
    assert alice.get(f"{LIMITS}/status").body == off
    limit_everybody(None)
    assert alice.get(f"{LIMITS}/status").body == off


def test_the_status_is_ones_own_and_says_what_was_spent_where_and_until_when(
    root: Api, alice: Api, bob: Api, cast: Cast
) -> None:
    elsewhere = Organization.objects.get(name="elsewhere").pk
    with time_machine.travel(datetime(2026, 2, 11, 12, tzinfo=UTC), tick=False):
        root.put(LIMITS, {"spend_limit_micros": 100, "period": "week"})
        for organization_id in (cast.organization.pk, elsewhere):
            spend(30, owner_id=cast.alice.pk, organization_id=organization_id)
        assert alice.get(f"{LIMITS}/status").body == {
            "is_limited": True,
            "period": "week",
            "spend_limit_micros": 100,
            "current_spend": 60,
            "period_start": "2026-02-09T00:00:00Z",
            "period_end": "2026-02-16T00:00:00Z",
        }
        assert bob.get(f"{LIMITS}/status").body["current_spend"] == 0


def test_a_limited_status_is_no_exceeded_one_and_an_exceeded_one_is_shown(
    alice: Api, cast: Cast
) -> None:
    limit_everybody(10)
    spend(25, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
    body = alice.get(f"{LIMITS}/status").body
    assert (body["is_limited"], body["current_spend"], body["spend_limit_micros"]) == (True, 25, 10)


# the audit log


def test_changes_of_the_limit_are_recorded_with_what_they_changed(root: Api) -> None:
    root.put(LIMITS, {"spend_limit_micros": 5, "period": "day"})
    root.put(LIMITS, {"spend_limit_micros": 5, "period": "day"})
    root.put(LIMITS, {"spend_limit_micros": None})
    root.put(LIMITS, {"spend_limit_micros": 0})
    first, second, refused = entries("usage_limit")
    assert (first.actor_name, first.action, first.changes) == (
        "root",
        Action.WRITE,
        {
            "spend_limit_micros": {"old": None, "new": 5},
            "period": {"old": None, "new": "day"},
        },
    )
    assert second.changes == {
        "spend_limit_micros": {"old": 5, "new": None},
        "period": {"old": "day", "new": "month"},
    }
    assert refused.refused == "Invalid chat usage limit spend limit."


def test_limits_of_people_and_groups_are_recorded_with_whose_they_are(
    root: Api, cast: Cast, group: Group
) -> None:
    for path, resource_id in ((of_user(cast.bob.pk), cast.bob.pk), (of_group(group.pk), group.pk)):
        AuditEntry.objects.all().delete()
        for micros in (5, 6):
            root.put(path, {"spend_limit_micros": micros})
        root.delete(path)
        root.delete(path)
        *changes, refused = entries("usage_limit_override")
        assert [(entry.action, entry.changes["spend_limit_micros"]) for entry in changes] == [
            (Action.CREATE, {"old": None, "new": 5}),
            (Action.WRITE, {"old": 5, "new": 6}),
            (Action.DELETE, {"old": 6, "new": None}),
        ]
        assert {entry.resource_id for entry in (*changes, refused)} == {str(resource_id)}
        assert refused.refused.endswith("override not found.")
    assert [entry.organization_id for entry in changes] == [cast.organization.pk] * 3
    assert {entry.resource_name for entry in changes} == {"The careful"}


def test_a_repeated_request_under_its_key_changes_once(root: Api, cast: Cast) -> None:
    key = {"Idempotency-Key": "limit-1"}
    for _ in range(2):
        answer = root.put(of_user(cast.bob.pk), {"spend_limit_micros": 5}, headers=key)
        assert answer.status == 200
    assert len(entries("usage_limit_override")) == 1
