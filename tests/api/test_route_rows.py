"""Each row of the route table, climbed: a request that is wrong in every way is put right step by
step, and each step answers the first thing that is still wrong.

The docstring of a test names the section of the contract that its row and its order come from.
"""

import json
from typing import Any

import pytest

from chatd.accounts.actions import create_user
from chatd.accounts.models import OrganizationMember, OrganizationRole
from chatd.chats.models import Chat, ChatFile, Role
from tests.api.client import NIL, NOT_FOUND, SIGNED_OUT, Api, Chats, api_of, fresh, queue
from tests.api.test_chats_create import UNKNOWN
from tests.conftest import Cast
from tests.support.debug import debug_run

MISSING = NOT_FOUND["message"]
BAD_JSON = "Request body must be valid JSON."
BAD_QUERY = "Query parameters have invalid values."
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
READ = {"permissions": ["read"]}


class Climb:
    """A request whose parts are put right one after another."""

    def __init__(self, method: str, path: str, **parts: Any) -> None:
        self._method, self._path = method, path
        self._api = Api()
        self._parts: dict[str, Any] = {"query": "", **parts}

    def expect(self, status: int, message: str | None = None, **changes: Any) -> Any:
        """Send the request with `changes`; return the body of the answer."""
        self._api = changes.pop("who", self._api)
        self._parts |= changes
        fields = {key: value for key, value in self._parts.items() if isinstance(value, str | int)}
        path = (self._path + "{query}").format(**fields)
        body = self._parts.get("body")
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        options: dict[str, Any] = {"headers": self._parts.get("headers", {})}
        if raw is not None:
            options["raw"] = raw if isinstance(raw, bytes) else raw.encode()
        if "content_type" in self._parts:
            options["content_type"] = self._parts["content_type"]
        answer = self._api.call(self._method, path, **options)
        shown = answer.body.get("message") if isinstance(answer.body, dict) else None
        assert (answer.status, shown if status >= 400 else None) == (status, message)
        for method in ("PUT", "OPTIONS"):
            assert self._api.call(method, path).status == (405 if answer.status != 401 else 401)
        return answer.body


@pytest.fixture
def reader(cast: Cast) -> Api:
    """carol, with whom every chat of the test is shared when it is `shared`."""
    return api_of(cast.carol)


@pytest.fixture
def boss(cast: Cast) -> Api:
    """An administrator of the organisation."""
    user = create_user(username="boss", email="boss@x.example", password=None)
    roles = [OrganizationRole.ADMIN.value]
    OrganizationMember.objects.filter(user=user).update(roles=roles)
    return api_of(user)


def share(chat: Chat, cast: Cast) -> None:
    Chat.objects.filter(pk=chat.pk).update(user_acl={str(cast.carol.pk): READ})


def climb_to_read(climb: Climb, chat: Chat, cast: Cast, stranger: Api) -> None:
    """The steps of all chat routes: nobody, no id, an unknown chat, a chat of others."""
    climb.expect(401, SIGNED_OUT, chat="x")
    climb.expect(400, 'Invalid UUID "x".', who=stranger)
    climb.expect(404, MISSING, chat=UNKNOWN)
    climb.expect(404, MISSING, chat=str(chat.pk))
    share(chat, cast)


def climb_to_write(climb: Climb, chat: Chat, cast: Cast, stranger: Api) -> None:
    climb_to_read(climb, chat, cast, stranger)
    climb.expect(404, MISSING)  # who may read may not write


def text_of(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words, "file_id": NIL}]


# 2.1 Chats


def test_row_of_the_list(alice: Api, chats: Chats) -> None:
    """2.1 GET /chats; 1.8, 3.3."""
    chats.pending()
    climb = Climb("GET", "/chats", query="?limit=x&q=word&label=bad")
    climb.expect(401, SIGNED_OUT)
    climb.expect(400, BAD_QUERY, who=alice)
    climb.expect(400, "Invalid chat search query.", query="?q=word&label=bad")
    climb.expect(
        400,
        'Invalid label filter: "bad" (expected format key:value, both must be non-empty)',
        query="?label=bad",
    )
    assert len(climb.expect(200, query="")) == 1


