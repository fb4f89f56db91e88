"""The page of what was spent: who may see it, what it tells, how it is narrowed down, its CSV."""

import csv
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client

from chatd.accounts import policy
from chatd.accounts.actions import create_user
from chatd.accounts.models import Group, GroupMember, SiteRole, User
from chatd.accounts.policy import ADMINISTRATION
from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.providers.models import AIProvider, ModelConfig
from chatd.spending.ledger import Account, correct_spend
from chatd.spending.ledger_models import CallKind
from chatd.web.spend import export
from tests.conftest import Cast
from tests.support.asgi import ORIGIN, asgi_session
from tests.support.people import pending_chat
from tests.support.spending import call_model, hold, limit_everybody, spend
from tests.web.administration import cost, shown
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

PAGE = "/admin/spending/spend/"
CSV = f"{PAGE}csv/"
LIMITS = "/admin/spending/usagelimitconfig/"
ChatOf = Callable[..., Chat]


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(datetime(2026, 7, 15, 12, tzinfo=UTC), tick=False):
        yield


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


@pytest.fixture
def chat_of(cast: Cast, model: ModelConfig) -> ChatOf:
    def build(user: User | None = None, **columns: Any) -> Chat:
        chat = pending_chat(user or cast.alice, cast.organization, model)
        Chat.objects.filter(pk=chat.pk).update(**columns)
        chat.refresh_from_db()
        return chat

    return build


@pytest.fixture
def spent(cast: Cast, chat_of: ChatOf) -> Chat:
    """A chat of alice's that cost $1.50, a call without a price, and $0.25 of bob's."""
    chat = chat_of(title="About & money")
    call_model(chat, 1_400_000, held=1_000_000)
    call_model(chat, 100_000, kind=CallKind.TITLE, is_estimated=True)
    call_model(chat, None, kind=CallKind.LABEL)
    call_model(chat_of(cast.bob), 250_000, at=now() - timedelta(days=3))
    call_model(chat_of(cast.bob), 9, at=now() - timedelta(days=40))
    hold(chat, 30_000)
    return chat


def table(html: str) -> list[list[str]]:
    """Return the texts of the cells of the main table, row by row."""
    inside = html[html.index('id="table-heading"') :].partition('id="near"')[0]
    body = re.search(r"<tbody>(.*?)</tbody>", inside, re.S)
    if body is None:
        return []
    rows = re.findall(r"<tr>(.*?)</tr>", body.group(1), re.S)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]
    return [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in cells]


def totals(html: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))


def downloaded(browser: Client, query: str = "") -> list[dict[str, str]]:
    answer = browser.get(f"{CSV}{query}")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(StringIO(text)))


# Who may see it


@pytest.mark.parametrize(
    ("role", "status"),
    [(SiteRole.OWNER, 200), (SiteRole.AUDITOR, 200), (SiteRole.USER_ADMIN, 403)],
)
def test_who_sees_the_usage_limits_sees_what_was_spent(
    cast: Cast, spent: Chat, role: SiteRole, status: int
) -> None:
    cast.bob.rbac_roles = [role]
    cast.bob.save()
    browser = browser_of(cast.bob)
    assert browser.get(LIMITS).status_code == status
    for address in (PAGE, f"{PAGE}?by=entry", CSV):
        assert browser.get(address).status_code == status


def test_members_and_strangers_see_nothing(cast: Cast) -> None:
    for browser in (Client(), browser_of(cast.alice)):
        for address in (PAGE, CSV):
            answer = browser.get(address)
            assert answer.status_code == 302
            assert answer["Location"].startswith("/admin/login/")


def test_auditors_change_no_limit_here(cast: Cast, spent: Chat) -> None:
    cast.bob.rbac_roles = [SiteRole.AUDITOR]
    cast.bob.save()
    html = shown(browser_of(cast.bob), f"{PAGE}?user={cast.alice.pk}")
    assert "Limit of alice" in html
    assert 'name="amount"' not in html


def test_nothing_can_be_posted(root: Client) -> None:
    assert root.post(PAGE).status_code == 405


# What it tells


