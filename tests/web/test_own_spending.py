"""What people see of their own spend: on their page of it, and on a chat's."""

import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import Group, GroupMember, User
from chatd.accounts.policy import READ_PERMISSIONS
from chatd.chats.models import Chat, ChatMessage
from chatd.core.clock import now
from chatd.spending.amounts import parse_dollars
from chatd.spending.ledger_models import CallKind
from chatd.spending.periods import Period
from tests.conftest import Cast
from tests.support.spending import call_model, hold, limit_everybody
from tests.web.administration import shown
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

OWN = "/settings/spending"
SPEND = "/admin/spending/spend/"
STATUS = "/api/experimental/chats/usage-limits/status"
NewChat = Callable[..., Chat]


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 7, 15, 12, tzinfo=UTC), tick=False):
        yield


def numbers(html: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))


def chats_of(html: str) -> list[tuple[str, int]]:
    """Return the chats of the table and what they cost, in micros."""
    rows = re.findall(r'<tr>\s*<th scope="row" class="spend-name">(.*?)</tr>', html, re.S)
    found = []
    for row in rows:
        name = " ".join(re.sub(r"<[^>]+>", " ", row.partition("</th>")[0]).split())
        found.append((name, int(re.findall(r'<data value="(-?\d+)"', row)[0])))
    return found


def test_without_a_limit_it_says_what_was_spent(page: Client, new_chat: NewChat) -> None:
    html = shown(page, OWN)
    assert "There is no limit on what your chats may cost." in html
    assert "None of your chats cost anything in these days." in html
    chat = new_chat("About trees")
    call_model(chat, 1_234_567)
    call_model(chat, None)
    hold(chat, 500)
    html = shown(page, OWN)
    assert "You spent <strong>$1.234567</strong> with 2 calls of models." in html
    assert "1 of them had no price and counts as nothing." in html
    assert "may cost $0.0005 at most" in html
    assert numbers(html) == {}


def test_a_limit_is_shown_with_what_is_spent_held_and_free_and_when_it_starts_anew(
    page: Client, new_chat: NewChat
) -> None:
    chat = new_chat()
    limit_everybody(2_000_000, Period.WEEK)
    call_model(chat, 1_200_001)
    call_model(chat, 7, at=now() - timedelta(days=7))
    hold(chat, 300_000)
    html = shown(page, OWN)
    assert numbers(html) == {
        "Spent this week": "$1.200001",
        "Held now": "$0.30",
        "Free": "$0.499999",
        "Limit": "$2.00",
    }
    assert '<time datetime="2026-07-20T00:00:00+00:00"' in html
    assert "It is the limit of everybody who has no other." in html
    assert "used up" not in html
    call_model(chat, 5_000_000)
    html = shown(page, OWN)
    assert "The limit is used up" in html
    assert numbers(html)["Free"] == "$0.00"


def test_it_says_whose_limit_holds(page: Client, cast: Cast, alice: User) -> None:
    limit_everybody(2_000_000)
    for name, micros in (("large", 9_000_000), ("small", 1_000_000)):
        group = Group.objects.create(
            organization=cast.organization, name=name, chat_spend_limit_micros=micros
        )
        GroupMember.objects.create(group=group, user=alice)
    html = shown(page, OWN)
    assert f"It is the limit of the group small in {cast.organization}" in html
    assert numbers(html)["Limit"] == "$1.00"
    User.objects.filter(pk=alice.pk).update(chat_spend_limit_micros=3_000_000)
    html = shown(page, OWN)
    assert "An administrator has set this limit for you." in html
    assert numbers(html)["Limit"] == "$3.00"


def test_days_and_chats_of_the_last_thirty_days_are_listed(
    page: Client, cast: Cast, new_chat: NewChat
) -> None:
    trees = new_chat("About & trees", title="About & trees")
    birds, gone = new_chat(title="Birds"), new_chat()
    bobs = new_chat(owner=cast.bob, title="Not hers")
    call_model(trees, 5)
    call_model(trees, 7, kind=CallKind.TITLE, at=now() - timedelta(days=2))
    call_model(birds, 20, at=now() - timedelta(days=29))
    call_model(birds, 900, at=now() - timedelta(days=30))
    call_model(gone, 1)
    call_model(bobs, 1000)
    key = gone.pk
    gone.delete()
    html = shown(page, OWN)
    assert chats_of(html) == [("Birds", 20), ("About & trees", 12), (f"deleted chat {key}", 1)]
    assert f'href="/chats/{trees.pk}"' in html
    assert html.count('class="spend-day"') == 30
    assert html.count('class="spend-bar"') == 3
    assert "16 June 2026: $0.00002</title>" in html
    assert "Not hers" not in html


