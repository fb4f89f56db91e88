"""What chats have cost: sums that a slow reading of all messages confirms, and who may see them."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from chatd.accounts.actions import create_user
from chatd.accounts.models import SiteRole, User
from chatd.chats import costs
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.clock import now
from chatd.providers.models import AIProvider, ModelConfig
from tests.api.client import Api, Chats, api_of
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend

pytestmark = pytest.mark.django_db

USERS = "/chats/cost/users"
SUMS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "runtime_ms")
COUNTED = (*SUMS[:4], "reasoning_tokens")
START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
RANGE = "?start_date=2026-03-01T00:00:00Z&end_date=2026-04-01T00:00:00Z"


def of(who: object) -> str:
    return f"/chats/cost/{who}/summary"


def answer(chat: Chat, at: datetime, **columns: Any) -> ChatMessage:
    given = {"role": Role.ASSISTANT, "content": [], "revision": 1, **columns}
    return ChatMessage.objects.create(chat=chat, created_at=at, **given)


@pytest.fixture
def history(cast: Cast, model: ModelConfig) -> list[ChatMessage]:
    """Random answers of two people in roots and sub-chats, some deleted, unpriced, out of range."""
    chance = random.Random(7)
    prices = [None, 0, 1, 10**9, 123_456]
    counts = [None, None, 0, 17, 9_999]
    other = ModelConfig.objects.create(
        ai_provider=AIProvider.objects.first(), model="other", provider="openai", deleted=True
    )
    made: list[Chat] = []
    for owner in (cast.alice, cast.bob):
        chats = Chats(owner, cast.organization, model)
        for _ in range(3):
            root = chats.waiting()
            made += [root, chats.child_of(root)]
    ChatMessage.objects.all().delete()
    for _ in range(200):
        answer(
            chance.choice(made),
            START + timedelta(days=chance.uniform(-5, 40)),
            role=chance.choice([Role.ASSISTANT] * 4 + [Role.USER]),
            deleted=chance.random() < 0.2,
            model_config=chance.choice([model, other, None]),
            total_cost_micros=chance.choice(prices),
            **{name: chance.choice(counts) for name in (*SUMS, "reasoning_tokens")},
        )
    answer(made[0], START, total_cost_micros=5)
    answer(made[0], END, total_cost_micros=7)
    return list(ChatMessage.objects.select_related("chat", "model_config"))


def within(history: list[ChatMessage], owner: User | None = None) -> list[ChatMessage]:
    return [
        each
        for each in history
        if each.role == Role.ASSISTANT
        and START <= each.created_at < END
        and (owner is None or each.chat.owner_id == owner.pk)
    ]


def totals(rows: list[ChatMessage]) -> dict[str, int]:
    return {
        "total_cost_micros": sum(each.total_cost_micros or 0 for each in rows),
        **{f"total_{name}": sum(getattr(each, name) or 0 for each in rows) for name in SUMS},
    }


def has_usage(message: ChatMessage) -> bool:
    return any(getattr(message, name) is not None for name in COUNTED)


def grouped(
    rows: list[ChatMessage], key: Callable[[ChatMessage], Any]
) -> dict[Any, list[ChatMessage]]:
    found: dict[Any, list[ChatMessage]] = {}
    for each in rows:
        found.setdefault(key(each), []).append(each)
    return found


def root_of(message: ChatMessage) -> str:
    return str(message.chat.root_chat_id or message.chat_id)


def test_a_summary_is_what_a_slow_reading_comes_to(
    alice: Api, cast: Cast, history: list[ChatMessage]
) -> None:
    found = alice.get(of("me") + RANGE)
    rows = within(history, cast.alice)
    assert found.status == 200
    body = found.body
    assert (body["start_date"], body["end_date"]) == (
        "2026-03-01T00:00:00Z",
        "2026-04-01T00:00:00Z",
    )
    assert totals(rows).items() <= body.items()
    priced = [each for each in rows if each.total_cost_micros is not None]
    unpriced = [each for each in rows if each.total_cost_micros is None and has_usage(each)]
    assert body["priced_message_count"] == len(priced) > 10
    assert body["unpriced_message_count"] == len(unpriced) > 5
    assert "usage_limit" not in body


def test_models_and_chats_are_listed_by_what_they_cost(
    alice: Api, cast: Cast, model: ModelConfig, history: list[ChatMessage]
) -> None:
    body = alice.get(of("me") + RANGE).body
    rows = within(history, cast.alice)
    by_model = grouped([r for r in rows if r.model_config_id], lambda r: str(r.model_config_id))
    by_chat = grouped(rows, root_of)
    for listed, key, expected in (
        (body["by_model"], "model_config_id", by_model),
        (body["by_chat"], "root_chat_id", by_chat),
    ):
        assert {each[key] for each in listed} == set(expected)
        for each in listed:
            group = expected[each[key]]
            assert totals(group).items() <= each.items()
            assert each["message_count"] == sum(map(has_usage, group))
        amounts = [each["total_cost_micros"] for each in listed]
        assert amounts == sorted(amounts, reverse=True)
    names = {each["model"]: each for each in body["by_model"]}
    assert names["other"]["display_name"] == "other"
    assert names[model.model]["provider"] == model.provider
    titles = {str(pk): title for pk, title in Chat.objects.values_list("pk", "title")}
    assert {each["root_chat_id"]: each["chat_title"] for each in body["by_chat"]} == {
        root_id: titles[root_id] for root_id in by_chat
    }


def test_everybody_s_costs_are_what_a_slow_reading_comes_to(
    root: Api, cast: Cast, history: list[ChatMessage]
) -> None:
    body = root.get(USERS + RANGE).body
    people = grouped(within(history), lambda row: str(row.chat.owner_id))
    assert body["count"] == len(people) == len(body["users"]) == 2
    for each in body["users"]:
        rows = people[each["user_id"]]
        assert totals(rows).items() <= each.items()
        assert each["message_count"] == sum(map(has_usage, rows))
        assert each["chat_count"] == len({root_of(row) for row in rows})
    amounts = [each["total_cost_micros"] for each in body["users"]]
    assert amounts == sorted(amounts, reverse=True)
    assert {each["username"] for each in body["users"]} == {"alice", "bob"}


def test_pages_and_a_search_of_everybody_s_costs(root: Api, history: list[ChatMessage]) -> None:
    whole = root.get(USERS + RANGE).body["users"]
    for limit in ("0", "-3", ""):
        assert root.get(f"{USERS}{RANGE}&limit={limit}").body["users"] == whole
    page = root.get(f"{USERS}{RANGE}&limit=1&offset=1").body
    assert (page["count"], page["users"]) == (2, whole[1:])
    beyond = root.get(f"{USERS}{RANGE}&offset=5").body
    assert (beyond["count"], beyond["users"]) == (2, [])
    for search in ("LIC", " lic ", "alice"):
        found = root.get(f"{USERS}{RANGE}&username={search.replace(' ', '%20')}").body
        assert [each["username"] for each in found["users"]] == ["alice"]
        assert found["count"] == 1
    for search in ("%25", "_", "%00", "alice%00"):
        found = root.get(f"{USERS}{RANGE}&username={search}").body
        assert (found["count"], found["users"]) == (0, [])


def test_the_last_thirty_days_are_meant_when_nothing_is_said(
    alice: Api, cast: Cast, model: ModelConfig
) -> None:
    chat = Chats(cast.alice, cast.organization, model).waiting()
    ChatMessage.objects.all().delete()
    for days in (1, 29, 31):
        answer(chat, now() - timedelta(days=days), total_cost_micros=10**days % 1000 + days)
    body = alice.get(of("me")).body
    assert body["priced_message_count"] == 2
    start, end = (datetime.fromisoformat(body[name]) for name in ("start_date", "end_date"))
    assert end - start == timedelta(days=30)
    assert alice.get(of("me") + "?start_date=2030-01-01T00:00:00Z").body["by_chat"] == []


def test_one_s_limit_is_told_while_there_are_limits(alice: Api, cast: Cast) -> None:
    limit_everybody(1000)
    spend(300, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
    status = alice.get("/chats/usage-limits/status").body
    assert alice.get(of("me")).body["usage_limit"] == status
    assert status["current_spend"] == 300


def test_a_limit_that_cannot_be_read_is_left_out(
    alice: Api, history: list[ChatMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    monkeypatch.setattr(costs, "standing_of", fail)
    body = alice.get(of("me") + RANGE).body
    assert "usage_limit" not in body
    assert body["by_chat"]


def test_deleted_people_are_still_listed_and_have_no_summary(
    root: Api, cast: Cast, history: list[ChatMessage]
) -> None:
    before = root.get(USERS + RANGE).body
    User.objects.filter(pk=cast.bob.pk).update(deleted=True)
    assert root.get(USERS + RANGE).body == before
    for who in ("bob", cast.bob.pk):
        assert root.get(of(who) + RANGE).status == 404


def test_a_chat_whose_root_was_purged_is_its_own_root(
    alice: Api, cast: Cast, model: ModelConfig
) -> None:
    chats = Chats(cast.alice, cast.organization, model)
    root = chats.waiting()
    child = chats.child_of(root)
    Chat.objects.filter(pk=root.pk).update(title="the root")
    ChatMessage.objects.all().delete()
    for chat, micros in ((root, 5), (child, 7)):
        answer(chat, START, total_cost_micros=micros)
    (whole,) = alice.get(of("me") + RANGE).body["by_chat"]
    assert (whole["chat_title"], whole["total_cost_micros"]) == ("the root", 12)
    root.delete()
    (left,) = alice.get(of("me") + RANGE).body["by_chat"]
    assert (left["root_chat_id"], left["total_cost_micros"]) == (str(child.pk), 7)


@pytest.mark.parametrize(
    "query",
    ["start_date=x", "end_date=2026-01-01", "end_date=2026-13-01T00:00:00Z", "who=1", "limit=1"],
)
def test_a_bad_query_is_refused_with_its_parameter(alice: Api, query: str) -> None:
    refused = alice.get(f"{of('me')}?{query}")
    assert (refused.status, refused.body["message"]) == (400, "Invalid query parameters.")
    assert [each["field"] for each in refused.body["validations"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("query", ["offset=-1", "limit=2147483648", "offset=2147483648", "limit=x"])
def test_a_bad_page_is_refused(root: Api, query: str) -> None:
    assert root.get(f"{USERS}?{query}").status == 400


def test_who_may_see_what_somebody_spends(
    alice: Api, bob: Api, admin: Api, root: Api, cast: Cast
) -> None:
    auditor = create_user(
        username="audit", email="a@x.example", password=None, site_roles=[SiteRole.AUDITOR]
    )
    for who in ("me", "alice", str(cast.alice.pk)):
        assert alice.get(of(who)).status == 200
    assert root.get(of("alice")).status == 200
    assert alice.get(of("carol")).status == 404
    assert alice.get(of("nobody")).status == 404
    assert api_of(auditor).get(of("alice")).status == 403
    assert api_of(auditor).get(f"{of('alice')}?start_date=x").status == 400
    assert api_of(auditor).get(of("nobody") + "?start_date=x").status == 404


def test_who_may_see_what_everybody_spends(alice: Api, root: Api) -> None:
    assert root.get(USERS).status == 200
    assert alice.get(USERS).status == 403
    assert alice.get(USERS + "?offset=-1").status == 403


def test_who_may_not_chat_sees_no_costs_of_their_own(
    alice: Api, without_access: Callable[[], None]
) -> None:
    without_access()
    assert alice.get(of("me") + "?start_date=x").status == 400
    assert alice.get(of("me")).status == 403
