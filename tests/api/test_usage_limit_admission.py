"""Who has used up a limit may begin nothing that costs money: the 409 of the five places."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection

from chatd.accounts.models import Group, Organization, OrganizationMember, User
from chatd.audit.models import AuditEntry
from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, Role
from chatd.chats.moves import MAX_QUEUED
from chatd.chats.titles import TITLE_LOCKED
from chatd.spending.models import SpendDay
from chatd.spending.periods import Period
from tests.api.client import LIMIT_EXCEEDED, NIL, Answer, Api, Chats, queue, text_part
from tests.conftest import Cast
from tests.support.spending import limit_everybody, spend, spend_in

pytestmark = pytest.mark.django_db

LIMIT = 1_000_000
UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"
CONTENT = {"content": [text_part("And then?")]}


@dataclass(frozen=True)
class Place:
    """A request that begins what costs money; `body` is a good one, `bad` fails a later check."""

    name: str
    method: str
    path: str
    status: int
    chat: Callable[[Chats], Chat] = Chats.waiting
    body: Any = None
    later: Any = None

    def __str__(self) -> str:
        return self.name

    def ask(self, api: Api, chat: Chat, body: Any = None) -> Answer:
        user_message = ChatMessage.objects.filter(chat=chat, role=Role.USER).order_by("pk").first()
        path = self.path.format(chat=chat.pk, message=user_message.pk if user_message else 0)
        sent = body or self.body
        if self.name == "create" and sent is not None:
            sent = {"organization_id": str(chat.organization_id), **sent}
        return api.call(self.method, path, **({} if sent is None else {"body": sent}))


CREATE = Place(
    "create", "POST", "/chats", 201, body=CONTENT, later=CONTENT | {"model_config_id": UNKNOWN}
)
SEND = Place(
    "send",
    "POST",
    "/chats/{chat}/messages",
    200,
    body=CONTENT | {"plan_mode": "plan"},
    later=CONTENT | {"model_config_id": UNKNOWN},
)
QUEUE = Place(
    "queue", "POST", "/chats/{chat}/messages", 200, Chats.running, body=SEND.body, later=SEND.later
)
INTERRUPT = Place(
    "send and interrupt",
    "POST",
    "/chats/{chat}/messages",
    200,
    Chats.requiring_action,
    body=SEND.body | {"busy_behavior": "interrupt"},
)
EDIT = Place(
    "edit",
    "PATCH",
    "/chats/{chat}/messages/{message}",
    200,
    body=CONTENT,
    later=CONTENT | {"model_config_id": UNKNOWN},
)
REGENERATE = Place("regenerate", "POST", "/chats/{chat}/title/regenerate", 200, Chats.unwritten)
PROPOSE = Place("propose", "POST", "/chats/{chat}/title/propose", 200, Chats.unwritten)

PLACES = [CREATE, SEND, QUEUE, INTERRUPT, EDIT, REGENERATE, PROPOSE]
WITH_LATER = [place for place in PLACES if place.later]

each_place = pytest.mark.parametrize("place", PLACES, ids=str)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Noon of a Wednesday, the first of July, which stands still until it is moved."""
    with time_machine.travel(datetime(2026, 7, 1, 12, tzinfo=UTC), tick=False) as traveller:
        yield traveller