def test_row_of_by_workspace(alice: Api, chats: Chats) -> None:
    """2.1 GET /chats/by-workspace; 3.10."""
    climb = Climb("GET", "/chats/by-workspace", query="?workspace_ids=" + ",".join(["x"] * 26))
    climb.expect(401, SIGNED_OUT)
    climb.expect(400, "Too many workspace IDs, maximum is 25.", who=alice)
    message = 'Invalid workspace ID "x": badly formed hexadecimal UUID string'
    climb.expect(400, message, query=f"?workspace_ids={UNKNOWN},x")
    assert climb.expect(200, query=f"?workspace_ids={UNKNOWN}") == {}


def test_row_of_create(alice: Api, bob: Api, cast: Cast, chats: Chats, without_access: Any) -> None:
    """2.1 POST /chats; 3.2 (the order of its fields is climbed in the tests of create)."""
    climb = Climb("POST", "/chats", body=b"{")
    climb.expect(401, SIGNED_OUT)
    climb.expect(400, BAD_JSON, who=alice)
    climb.expect(400, "organization_id is required.", body={"organization_id": NIL})
    elsewhere = OrganizationMember.objects.get(user=cast.carol).organization_id
    message = "You are not a member of the specified organization."
    climb.expect(403, message, body={"organization_id": str(elsewhere)})
    here = {"organization_id": str(cast.organization.pk)}
    climb.expect(400, "Content is required.", body=here)
    climb.expect(201, body=here | {"content": text_of("hi")})
    without_access()
    climb.expect(403, "Forbidden.", who=bob, body=here)