def test_nothing_was_spent_yet(root: Client, cast: Cast) -> None:
    html = shown(root, PAGE)
    assert "Nothing was spent in these days." in html
    assert "Nothing was spent on any of these days." in html
    assert totals(html)["Spent"] == "$0.00"
    for by in ("user", "group", "model", "provider", "chat", "kind", "entry"):
        assert "Nothing was spent in these days." in shown(root, f"{PAGE}?by={by}")
        assert downloaded(root, f"?by={by}") == []


def test_totals_and_days(root: Client, spent: Chat) -> None:
    html = shown(root, PAGE)
    assert totals(html) == {
        "Spent": "$1.75",
        "Held now": "$0.03",
        "Calls with a price": "3",
        "Without a price": "1",
        "Estimated": "1",
        "Overruns": "1",
    }
    assert html.count('class="spend-bar"') == 2
    assert html.count('class="spend-day"') == 30
    assert "15 July 2026: $1.50</title>" in html
    assert "12 July 2026: $0.25</title>" in html
    assert 'from=2026-07-12&to=2026-07-12">12 Jul 2026</a>' in html
    assert "<title id=" in html
    assert "<desc id=" in html


def test_the_ranges_are_those_of_the_limits_and_what_one_writes(root: Client, spent: Chat) -> None:
    def total(query: str) -> str:
        return totals(shown(root, f"{PAGE}?{query}"))["Spent"]

    assert total("range=day") == "$1.50"
    assert total("range=week") == "$1.50", "from Monday, 13 July"
    assert total("range=month") == "$1.75"
    assert total("range=90d") == "$1.750009"
    assert total("from=2026-07-12&to=2026-07-14") == "$0.25"
    assert total("from=2026-07-13") == "$1.50"
    assert total("to=2026-07-12") == "$0.25"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=yesterday", "Write days such as 2026-07-31, of this century."),
        ("from=0001-01-01", "Write days such as 2026-07-31, of this century."),
        ("to=9999-12-31", "Write days such as 2026-07-31, of this century."),
        ("from=2026-07-02&to=2026-07-01", "The first day is after the last one."),
        ("from=2025-01-01&to=2026-07-01", "Choose 366 days at most."),
    ],
)
def test_days_that_cannot_be_are_said_to_be_so(root: Client, query: str, words: str) -> None:
    assert words in shown(root, f"{PAGE}?{query}")
    assert root.get(f"{CSV}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["user=alice", "by=colour", "kind=chat", "chat=1", "model=x"])
def test_what_cannot_be_asked_for_is_refused_and_not_left_out(root: Client, query: str) -> None:
    assert root.get(f"{PAGE}?{query}").status_code == 400
    assert root.get(f"{CSV}?{query}").status_code == 400


def test_models_without_a_price_are_named_with_the_way_to_give_one(
    root: Client, spent: Chat, model: ModelConfig
) -> None:
    html = shown(root, PAGE)
    assert "1 call had no price and counts as nothing" in html
    assert f'href="/admin/providers/modelconfig/{model.pk}/change/"' in html
    assert "1 without a price" in html
    assert "Give it a price" in shown(root, f"{PAGE}?by=model")
    assert "had no price" not in shown(root, f"{PAGE}?kind=title")


def test_each_breakdown_has_names_shares_and_the_way_down(
    root: Client, cast: Cast, spent: Chat, model: ModelConfig
) -> None:
    def rows(by: str) -> list[list[str]]:
        return [row[:4] for row in table(shown(root, f"{PAGE}?by={by}"))]

    assert rows("user") == [["alice", "$1.50", "85.7%", "3"], ["bob", "$0.25", "14.3%", "1"]]
    assert rows("chat")[0] == ["About & money", "$1.50", "85.7%", "3"]
    assert rows("model") == [[f"{model} {model.ai_provider}", "$1.75", "100.0%", "4"]]
    assert rows("provider") == [[str(model.ai_provider), "$1.75", "100.0%", "4"]]
    assert rows("kind")[0] == ["Turn", "$1.65", "94.3%", "2"]
    assert [row[1:3] for row in rows("group")] == [["$1.75", "100.0%"]]
    html = shown(root, f"{PAGE}?by=user&range=week")
    assert f'href="?range=week&user={cast.alice.pk}&by=chat">alice</a>' in html


def test_one_clicks_down_to_the_rows_of_the_ledger_and_up_again(
    root: Client, cast: Cast, spent: Chat
) -> None:
    address = PAGE
    for name in ("alice", "About & money"):
        html = shown(root, address)
        found = re.search(rf'href="(\?[^"]*)">{name}</a>', html)
        assert found is not None, name
        address = f"{PAGE}{found.group(1)}"
    assert address.endswith(f"?user={cast.alice.pk}&chat={spent.pk}&by=entry")
    html = shown(root, address)
    found_rows = table(html)
    assert sorted(row[7] for row in found_rows) == ["$0.00", "$0.10", "$1.40"]
    assert f'href="/admin/chats/chat/{spent.pk}/change/">About & money</a>' in html
    assert totals(html)["Spent"] == "$1.50"
    assert "Person: alice" in html
    assert f'href="?chat={spent.pk}&by=entry" aria-label="No longer only Person: alice"' in html
    everything = table(shown(root, f"{address}&all=1"))
    assert sorted(row[1] for row in everything) == ["Hold", "Hold", "Settle", "Settle", "Settle"]


def test_what_was_held_is_listed_only_where_an_index_has_it(root: Client, spent: Chat) -> None:
    rows = table(shown(root, f"{PAGE}?by=entry&all=1"))
    assert {row[1] for row in rows} == {"Settle"}
    assert "held and released" not in shown(root, f"{PAGE}?by=entry")


def test_marks_and_notes_of_entries_are_shown(root: Client, cast: Cast, spent: Chat) -> None:
    spend(-5, owner_id=cast.bob.pk, organization_id=cast.organization.pk)
    rows = table(shown(root, f"{PAGE}?by=entry"))
    assert {row[8] for row in rows} == {
        "Spent by a test.",
        "without a price",
        "estimated",
        "overrun",
        "",
    }
    (correction,) = [row for row in rows if row[1] == "Correction"]
    assert correction[2:8] == ["", "bob", "No chat that is known", "", "$0.00", "-$0.000005"]


def test_what_is_gone_is_still_told_of(
    root: Client, cast: Cast, spent: Chat, model: ModelConfig
) -> None:
    key = spent.pk
    Chat.objects.filter(pk=key).delete()
    ModelConfig.objects.update(deleted=True, ai_provider=None)
    User.objects.filter(pk=cast.alice.pk).update(deleted=True)
    assert table(shown(root, f"{PAGE}?by=chat"))[0][0] == f"deleted chat {key}"
    assert table(shown(root, PAGE))[0][0] == "alice deleted"
    assert table(shown(root, f"{PAGE}?by=model"))[0][0] == f"{model} deleted"
    assert table(shown(root, f"{PAGE}?by=provider"))[0][0] == "No provider"
    html = shown(root, f"{PAGE}?by=entry&chat={key}")
    assert f"Chat: deleted chat {key}" in html
    assert len(table(html)) == 3
    assert "/admin/chats/chat/" not in html[html.index('id="table-heading"') :]
    assert downloaded(root, f"?by=entry&chat={key}")[0]["chat"] == "deleted chat"


def test_titles_are_for_who_may_see_the_list_of_chats(
    cast: Cast, spent: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a role that reads settings, and no chats."""
    without = {name: held for name, held in ADMINISTRATION.items() if name != "chats.chat"}
    monkeypatch.setattr(policy, "ADMINISTRATION", without)
    html = shown(browser_of(cast.root), f"{PAGE}?by=chat")
    assert table(html)[0][0] == f"Chat {spent.pk}"
    assert "About" not in html
    assert downloaded(browser_of(cast.root), "?by=chat")[0]["name"] == "Chat"


# Pages, and what they cost


def test_long_tables_have_pages(root: Client, cast: Cast) -> None:
    for number in range(103):
        account = Account(
            owner_id=cast.alice.pk,
            organization_id=cast.organization.pk,
            chat_id=(key := uuid4()),
            root_chat_id=key,
        )
        correct_spend(account, number + 1, at=now(), note="")
    for by in ("chat", "entry"):
        sizes = []
        for page in (1, 2, 3, 4):
            html = shown(root, f"{PAGE}?by={by}&page={page}")
            sizes.append(len(table(html)))
            assert ("Next page" in html) == (page < 3)
            assert ("Previous page" in html) == (page > 1)
        assert sizes == [50, 50, 3, 0]
    assert "There is nothing on this page." in shown(root, f"{PAGE}?by=chat&page=4")
    assert len(downloaded(root, "?by=chat&page=3")) == 103
    assert len(table(shown(root, f"{PAGE}?by=chat&page=-1"))) == 50


def test_the_page_costs_the_same_for_few_and_for_many(
    root: Client, cast: Cast, spent: Chat, chat_of: ChatOf, model: ModelConfig
) -> None:
    team = Group.objects.create(organization=cast.organization, name="team")
    GroupMember.objects.create(group=team, user=cast.alice)
    limit_everybody(10_000_000)
    addresses = [
        *(
            f"{PAGE}?by={by}"
            for by in ("user", "group", "model", "provider", "chat", "kind", "entry")
        ),
        f"{PAGE}?user={cast.alice.pk}&model={model.pk}&group={team.pk}&by=chat",
    ]
    before = [cost(root, address) for address in addresses]
    assert max(before) <= 20
    for number in range(12):
        user = create_user(username=f"u{number}", email=f"u{number}@example.com", password=None)
        provider = AIProvider.objects.create(
            type="openai-compat", name=f"p{number}", base_url="http://p/v1"
        )
        config = ModelConfig.objects.create(
            ai_provider=provider, provider=provider.type, model=f"m{number}"
        )
        group = Group.objects.create(organization=cast.organization, name=f"g{number}")
        GroupMember.objects.create(group=group, user=user)
        for each in (cast.alice, user):
            call_model(chat_of(each), 5 + number, model_id=config.pk)
            call_model(chat_of(each), None, model_id=config.pk)
    assert [cost(root, address) for address in addresses] == before


# Limits


def test_who_is_near_a_limit_stands_below_with_what_is_held(
    root: Client, cast: Cast, spent: Chat
) -> None:
    limit_everybody(2_000_000)
    html = shown(root, PAGE)
    near = html[html.index('id="near"') :]
    row = " ".join(re.sub(r"<[^>]+>", " ", near[near.index("<td>alice") :]).split())
    assert row.startswith("alice $1.50 $0.03 $2.00 76% Spend of alice Limit of alice")
    assert f'href="{PAGE}?user={cast.alice.pk}&by=chat"' in near
    assert f'href="{LIMITS}?person=alice#people"' in near
    assert 'value="alice"' in shown(root, f"{LIMITS}?person=alice")
    assert "Who is near a limit" not in shown(root, f"{PAGE}?user={cast.alice.pk}")


def test_a_limit_is_set_and_taken_away_where_the_spend_is_seen(
    root: Client, cast: Cast, spent: Chat
) -> None:
    group = Group.objects.create(organization=cast.organization, name="team")
    for query, whose, holder, row in (
        (f"user={cast.alice.pk}", "person", "alice", cast.alice),
        (f"group={group.pk}", "group", f"{cast.organization.name}/team", group),
    ):
        here = f"{PAGE}?{query}"
        html = shown(root, here)
        assert f'<input type="hidden" name="holder" value="{holder}">' in html
        (back,) = re.findall(r'name="next" value="([^"]*)"', html)
        form = {"whose": whose, "holder": holder, "amount": "2.5", "next": back}
        answer = root.post(LIMITS, form)
        assert (answer.status_code, answer["Location"]) == (302, here)
        row.refresh_from_db()
        assert row.chat_spend_limit_micros == 2_500_000
        assert 'value="2.50"' in shown(root, here)
        root.post(LIMITS, form | {"remove": "1"})
        row.refresh_from_db()
        assert row.chat_spend_limit_micros is None


@pytest.mark.parametrize("target", ["https://example.com/", "//example.com", "/admin/", f"{PAGE}x"])
def test_the_way_back_leads_to_this_page_alone(root: Client, cast: Cast, target: str) -> None:
    form = {"whose": "person", "holder": "alice", "amount": "2.5", "next": target}
    assert root.post(LIMITS, form)["Location"] == LIMITS


# CSV


def test_every_breakdown_is_downloaded_in_micros_and_dollars(
    root: Client, cast: Cast, spent: Chat
) -> None:
    assert downloaded(root, "?by=user&range=90d") == [
        {
            "id": str(cast.alice.pk),
            "name": "alice",
            "about": "",
            "spent_micros": "1500000",
            "spent_dollars": "1.50",
            "priced_calls": "2",
            "unpriced_calls": "1",
            "estimated_calls": "1",
            "overruns": "1",
        },
        {
            "id": str(cast.bob.pk),
            "name": "bob",
            "about": "",
            "spent_micros": "250009",
            "spent_dollars": "0.250009",
            "priced_calls": "2",
            "unpriced_calls": "0",
            "estimated_calls": "0",
            "overruns": "0",
        },
    ]
    for by in ("group", "model", "provider", "chat", "kind"):
        rows = downloaded(root, f"?by={by}")
        assert sum(int(row["spent_micros"]) for row in rows) == 1_750_000, by


def test_the_rows_of_the_ledger_are_downloaded_with_the_same_filters(
    root: Client, cast: Cast, spent: Chat
) -> None:
    rows = downloaded(root, f"?by=entry&user={cast.alice.pk}&kind=turn")
    (row,) = rows
    assert (row["settled_micros"], row["settled_dollars"]) == ("1400000", "1.40")
    assert (row["held_micros"], row["held_dollars"]) == ("-1000000", "-1.00")
    assert (row["is_priced"], row["is_estimated"], row["is_overrun"]) == ("true", "false", "true")
    assert (row["user"], row["chat"], row["created_at"]) == (
        "alice",
        "About & money",
        "2026-07-15T12:00:00Z",
    )
    assert len(downloaded(root, f"?by=entry&user={cast.alice.pk}&all=1")) == 5


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_takes_nothing_for_a_formula(root: Client, spent: Chat, start: str) -> None:
    Chat.objects.filter(pk=spent.pk).update(title=f"{start}cmd|'x'!A1")
    for query, column in (("?by=chat", "name"), ("?by=entry", "chat")):
        values = [row[column] for row in downloaded(root, query)]
        assert any(value.startswith("'") and "cmd" in value for value in values)
        assert not any(value.startswith(start) for value in values)


def test_the_links_of_the_page_download_what_it_shows(
    root: Client, cast: Cast, spent: Chat
) -> None:
    html = shown(root, f"{PAGE}?user={cast.alice.pk}&by=kind&range=month")
    links = [unescape(link) for link in re.findall(r'href="([^"]*/csv/[^"]*)"', html)]
    assert links == [
        f"{CSV}?range=month&user={cast.alice.pk}&by=kind",
        f"{CSV}?range=month&user={cast.alice.pk}&by=entry",
    ]
    answer = root.get(links[0])
    assert answer["Content-Disposition"] == (
        'attachment; filename="spend-kind-20260701-20260715-at-20260715-120000.csv"'
    )


def test_an_asynchronous_server_sends_the_file_piece_by_piece(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(1, owner_id=cast.alice.pk, organization_id=cast.organization.pk)
    monkeypatch.setattr(export, "_AT_ONCE", 1)
    session = browser_of(cast.root).cookies["sessionid"].value
    with asgi_session() as browser:
        answer = browser.get(f"{ORIGIN}{CSV}?by=entry", cookies={"sessionid": session})
    assert answer.status_code == 200
    header, row = answer.text.splitlines()
    assert header.startswith("id,created_at,kind")
    assert "Spent by a test." in row
    # With warnings as errors, an answer that is read whole before it is sent would have failed.
