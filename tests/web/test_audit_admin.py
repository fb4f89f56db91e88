"""The audit log in the administration: read, filtered, exported, never changed."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.audit import admin as audit_admin
from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action, AuditEntry
from chatd.audit.selectors import resource_types
from chatd.core.clock import now
from chatd.core.paging import BoundedPaginator
from chatd.turns.tasks import housekeeping
from config.env import env
from tests.conftest import Cast
from tests.support.plans import analyze, scans

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditentry/"
SOMETHING = "6a1f0f0e-53a4-4c1d-9c1b-6f2f6f0c7f11"


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


def entry(name: str = "A chat", *, actor: str = "alice", **kinds: object) -> AuditEntry:
    made = record(
        Author(uuid4(), actor),
        Action.WRITE,
        Resource(str(kinds.get("kind", "chat")), str(uuid4()), name),
        before={"title": "Old"},
        after={"title": kinds.get("title", name)},
        refused=str(kinds.get("refused", "")),
    )
    assert made is not None
    return made


def shown(root: Client, query: str = "") -> str:
    answer = root.get(f"{LIST}{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_entries_are_listed_the_newest_first(root: Client) -> None:
    entry("First")
    entry("Second", refused="Title cannot be empty.")
    html = shown(root)
    assert html.index("Changed chat Second") < html.index("Changed chat First")
    assert "Title cannot be empty." in html


def test_entries_are_filtered_and_searched(root: Client) -> None:
    entry("Plans")
    entry("openai", kind="ai_provider", actor="bob")
    entry("Nope", refused="Forbidden.")
    assert "openai" not in shown(root, "?resource_type=chat")
    assert "Plans" not in shown(root, "?q=bob")
    refused = shown(root, "?outcome=refused")
    assert "Nope" in refused
    assert "Plans" not in refused


def names(root: Client, query: str) -> list[str]:
    answer = root.get(f"{LIST}?{query}")
    assert answer.status_code == 200
    return [each.resource_name for each in answer.context["cl"].result_list]


def test_entries_are_found_by_day(root: Client) -> None:
    for name, at in (
        ("before", datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)),
        ("first", datetime(2026, 7, 1, tzinfo=UTC)),
        ("last", datetime(2026, 7, 2, 23, 59, 59, 999999, tzinfo=UTC)),
        ("after", datetime(2026, 7, 3, tzinfo=UTC)),
    ):
        AuditEntry.objects.filter(pk=entry(name).pk).update(at=at)
    assert names(root, "at_from=2026-07-01&at_to=2026-07-02") == ["last", "first"]
    assert names(root, "at_from=2026-07-03") == ["after"]
    assert names(root, "at_to=2026-06-30") == ["before"]
    for nonsense in ("soon", "2026-02-31", "0000-00-00", ""):
        assert len(names(root, f"at_from={nonsense}&at_to={nonsense}")) == 4


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_first_and_the_last_day_that_there_are_break_nothing(root: Client, day: str) -> None:
    entry()
    assert root.get(f"{LIST}?at_from={day}&at_to={day}").status_code == 200


def test_entries_are_found_by_who_made_them_and_by_ids(root: Client) -> None:
    one, two = entry("one"), entry("two", actor="bob")
    AuditEntry.objects.filter(pk=two.pk).update(correlation_id="abc123", organization_id=uuid4())
    two.refresh_from_db()
    assert names(root, "actor=bob") == names(root, f"actor={two.actor_id}") == ["two"]
    assert names(root, "actor=nobody") == []
    for term in (two.resource_id, two.actor_id, two.organization_id, "abc123", "bob", "TWO"):
        assert names(root, f"q={term}") == ["two"], term
    assert names(root, f"resource_type=chat&resource_id={one.resource_id}") == ["one"]


def test_the_kinds_to_choose_from_are_those_that_there_are(root: Client) -> None:
    assert resource_types() == []
    for kind in ("user", "chat", "ai_provider", "chat"):
        entry(kind=kind)
    assert resource_types() == ["ai_provider", "chat", "user"]
    assert ">Ai provider</option>" in shown(root)


def test_the_page_says_how_long_entries_are_kept(root: Client, monkeypatch) -> None:
    assert "Entries are kept for 365 days" in shown(root)
    monkeypatch.setattr(audit_admin, "env", replace(env, audit_days=0))
    assert "Entries are kept for ever" in shown(root)


def test_an_export_of_all_has_what_the_filters_let_through_of_all_pages(root: Client) -> None:
    for number in range(60):
        entry(f"chat {number}", actor="bob" if number % 6 else "alice")
    chosen = {"action": "export_csv", ACTION_CHECKBOX_NAME: ["1"], "select_across": "1"}
    answer = root.post(f"{LIST}?actor=bob", chosen)
    rows = list(csv.DictReader(StringIO(b"".join(answer.streaming_content).decode())))
    assert len(rows) == 50
    assert {row["actor_name"] for row in rows} == {"bob"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "p=2",
        "resource_type=user",
        "actor=bob",
        f"actor={SOMETHING}",
        f"q={SOMETHING}",
        "at_to=2020-01-01",
    ],
)
def test_lists_are_answered_from_indexes(
    root: Client, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(
            action=Action.WRITE,
            resource_type=f"kind{number % 7}",
            resource_id=str(uuid4()),
            actor_name=f"person{number % 100}",
            actor_id=uuid4(),
            organization_id=uuid4(),
        )
        for number in range(5000)
    )
    analyze()
    monkeypatch.setattr(BoundedPaginator, "count", 5000)  # counting has a bound of its own
    assert scans(lambda: names(root, query), ("audit_auditentry",)) == []


def test_an_entry_shows_what_changed_and_cannot_be_changed(root: Client) -> None:
    made = entry(title="<b>New</b>")
    html = root.get(f"{LIST}{made.pk}/change/").content.decode()
    assert (
        '<td data-label="Before">Old</td><td data-label="After">&lt;b&gt;New&lt;/b&gt;</td>' in html
    )
    assert root.post(f"{LIST}{made.pk}/change/", {"actor_name": "x"}).status_code == 403
    assert root.post(f"{LIST}{made.pk}/delete/", {"post": "yes"}).status_code == 403
    assert root.get(f"{LIST}add/").status_code == 403
    assert AuditEntry.objects.get().actor_name == "alice"


def test_entries_are_exported_as_a_table_that_a_spreadsheet_can_open(root: Client) -> None:
    made = entry('=HYPERLINK("x"), and more')
    answer = root.post(
        LIST, {"action": "export_csv", ACTION_CHECKBOX_NAME: [made.pk], "select_across": "1"}
    )
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(StringIO(b"".join(answer.streaming_content).decode()))
    assert row["actor_name"] == "alice"
    assert row["resource_name"] == '\'=HYPERLINK("x"), and more'
    assert '"old":"Old"' in row["changes"]


def test_a_page_costs_the_same_for_few_entries_and_for_many(root: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            shown(root)
        return len(captured.captured_queries)

    entry()
    one = cost()
    AuditEntry.objects.bulk_create(
        AuditEntry(action=Action.WRITE, resource_type="chat") for _ in range(120)
    )
    assert cost() == one


def test_only_site_owners_read_it(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.bob)
    assert client.get(LIST).status_code == 302


def test_old_entries_are_removed_by_the_housekeeping() -> None:
    kept, old = entry("kept"), entry("old")
    AuditEntry.objects.filter(pk=old.pk).update(at=now() - timedelta(days=366))
    housekeeping()
    assert list(AuditEntry.objects.all()) == [kept]