def test_row_of_get(alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.1 GET /chats/{chat}; 3.4."""
    chat = chats.waiting()
    climb = Climb("GET", "/chats/{chat}")
    climb_to_read(climb, chat, cast, reader)
    assert climb.expect(200) == climb.expect(200, who=alice)


def test_row_of_update(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.1 PATCH /chats/{chat}; 3.5 (the order of its fields is climbed in the tests of it)."""
    chat = chats.pending()
    climb = Climb("PATCH", "/chats/{chat}", body=b"{")
    climb_to_write(climb, chat, cast, reader)
    for api in (boss, alice):
        climb.expect(400, BAD_JSON, who=api, body=b"{")
        climb.expect(400, "Invalid plan_mode value.", body={"plan_mode": "x", "title": "new"})
        locked = "Title regeneration already in progress for this chat."
        climb.expect(409, locked, body={"title": "new", "labels": {"": ""}})
        climb.expect(400, "Invalid labels.", body={"labels": {"": ""}})
        climb.expect(204, body={})


def test_row_of_delete(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.1 DELETE /chats/{chat}; 14 (10)."""
    chat = chats.waiting()
    climb = Climb("DELETE", "/chats/{chat}")
    climb_to_write(climb, chat, cast, reader)
    climb.expect(403, "Only the chat owner may delete the chat.", who=boss)
    climb.expect(204, who=alice)
    climb.expect(204)


def test_row_of_the_acl(alice: Api, reader: Api, cast: Cast, chats: Chats, disable: Any) -> None:
    """2.1 GET /chats/{chat}/acl; 9.1."""
    chat = chats.waiting()
    child = chats.child_of(chat)
    climb = Climb("GET", "/chats/{chat}/acl")
    climb_to_read(climb, chat, cast, reader)
    on_roots = "Chat ACLs can only be set on root chats."
    climb.expect(400, on_roots, chat=str(child.pk))
    assert climb.expect(200, chat=str(chat.pk))["groups"] == []
    disable()
    disabled = "Chat sharing is disabled for this deployment."
    climb.expect(404, MISSING)
    for shown in (child, chat):
        climb.expect(403, disabled, who=alice, chat=str(shown.pk))


def test_row_of_sharing(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.1 PATCH /chats/{chat}/acl; 9.1."""
    chat = chats.waiting()
    child = chats.child_of(chat)
    climb = Climb("PATCH", "/chats/{chat}/acl", body=b"{")
    climb_to_read(climb, chat, cast, reader)
    climb.expect(400, "Chat ACLs can only be set on root chats.", chat=str(child.pk))
    climb.expect(403, "Forbidden.", chat=str(chat.pk))
    climb.expect(400, BAD_JSON, who=alice)
    own = {"user_roles": {str(cast.alice.pk).upper(): "read", "x": "y"}, "group_roles": {"z": "r"}}
    climb.expect(400, "Cannot change your own chat sharing role.", body=own)
    del own["user_roles"][str(cast.alice.pk).upper()]
    body = climb.expect(400, "Invalid request to update chat ACL.", body=own)
    assert [entry["field"] for entry in body["validations"]] == [
        *["group_roles"] * 2,
        *["user_roles"] * 2,
    ]
    for api in (alice, boss):
        climb.expect(204, who=api, body={"user_roles": {str(cast.bob.pk): "read"}})


def test_row_of_interrupt(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.1 POST /chats/{chat}/interrupt; 3.8."""
    chat = chats.running()
    climb = Climb("POST", "/chats/{chat}/interrupt", body=b"{")
    climb_to_write(climb, chat, cast, reader)
    assert climb.expect(200, who=boss)["status"] == "waiting"
    assert climb.expect(200, who=alice)["status"] == "waiting"


@pytest.mark.parametrize("path", ["diff", "diff-status", "git-changes"])
def test_row_of_diffs(path: str, alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.1 GET /chats/{chat}/diff, …/diff-status, …/git-changes; 3.11, 14 (11, 12)."""
    chat = chats.waiting()
    climb = Climb("GET", f"/chats/{{chat}}/{path}")
    climb_to_read(climb, chat, cast, reader)
    assert climb.expect(200) == climb.expect(200, who=alice)


@pytest.mark.parametrize(
    ("act", "owner_only", "body"),
    [
        ("regenerate", "regenerate the title", None),
        ("propose", "propose a title", {"title": ""}),
    ],
)
def test_row_of_titles(
    act: str,
    owner_only: str,
    body: Any,
    alice: Api,
    reader: Api,
    boss: Api,
    cast: Cast,
    chats: Chats,
) -> None:
    """2.1 POST /chats/{chat}/title/regenerate, …/propose; 3.9 (the model is asked in its tests)."""
    busy, chat = chats.pending(), chats.unwritten()
    climb = Climb("POST", f"/chats/{{chat}}/title/{act}")
    climb_to_write(climb, busy, cast, reader)
    climb.expect(403, f"Only the chat owner may {owner_only}.", who=boss)
    locked = climb.expect(409, "Title regeneration already in progress for this chat.", who=alice)
    assert "resets_at" not in locked
    made = climb.expect(200, chat=str(chat.pk))
    assert made == body if body else made["title"] == chat.title


def test_row_of_debug_runs(alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.1 GET /chats/{chat}/debug/runs; 3.12."""
    chat = chats.waiting()
    climb = Climb("GET", "/chats/{chat}/debug/runs")
    climb_to_read(climb, chat, cast, reader)
    assert climb.expect(200) == []
    assert climb.expect(200, who=alice) == []


def test_row_of_a_debug_run(alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.1 GET /chats/{chat}/debug/runs/{run}; 3.12."""
    chat, other = chats.waiting(), chats.waiting()
    climb = Climb("GET", "/chats/{chat}/debug/runs/{run}", run="x")
    climb_to_read(climb, chat, cast, reader)
    climb.expect(400, "Invalid debug run ID.")
    climb.expect(404, MISSING, run=UNKNOWN)
    climb.expect(404, MISSING, run=str(debug_run(other).pk))
    run = debug_run(chat)
    assert climb.expect(200, run=str(run.pk))["id"] == str(run.pk)


def test_row_of_models(alice: Api, chats: Chats) -> None:
    """2.1 GET /chats/models; 11.6."""
    climb = Climb("GET", "/chats/models")
    climb.expect(401, SIGNED_OUT)
    assert list(climb.expect(200, who=alice)) == ["providers"]


def test_row_of_watch(alice: Api) -> None:
    """2.1 GET /chats/watch; 8.1, without an upgrade (sockets are tested as sockets)."""
    climb = Climb("GET", "/chats/watch")
    climb.expect(401, SIGNED_OUT)
    climb.expect(426, "This route is a WebSocket.", who=alice)


# 2.2 Messages, queue, tools, streams


def test_row_of_messages(alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.2 GET /chats/{chat}/messages; 5.4."""
    chat = chats.waiting()
    wrong = "?before_id=5&after_id=5&limit=201"
    climb = Climb("GET", "/chats/{chat}/messages", query=f"{wrong}&limit=x")
    climb_to_read(climb, chat, cast, reader)
    climb.expect(400, BAD_QUERY)
    climb.expect(400, "Invalid limit parameter (1-200).", query=wrong)
    message = "after_id must be less than before_id."
    climb.expect(400, message, query="?before_id=5&after_id=5")
    assert climb.expect(200, query="") == climb.expect(200, who=alice)


def test_row_of_prompts(alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.2 GET /chats/{chat}/prompts; 5.5."""
    chat = chats.waiting()
    climb = Climb("GET", "/chats/{chat}/prompts", query="?limit=-1")
    climb_to_read(climb, chat, cast, reader)
    climb.expect(400, BAD_QUERY)
    climb.expect(400, "Invalid limit parameter (0-2000).", query="?limit=2001")
    assert climb.expect(200, query="") == climb.expect(200, who=alice)


def test_row_of_send(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.2 POST /chats/{chat}/messages; 5.6."""
    gone, full = chats.archived(), chats.running()
    for _ in range(20):
        queue(full)
    climb = Climb("POST", "/chats/{chat}/messages", body=b"{")
    climb_to_write(climb, gone, cast, reader)
    climb.expect(403, "Only the chat owner may send messages.", who=boss)
    climb.expect(400, "Cannot send messages to an archived chat.", who=alice)
    climb.expect(400, BAD_JSON, chat=str(full.pk))
    body: dict[str, Any] = {
        "content": [],
        "mcp_server_ids": [UNKNOWN],
        "plan_mode": "x",
        "busy_behavior": "x",
        "model_config_id": UNKNOWN,
    }
    climb.expect(400, "Content is required.", body=body)
    body["content"] = [{"type": "file", "file_id": NIL}]
    climb.expect(400, "Invalid input part.")
    body["content"] = text_of("hi")
    climb.expect(400, "One or more MCP server IDs are invalid.")
    body["mcp_server_ids"] = []
    climb.expect(400, "Invalid plan_mode value.")
    body["plan_mode"] = "plan"
    climb.expect(400, "Invalid busy_behavior value.")
    body["busy_behavior"] = "queue"
    climb.expect(400, "Invalid model config ID.")
    del body["model_config_id"]
    climb.expect(429, "Message queue is full.")
    assert fresh(full).plan_mode is None
    sent = climb.expect(200, chat=str(chats.waiting().pk))
    assert set(sent) == {"queued", "message"}


def test_row_of_edit(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.2 PATCH /chats/{chat}/messages/{id}; 5.7."""
    gone, chat = chats.archived(), chats.waiting()
    answer = chat.messages.get(role=Role.ASSISTANT)
    question = chat.messages.get(role=Role.USER)
    foreign = gone.messages.get(role=Role.USER)
    climb = Climb("PATCH", "/chats/{chat}/messages/{id}", id="x", body=b"{")
    climb_to_write(climb, gone, cast, reader)
    climb.expect(403, "Only the chat owner may edit messages.", who=boss)
    climb.expect(400, "Cannot edit messages in an archived chat.", who=alice)
    for bad in ("x", "0", "-1"):
        climb.expect(400, "Invalid chat message ID.", chat=str(chat.pk), id=bad)
    climb.expect(400, BAD_JSON, id=foreign.pk)
    body: dict[str, Any] = {"content": [], "model_config_id": UNKNOWN}
    climb.expect(400, "Content is required.", body=body)
    body["content"] = text_of("anew")
    climb.expect(404, "Chat message not found.")
    climb.expect(400, "Only user messages can be edited.", id=answer.pk)
    climb.expect(400, "Invalid model config ID.", id=question.pk)
    del body["model_config_id"]
    assert "message" in climb.expect(200)
    climb.expect(404, "Chat message not found.")


def test_row_of_delete_queued(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.2 DELETE /chats/{chat}/queue/{qid}; 5.8."""
    chat = chats.running()
    climb = Climb("DELETE", "/chats/{chat}/queue/{id}", id="x")
    climb_to_write(climb, chat, cast, reader)
    climb.expect(400, "Invalid queued message ID.", who=boss)
    climb.expect(204, id=queue(chat).pk)
    climb.expect(204)
    climb.expect(204, who=alice, id=queue(chat).pk)
    assert not chat.queued_messages.exists()


def test_row_of_promote(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.2 POST /chats/{chat}/queue/{qid}/promote; 5.8."""
    gone, chat = chats.archived(), chats.running()
    climb = Climb("POST", "/chats/{chat}/queue/{id}/promote", id="x")
    climb_to_write(climb, gone, cast, reader)
    climb.expect(403, "Only the chat owner may promote queued messages.", who=boss)
    climb.expect(400, "Cannot promote queued messages in an archived chat.", who=alice)
    climb.expect(400, "Invalid queued message ID.", chat=str(chat.pk))
    climb.expect(404, "Failed to promote queued message.", id=1)
    body = climb.expect(202, id=queue(chat).pk)
    assert body == {"message": "Queued message promotion accepted."}


def test_row_of_tool_results(alice: Api, reader: Api, boss: Api, cast: Cast, chats: Chats) -> None:
    """2.2 POST /chats/{chat}/tool-results; 6."""
    gone, idle, waits = chats.archived(), chats.waiting(), chats.requiring_action("a", "b")
    climb = Climb("POST", "/chats/{chat}/tool-results", body=b"{")
    climb_to_write(climb, gone, cast, reader)
    climb.expect(403, "Only the chat owner may submit tool results.", who=boss)
    climb.expect(400, "Cannot submit tool results to an archived chat.", who=alice)
    climb.expect(400, BAD_JSON, chat=str(idle.pk))
    climb.expect(400, "At least one tool result is required.", body={"results": []})
    results = [{"tool_call_id": "a"}, {"tool_call_id": "a"}, {"tool_call_id": "x"}]
    conflict = climb.expect(409, "Chat is not waiting for tool results.", body={"results": results})
    assert "resets_at" not in conflict
    climb.expect(400, "Duplicate tool_call_id in results.", chat=str(waits.pk))
    climb.expect(400, "Missing tool result.", body={"results": results[1:]})
    results[0] = {"tool_call_id": "b"}
    climb.expect(400, "Unexpected tool result.", body={"results": results})
    climb.expect(400, "Tool result output must be valid JSON.", body={"results": results[:2]})
    for result in results:
        result["output"] = None  # what a Go client sends for an empty output
    climb.expect(204, body={"results": results[:2]})
    climb.expect(409, "Chat is not waiting for tool results.")


@pytest.mark.parametrize("path", ["stream", "stream/git", "stream/desktop"])
def test_row_of_streams(path: str, alice: Api, reader: Api, cast: Cast, chats: Chats) -> None:
    """2.2 GET /chats/{chat}/stream…; 7.1, without an upgrade (sockets are tested as sockets)."""
    chat = chats.waiting()
    climb = Climb("GET", f"/chats/{{chat}}/{path}")
    climb_to_read(climb, chat, cast, reader)
    for api in (reader, alice):
        climb.expect(426, "This route is a WebSocket.", who=api)


# 2.3 Files


def test_row_of_upload(alice: Api, cast: Cast, chats: Chats) -> None:
    """2.3 POST /chats/files; 9.2."""
    climb = Climb(
        "POST",
        "/chats/files",
        body=b"<svg/>" + b" " * 10 * 2**20,
        content_type="video/mp4",
        headers={"Content-Disposition": "x"},
    )
    climb.expect(401, SIGNED_OUT)
    climb.expect(400, "Missing organization query parameter.", who=alice)
    climb.expect(400, "Invalid organization ID.", query="?organization=x")
    climb.expect(403, "Forbidden.", query=f"?organization={NIL}")
    climb.expect(400, "Unsupported file type.", query=f"?organization={cast.organization.pk}")
    climb.expect(413, "File too large.", content_type="image/gif")
    climb.expect(400, "Filename is required.", body=b"<svg/>")
    name = {"Content-Disposition": 'attachment; filename="a.gif"'}
    climb.expect(400, "Unsupported file type.", headers=name)
    mismatch = "File content type does not match Content-Type header."
    climb.expect(400, mismatch, body=PNG)
    assert set(climb.expect(201, content_type="image/png")) == {"id"}
    assert ChatFile.objects.count() == 1


def test_row_of_download(alice: Api, bob: Api, cast: Cast, chats: Chats) -> None:
    """2.3 GET /chats/files/{file}; 9.3 (the bytes are tested with the files)."""
    columns = {"owner": cast.alice, "organization": cast.organization, "data": PNG}
    file = ChatFile.objects.create(name="a.png", mimetype="image/png", **columns)
    climb = Climb("GET", "/chats/files/{file}", file="x")
    climb.expect(401, SIGNED_OUT)
    climb.expect(400, "Invalid file ID.", who=bob)
    climb.expect(404, MISSING, file=UNKNOWN)
    climb.expect(404, MISSING, file=str(file.pk))
    assert alice.status("GET", f"/chats/files/{file.pk}") == 200