def test_the_page_costs_the_same_for_one_chat_and_for_many(page: Client, new_chat: NewChat) -> None:
    limit_everybody(2_000_000)
    call_model(new_chat(), 5)
    with CaptureQueriesContext(connection) as one:
        shown(page, OWN)
    for number in range(30):
        call_model(new_chat(), number + 6)
    with CaptureQueriesContext(connection) as many:
        html = shown(page, OWN)
    assert len(many) == len(one) <= 15
    assert len(chats_of(html)) == 25
    assert "These are the 25 that cost most." in html


def test_a_chat_tells_its_owner_what_it_cost_and_nobody_else(
    page: Client, cast: Cast, new_chat: NewChat, alice: User
) -> None:
    chat = new_chat(user_acl={str(cast.bob.pk): {"permissions": READ_PERMISSIONS}})
    assert "chat-cost" not in shown(page, f"/chats/{chat.pk}")
    child = new_chat(root_chat=chat, parent_chat=chat)
    call_model(chat, 1_000_001)
    call_model(chat, None, kind=CallKind.LABEL)
    call_model(child, 20, kind=CallKind.COMPACTION)
    html = shown(page, f"/chats/{chat.pk}")
    assert 'title="$1.000021">$1.00</data> and 1 call without a price' in html
    inside = html[html.index('class="chat-cost"') :].partition("</details>")[0]
    cells = r'<th scope="row">(.*?)</th>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>'
    assert re.findall(cells, inside) == [
        ("Turn", "1", "$1.000001"),
        ("Compaction", "1", "$0.00002"),
        ("Label", "1 (1 without a price)", "$0.00"),
    ]
    assert "With its sub-chats." in inside
    assert "Calls without a price count as nothing." in inside
    own = shown(page, f"/chats/{child.pk}")
    assert ">$0.00002</data>" in own
    assert "With its sub-chats." not in own
    assert "chat-cost" not in shown(browser_of(cast.bob), f"/chats/{chat.pk}")


def test_pages_and_api_agree_to_the_micro_dollar(
    page: Client, root: User, cast: Cast, new_chat: NewChat
) -> None:
    """Random calls of two people; every sum is compared with that of the messages."""
    chance = random.Random(20260715)
    limit_everybody(10**12, Period.MONTH)
    chats = [new_chat() for _ in range(6)]
    chats += [new_chat(root_chat=chats[0], parent_chat=chats[0]), new_chat(owner=cast.bob)]
    for _ in range(80):
        call_model(
            chance.choice(chats),
            chance.choice([None, 0, chance.randrange(10**9)]),
            kind=chance.choice(list(CallKind)),
            at=now() - timedelta(hours=chance.randrange(14 * 24)),
            held=chance.choice([0, 10**6]),
            is_estimated=chance.random() < 0.3,
        )

    def stored(**about: Any) -> int:
        found = ChatMessage.objects.filter(**about).aggregate(sum=Sum("total_cost_micros"))
        return found["sum"] or 0

    alices = stored(chat__owner=cast.alice)
    assert page.get(STATUS).json()["current_spend"] == alices
    own = shown(page, OWN)
    assert parse_dollars(numbers(own)["Spent this month"]) == alices
    (told,) = re.findall(r"You spent <strong>(.*?)</strong>", own)
    assert parse_dollars(told) == alices
    assert sum(micros for _, micros in chats_of(own)) == alices

    admin = browser_of(root)
    for query, micros in (
        ("range=month", stored()),
        (f"user={cast.alice.pk}", alices),
        (f"user={cast.bob.pk}", stored(chat__owner=cast.bob)),
    ):
        html = shown(admin, f"{SPEND}?{query}")
        assert parse_dollars(numbers(html)["Spent"]) == micros
        answer = admin.get(f"{SPEND}csv/?by=entry&{query}")
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        column = text.splitlines()[0].split(",").index("settled_micros")
        assert sum(int(line.split(",")[column]) for line in text.splitlines()[1:]) == micros
    for chat in chats[:6]:
        with_children = stored(chat__in=[each for each in chats if each.root_id == chat.pk])
        html = shown(admin, f"{SPEND}?chat={chat.pk}")
        assert parse_dollars(numbers(html)["Spent"]) == with_children
        html = unescape(page.get(f"/chats/{chat.pk}").content.decode())
        (shown_micros,) = re.findall(r'Cost: <data value="(\d+)"', html) or ["0"]
        assert int(shown_micros) == with_children
