"""The audit log in the administration: read, filtered, exported, never changed."""

import csv
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action, AuditEntry
from chatd.core.clock import now
from chatd.turns.tasks import housekeeping
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditentry/"


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
    assert "openai" not in shown(root, "?resource_type__exact=chat")
    assert "Plans" not in shown(root, "?q=bob")
    refused = shown(root, "?refused__isempty=0")
    assert "Nope" in refused
    assert "Plans" not in refused


def test_an_entry_shows_what_changed_and_cannot_be_changed(root: Client) -> None:
    made = entry(title="<b>New</b>")
    html = root.get(f"{LIST}{made.pk}/change/").content.decode()
    assert "<th>title</th><td>Old</td><td>&lt;b&gt;New&lt;/b&gt;</td>" in html
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
