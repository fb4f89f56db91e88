"""Entries of the audit log: what they tell, what they hide, and when there is one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from chatd.audit.actions import MAX_TEXT, Author, Resource, audited, purge_entries, record
from chatd.audit.models import Action, AuditEntry
from chatd.core.clock import now
from chatd.core.context import bind_client_address, bind_correlation
from chatd.core.errors import ChatdError, bad_request

pytestmark = pytest.mark.django_db

ALICE = Author(uuid4(), "alice", "key0123456")
CHAT = Resource("chat", str(uuid4()), "A chat")


@pytest.fixture(autouse=True)
def _request() -> Iterator[None]:
    bind_correlation(correlation_id="request-1")
    bind_client_address("192.0.2.7")
    yield
    bind_client_address("")


def test_an_entry_tells_who_did_what_from_where_and_what_changed() -> None:
    entry = record(
        ALICE,
        Action.WRITE,
        CHAT,
        before={"title": "Old", "pin_order": 0, "labels": {"a": "b"}},
        after={"title": "New", "pin_order": 0, "labels": {"a": "c"}},
    )
    assert entry is not None
    entry.refresh_from_db()
    assert (entry.actor_id, entry.actor_name, entry.api_key_id) == (
        ALICE.id,
        "alice",
        "key0123456",
    )
    assert (entry.address, entry.correlation_id) == ("192.0.2.7", "request-1")
    assert (entry.resource_type, entry.resource_id, entry.resource_name) == (
        "chat",
        CHAT.id,
        "A chat",
    )
    assert entry.changes == {
        "title": {"old": "Old", "new": "New"},
        "labels": {"old": {"a": "b"}, "new": {"a": "c"}},
    }
    assert str(entry) == "alice: changed chat"


def test_a_change_that_changed_nothing_leaves_no_entry() -> None:
    assert record(ALICE, Action.WRITE, CHAT, before={"a": 1}, after={"a": 1}) is None
    assert record(ALICE, Action.DELETE, CHAT) is not None
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    "field",
    ["password", "api_key", "oauth2_client_secret", "access_token", "custom_headers"],
)
def test_secrets_are_masked_wherever_they_stand(field: str) -> None:
    entry = record(
        ALICE,
        Action.WRITE,
        CHAT,
        before={field: "hunter2", "nested": {field: "hunter2", "list": [{field: "hunter2"}]}},
        after={field: "", "nested": None},
    )
    assert entry is not None
    assert "hunter2" not in str(AuditEntry.objects.values_list("changes").get())
    assert entry.changes[field] == {"old": "•••", "new": ""}


def test_whether_there_is_a_secret_is_no_secret() -> None:
    entry = record(
        ALICE, Action.WRITE, CHAT, before={"has_api_key": False}, after={"has_api_key": True}
    )
    assert entry is not None
    assert entry.changes["has_api_key"] == {"old": False, "new": True}


def test_values_of_every_kind_can_be_kept() -> None:
    values = {
        "uuid": uuid4(),
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "set": {"b", "a"},
        "tuple": (1, 2.5),
        "nul": "a\x00b",
        "long": "x" * (MAX_TEXT + 1),
        "none": None,
    }
    entry = record(ALICE, Action.CREATE, CHAT, after=values)
    assert entry is not None
    entry.refresh_from_db()
    new = {name: change["new"] for name, change in entry.changes.items()}
    assert new["set"] == ["a", "b"]
    assert new["at"] == "2026-01-02T00:00:00Z"
    assert new["nul"] == "a\x00b"
    assert new["long"].endswith(f"… ({MAX_TEXT + 1} characters)")
    assert "none" not in new


def test_a_change_and_its_entry_are_one() -> None:
    stored = {"title": "Old"}

    with audited(ALICE, CHAT, lambda: dict(stored)):
        assert connection.in_atomic_block
        stored["title"] = "New"
    assert AuditEntry.objects.get().changes == {"title": {"old": "Old", "new": "New"}}


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_recorded_though_the_change_is_undone() -> None:
    def change() -> None:
        with audited(ALICE, CHAT, dict):
            AuditEntry.objects.create(action=Action.CREATE, resource_type="undone")
            raise bad_request("Title cannot be empty.")

    with pytest.raises(ChatdError):
        change()
    entry = AuditEntry.objects.get()
    assert (entry.resource_type, entry.refused) == ("chat", "Title cannot be empty.")


@pytest.mark.django_db(transaction=True)
def test_a_change_that_breaks_leaves_nothing() -> None:
    def change() -> None:
        with audited(ALICE, CHAT, dict):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        change()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("raw", ["", "not an address", "/tmp/socket"])
def test_an_address_that_is_none_is_left_out(raw: str) -> None:
    bind_client_address(raw)
    entry = record(ALICE, Action.DELETE, CHAT)
    assert entry is not None
    assert entry.address is None


def test_entries_are_kept_for_so_many_days_or_for_ever() -> None:
    for age in (1, 40):
        entry = record(ALICE, Action.DELETE, CHAT)
        assert entry is not None
        AuditEntry.objects.filter(pk=entry.pk).update(at=now() - timedelta(days=age))
    assert purge_entries(0) == 0
    assert purge_entries(30) == 1
    assert AuditEntry.objects.count() == 1
