"""What the audit log keeps of changes to chats: made, changed, shared, and refused."""

import pytest

from chatd.audit.models import Action, AuditEntry
from chatd.chats.models import Chat
from tests.api.client import Api, Chats, text_part
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def entries(chat_id: object) -> list[AuditEntry]:
    return list(
        AuditEntry.objects.filter(resource_type="chat", resource_id=str(chat_id)).order_by("pk")
    )


def test_a_chat_that_is_made_is_recorded(alice: Api, chats: Chats, cast: Cast) -> None:
    body = {"organization_id": str(cast.organization.pk), "content": [text_part("Plan a trip")]}
    created = alice.post("/chats", body | {"labels": {"team": "core"}})
    (entry,) = entries(created.body["id"])
    assert (entry.action, entry.actor_name, entry.resource_name) == (
        Action.CREATE,
        "alice",
        "Plan a trip",
    )
    assert entry.organization_id == cast.organization.pk
    assert entry.changes["labels"] == {"old": None, "new": {"team": "core"}}
    assert entry.api_key_id
    assert entry.address == "127.0.0.1"


def test_a_chat_that_is_not_made_is_not(alice: Api, chats: Chats) -> None:
    assert alice.post("/chats", {"content": []}).status == 400
    assert not AuditEntry.objects.filter(resource_type="chat").exists()


def test_a_change_is_recorded_once_with_all_its_fields(alice: Api, chats: Chats) -> None:
    chat = chats.waiting()
    body = {"title": "New", "labels": {"a": "b"}, "pin_order": 1, "plan_mode": "plan"}
    assert alice.patch(f"/chats/{chat.pk}", body).status == 204
    (entry,) = entries(chat.pk)
    assert entry.changes == {
        "title": {"old": "A chat", "new": "New"},
        "labels": {"old": {}, "new": {"a": "b"}},
        "pin_order": {"old": 0, "new": 1},
        "plan_mode": {"old": None, "new": "plan"},
    }


def test_archiving_is_recorded_by_who_did_it(admin: Api, chats: Chats) -> None:
    chat = chats.waiting()
    assert admin.patch(f"/chats/{chat.pk}", {"archived": True}).status == 204
    (entry,) = entries(chat.pk)
    assert (entry.actor_name, entry.changes) == ("bob", {"archived": {"old": False, "new": True}})


def test_a_change_of_nothing_is_none(alice: Api, chats: Chats) -> None:
    chat = chats.waiting()
    assert alice.patch(f"/chats/{chat.pk}", {"title": chat.title}).status == 204
    assert entries(chat.pk) == []


def test_a_refused_change_is_recorded_with_its_reason(alice: Api, chats: Chats) -> None:
    chat = chats.waiting()
    assert alice.patch(f"/chats/{chat.pk}", {"labels": {}, "title": " "}).status == 400
    assert alice.patch(f"/chats/{chat.pk}", raw=b"{").status == 400
    first, second = entries(chat.pk)
    assert (first.refused, first.changes) == ("Title cannot be empty.", {})
    assert second.refused == "Request body must be valid JSON."


def test_who_may_not_know_of_a_chat_leaves_no_trace_on_it(carol: Api, chats: Chats) -> None:
    chat = chats.waiting()
    assert carol.patch(f"/chats/{chat.pk}", {"title": "Mine"}).status == 404
    assert carol.patch(f"/chats/{chat.pk}/acl", {}).status == 404
    assert entries(chat.pk) == []


def test_sharing_is_recorded_and_so_is_its_refusal(
    alice: Api, bob: Api, chats: Chats, cast: Cast
) -> None:
    chat = chats.waiting()
    roles = {"user_roles": {str(cast.bob.pk): "read"}}
    assert alice.patch(f"/chats/{chat.pk}/acl", roles).status == 204
    assert bob.patch(f"/chats/{chat.pk}/acl", roles).status == 403
    shared, refused = entries(chat.pk)
    granted = {str(cast.bob.pk): {"permissions": ["read"]}}
    assert shared.changes == {"user_acl": {"old": {}, "new": granted}}
    assert (refused.actor_name, refused.refused) == ("bob", "Forbidden.")


def test_what_was_said_is_not_in_the_log(alice: Api, chats: Chats, cast: Cast) -> None:
    body = {
        "organization_id": str(cast.organization.pk),
        "content": [text_part("one two three four five six and a confession")],
        "system_prompt": "Be discreet.",
    }
    created = alice.post("/chats", body)
    alice.post(f"/chats/{created.body['id']}/messages", {"content": [text_part("a confession")]})
    assert Chat.objects.count() == 1
    logged = str(list(AuditEntry.objects.values()))
    assert "confession" not in logged
    assert "discreet" not in logged