def everything() -> list[Any]:
    """Return all rows that a request could change."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (Chat, ChatMessage, ChatQueuedMessage, SpendDay, AuditEntry)
    ]


def refusal(spent: int, limit: int = LIMIT, resets_at: str = "2026-08-01T00:00:00Z") -> Any:
    return {
        "message": "Chat usage limit exceeded.",
        "spent_micros": spent,
        "limit_micros": limit,
        "resets_at": resets_at,
    }


def assert_refused(answer: Answer, body: Any) -> None:
    assert (answer.status, answer.body) == (409, body)


@each_place
@pytest.mark.parametrize("spent", [LIMIT, LIMIT + 1, 2**62])
def test_at_the_limit_and_over_it_nothing_is_begun_and_nothing_kept(
    place: Place, spent: int, alice: Api, chats: Chats
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    spend_in(chat, spent)
    before = everything()
    assert_refused(place.ask(alice, chat), refusal(spent))
    assert everything() == before


@each_place
def test_one_micro_below_the_limit_all_goes_on(place: Place, alice: Api, chats: Chats) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT - 1)
    assert place.ask(alice, chat).status == place.status


@each_place
def test_a_raise_counts_from_the_next_request(
    place: Place, alice: Api, root: Api, chats: Chats
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    assert_refused(place.ask(alice, chat), refusal(LIMIT))
    path = f"/chats/usage-limits/overrides/{chat.owner_id}"
    assert root.put(path, {"spend_limit_micros": LIMIT + 1}).status == 200
    assert place.ask(alice, chat).status == place.status


@each_place
@pytest.mark.parametrize(
    ("period", "resets_at"),
    [
        (Period.DAY, datetime(2026, 7, 2, tzinfo=UTC)),
        (Period.WEEK, datetime(2026, 7, 6, tzinfo=UTC)),
        (Period.MONTH, datetime(2026, 8, 1, tzinfo=UTC)),
    ],
)
def test_the_limit_starts_anew_with_its_period(
    place: Place,
    period: Period,
    resets_at: datetime,
    alice: Api,
    chats: Chats,
    clock: time_machine.Traveller,
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT, period)
    spend_in(chat, LIMIT)
    Chat.objects.filter(pk=chat.pk, lease_expires_at__isnull=False).update(
        lease_expires_at=resets_at + timedelta(days=1)
    )
    clock.move_to(resets_at - timedelta(microseconds=1))
    shown = resets_at.strftime("%Y-%m-%dT00:00:00Z")
    assert_refused(place.ask(alice, chat), refusal(LIMIT, resets_at=shown))
    clock.move_to(resets_at)
    assert place.ask(alice, chat).status == place.status


@each_place
def test_what_others_spent_does_not_count(
    place: Place, alice: Api, chats: Chats, cast: Cast
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    spend(LIMIT, owner_id=cast.bob.pk, organization_id=cast.organization.pk)
    assert place.ask(alice, chat).status == place.status


@each_place
def test_a_limit_of_a_group_counts_what_is_spent_in_its_organization(
    place: Place, alice: Api, chats: Chats, cast: Cast
) -> None:
    chat = place.chat(chats)
    elsewhere = Organization.objects.get(name="elsewhere")
    OrganizationMember.objects.create(organization=elsewhere, user=cast.alice)
    Group.objects.filter(pk=elsewhere.pk).update(chat_spend_limit_micros=1)
    Group.objects.filter(pk=cast.organization.pk).update(chat_spend_limit_micros=50)
    limit_everybody(LIMIT)
    spend(LIMIT * 2, owner_id=cast.alice.pk, organization_id=elsewhere.pk)
    spend_in(chat, 49)
    assert place.ask(alice, chat).status == place.status
    spend_in(chat, 1)
    assert_refused(place.ask(alice, chat), refusal(50, 50))


@each_place
@pytest.mark.parametrize("table", ["spending_usagelimitconfig", "spending_spendday"])
def test_a_limit_that_cannot_be_read_refuses_nobody(
    place: Place, table: str, alice: Api, chats: Chats, caplog: pytest.LogCaptureFixture
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    assert place.ask(alice, chat).status == place.status
    assert "usage limit not checked" in caplog.text


# the place in the order of the checks


@pytest.mark.parametrize("place", WITH_LATER, ids=str)
def test_the_limit_is_told_before_an_unknown_model(place: Place, alice: Api, chats: Chats) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    answer = place.ask(alice, chat, place.later)
    assert (answer.status, answer.message) == (400, "Invalid model config ID.")
    spend_in(chat, LIMIT)
    assert_refused(place.ask(alice, chat, place.later), refusal(LIMIT))


@pytest.mark.parametrize(
    ("place", "earlier"),
    [
        (CREATE, {"content": []}),
        (CREATE, CONTENT | {"model_config_id": NIL}),
        (CREATE, CONTENT | {"client_type": "x"}),
        (SEND, {"content": []}),
        (SEND, CONTENT | {"plan_mode": "x"}),
        (SEND, CONTENT | {"busy_behavior": "x"}),
        (EDIT, {"content": []}),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_request_is_told_before_the_limit(
    place: Place, earlier: Any, alice: Api, chats: Chats
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    assert place.ask(alice, chat, earlier).status == 400


@pytest.mark.parametrize("place", [SEND, EDIT], ids=str)
def test_an_archived_chat_is_told_before_the_limit(place: Place, alice: Api, chats: Chats) -> None:
    chat = chats.archived()
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    answer = place.ask(alice, chat)
    assert (answer.status, "archived" in answer.message) == (400, True)


def test_the_limit_is_told_before_an_unknown_message(alice: Api, chats: Chats) -> None:
    chat = chats.waiting()
    limit_everybody(LIMIT)
    path = f"/chats/{chat.pk}/messages/{2**40}"
    assert alice.patch(path, CONTENT).status == 404
    spend_in(chat, LIMIT)
    assert_refused(alice.patch(path, CONTENT), refusal(LIMIT))


def test_the_limit_is_told_before_a_full_queue(alice: Api, chats: Chats) -> None:
    chat = chats.running()
    for _ in range(MAX_QUEUED):
        queue(chat)
    limit_everybody(LIMIT)
    assert SEND.ask(alice, chat).status == 429
    spend_in(chat, LIMIT)
    assert_refused(SEND.ask(alice, chat), refusal(LIMIT))


@pytest.mark.parametrize("place", [REGENERATE, PROPOSE], ids=str)
def test_a_title_that_is_being_made_is_told_before_the_limit(
    place: Place, alice: Api, chats: Chats
) -> None:
    chat = chats.pending()
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    answer = place.ask(alice, chat)
    assert (answer.status, answer.body) == (409, {"message": TITLE_LOCKED})


@each_place
def test_who_may_not_ask_is_told_nothing_of_the_limit(
    place: Place, admin: Api, carol: Api, chats: Chats
) -> None:
    chat = place.chat(chats)
    limit_everybody(LIMIT)
    for user in User.objects.all():
        spend(LIMIT, owner_id=user.pk, organization_id=chat.organization_id)
    assert place.ask(carol, chat).status == (403 if place is CREATE else 404)
    assert place.ask(admin, chat).status == (409 if place is CREATE else 403)


# what a limit does not touch


def test_a_message_that_waits_is_promoted_whatever_was_spent(alice: Api, chats: Chats) -> None:
    chat = chats.requiring_action()
    waiting = queue(chat)
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    assert alice.post(f"/chats/{chat.pk}/queue/{waiting.pk}/promote").status == 202


def test_what_costs_nothing_is_never_refused(alice: Api, chats: Chats) -> None:
    chat, asked = chats.waiting(), chats.requiring_action("call-1")
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    assert alice.patch(f"/chats/{chat.pk}", {"title": "Renamed"}).status == 204
    assert alice.get(f"/chats/{chat.pk}/messages").status == 200
    results = [{"tool_call_id": "call-1", "output": 1, "is_error": False}]
    assert alice.post(f"/chats/{asked.pk}/tool-results", {"results": results}).status == 204
    assert alice.post(f"/chats/{asked.pk}/interrupt").status == 200


@each_place
def test_without_a_limit_nothing_is_refused(place: Place, alice: Api, chats: Chats) -> None:
    chat = place.chat(chats)
    limit_everybody(None)
    User.objects.filter(pk=chat.owner_id).update(chat_spend_limit_micros=1)
    spend_in(chat, LIMIT)
    assert place.ask(alice, chat).status == place.status


# retries


def test_a_refused_request_leaves_its_key_free(alice: Api, chats: Chats) -> None:
    chat = chats.waiting()
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    key = {"Idempotency-Key": "send-1"}
    path = f"/chats/{chat.pk}/messages"
    assert alice.post(path, CONTENT, headers=key).message == LIMIT_EXCEEDED
    limit_everybody(LIMIT + 1)
    answer = alice.post(path, CONTENT, headers=key)
    assert (answer.status, "Idempotent-Replayed" in answer.headers) == (200, False)


def test_a_refused_title_leaves_no_lock(alice: Api, chats: Chats) -> None:
    chat = chats.unwritten()
    limit_everybody(LIMIT)
    spend_in(chat, LIMIT)
    assert PROPOSE.ask(alice, chat).status == 409
    assert Chat.objects.get(pk=chat.pk).title_lock_id is None
    limit_everybody(LIMIT + 1)
    assert PROPOSE.ask(alice, chat).status == 200
