"""The watch socket: what happens to one's own chats."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatDiffStatus, ChatFile, ChatFileLink
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import ModelConfig
from tests.api.client import TOOL, Api, Chats, assistant, calls, fresh, queue, start, text_part
from tests.conftest import Cast
from tests.support.contract import CHAT_ALWAYS
from tests.support.people import user_content


def body_of(chat: Chat, token: str) -> dict:
    body = Api(token).get(f"/chats/{chat.pk}").body
    return body | {"children": []}


def test_a_new_chat_is_told_right_after_the_socket_is_open(server, cast: Cast, model, tokens):
    token = tokens.alice
    with server.watch(token) as client:
        created = Api(token).post("/chats", {"content": [text_part()]})
        event = client.next()
    assert set(event) == {"kind", "chat"}
    assert event["kind"] == "created"
    assert event["chat"] == created.body
    assert set(event["chat"]) == CHAT_ALWAYS


def test_the_life_of_a_chat(server, chats: Chats, tokens):
    token = tokens.alice
    with server.watch(token) as client:
        chat = chats.pending()
        fence = start(chat)
        runs.finish(fence, [assistant()])
        created, done = client.take(2)
        assert (created["kind"], created["chat"]["status"]) == ("created", "pending")
        # The start of a run is silent.
        assert (done["kind"], done["chat"]["status"]) == ("status_change", "waiting")
        assert done["chat"] == body_of(chat, token)
        states.send_message(chat.pk, user_content(chat.owner_id))
        assert client.next()["chat"]["status"] == "pending"
        states.interrupt(chat.pk)
        assert client.next()["chat"]["status"] == "pending"
        runs.fail(start(chat), {"message": "x", "retryable": False})
        failed = client.next()
        assert (failed["chat"]["status"], failed["chat"]["last_error"]["message"]) == ("error", "x")
        states.archive_chat(chat.pk)
        deleted = client.next()
        assert (deleted["kind"], deleted["chat"]["archived"]) == ("deleted", True)
        states.unarchive_chat(chat.pk)
        restored = client.next()
        assert (restored["kind"], restored["chat"]["archived"]) == ("created", False)


def test_archiving_an_active_family_tells_of_each_chat(server, chats: Chats, tokens):
    parent = chats.pending()
    child = chats.child_of(parent)
    with server.watch(tokens.alice) as client:
        states.archive_chat(parent.pk)
        told = [(event["kind"], event["chat"]["id"]) for event in client.take(3)]
    assert told == [
        ("status_change", str(parent.pk)),
        ("deleted", str(parent.pk)),
        ("deleted", str(child.pk)),
    ]


def test_calls_for_the_client_come_with_their_arguments_as_text(server, chats: Chats, tokens):
    chat = chats.pending(dynamic_tools=[{"name": "lookup"}])
    with server.watch(tokens.alice) as client:
        runs.require_action(start(chat), [calls("one")])
        change, action = client.take(2)
    assert change["chat"]["status"] == "requires_action"
    assert set(action) == {"kind", "chat", "tool_calls"}
    assert action["kind"] == "action_required"
    (call,) = action["tool_calls"]
    assert (call["tool_call_id"], call["tool_name"]) == ("one", "lookup")
    assert json.loads(call["args"]) == {"q": "one"}


def test_only_the_owner_is_told(server, cast: Cast, chats: Chats, tokens, model):
    with (
        server.watch(tokens.admin) as admin,
        server.watch(tokens.root) as root,
        server.watch(tokens.alice) as alice,
        server.watch(tokens.alice) as again,
    ):
        hers = chats.pending()
        own = [Chats(user, cast.organization, model).pending() for user in (cast.bob, cast.root)]
        for client, chat in zip((admin, root, alice, again), [*own, hers, hers], strict=True):
            assert client.next()["chat"]["id"] == str(chat.pk)


def test_there_is_no_snapshot_and_no_replay(server, chats: Chats, tokens):
    earlier = chats.waiting()
    with server.watch(tokens.alice) as client:
        later = chats.pending()
        assert client.next()["chat"]["id"] == str(later.pk)
    assert fresh(earlier).status == "waiting"


# Every kind of event, for a chat that has all that events leave out


@pytest.fixture
def rich(chats: Chats) -> Callable[[Chat], Chat]:
    """Give a chat a file, a diff status, a sub-chat, an unread answer and a summary."""

    def enrich(chat: Chat) -> Chat:
        chats.child_of(chat)
        ChatDiffStatus.objects.create(chat=chat, url="https://host/pull/1", pr_number=1)
        columns = {"owner": chat.owner, "organization": chat.organization}
        file = ChatFile.objects.create(name="a.png", mimetype="image/png", data=b"x", **columns)
        ChatFileLink.objects.create(chat=chat, file=file)
        Chat.objects.filter(pk=chat.pk).update(last_turn_summary="Finished latest turn")
        return fresh(chat)

    return enrich


def send(api: Api, chat: Chat) -> None:
    api.post(f"/chats/{chat.pk}/messages", {"content": [text_part("more")]})


def edit(api: Api, chat: Chat) -> None:
    first = chat.messages.filter(role="user").earliest("id")
    api.patch(f"/chats/{chat.pk}/messages/{first.pk}", {"content": [text_part("anew")]})


def promote(api: Api, chat: Chat) -> None:
    api.post(f"/chats/{chat.pk}/queue/{queue(chat).pk}/promote")


def interrupt(api: Api, chat: Chat) -> None:
    api.post(f"/chats/{chat.pk}/interrupt")


def archive(api: Api, chat: Chat) -> None:
    api.patch(f"/chats/{chat.pk}", {"archived": True})


def unarchive(api: Api, chat: Chat) -> None:
    api.patch(f"/chats/{chat.pk}", {"archived": False})


def rename(api: Api, chat: Chat) -> None:
    api.patch(f"/chats/{chat.pk}", {"title": "Renamed"})


def finish(api: Api, chat: Chat) -> None:
    runs.finish(start(chat), [assistant()])


def fail(api: Api, chat: Chat) -> None:
    runs.fail(start(chat), {"message": "x", "retryable": False})


def park(api: Api, chat: Chat) -> None:
    runs.require_action(start(chat), [calls("one")])


Cause = Callable[[Api, Chat], None]
CHANGE = "status_change"
TOLD: list[tuple[Callable[[Chats], Chat], Cause, list[tuple[str, dict[str, Any]]]]] = [
    (Chats.waiting, send, [(CHANGE, {"status": "pending"})]),
    (Chats.waiting, edit, [(CHANGE, {"status": "pending"})]),
    (
        Chats.requiring_action,
        promote,
        [(CHANGE, {"status": "pending"})],
    ),
    (Chats.waiting, interrupt, [(CHANGE, {"status": "waiting"})]),
    (
        Chats.running,
        interrupt,
        [
            (CHANGE, {"status": "waiting"}),
            (CHANGE, {"status": "waiting"}),
            ("summary_change", {"last_turn_summary": None}),
        ],
    ),
    (Chats.pending, finish, [(CHANGE, {"status": "waiting"})]),
    (
        Chats.pending,
        fail,
        [
            (CHANGE, {"status": "error", "last_turn_summary": None}),
            ("summary_change", {"last_turn_summary": None}),
        ],
    ),
    (
        lambda chats: chats.pending(dynamic_tools=[TOOL]),
        park,
        [
            (CHANGE, {"status": "requires_action"}),
            ("action_required", {}),
            ("summary_change", {"last_turn_summary": "Waiting for user input"}),
        ],
    ),
    (Chats.waiting, rename, [("title_change", {"title": "Renamed"})]),
    (
        Chats.waiting,
        archive,
        [("deleted", {"archived": True}), ("deleted", {"archived": True})],
    ),
    (
        Chats.running,
        archive,
        [
            (CHANGE, {"status": "waiting", "archived": True}),
            ("deleted", {"archived": True}),
            ("deleted", {"archived": True}),
        ],
    ),
    (
        Chats.archived,
        unarchive,
        [("created", {"archived": False})],
    ),
]


@pytest.mark.parametrize(
    ("make", "cause", "expected"),
    TOLD,
    ids=[f"{number} {cause.__name__}" for number, (_, cause, _) in enumerate(TOLD)],
)
def test_every_cause_is_told_by_its_kinds_with_a_lean_chat(
    server, chats: Chats, tokens, rich, make, cause: Cause, expected
):
    chat, other = rich(make(chats)), chats.waiting()
    token = tokens.alice
    with server.watch(token) as client:
        cause(Api(token), chat)
        states.archive_chat(other.pk)  # nothing is told in between
        events = client.take(len(expected) + 1)
    assert events.pop()["chat"]["id"] == str(other.pk)
    assert [event["kind"] for event in events] == [kind for kind, _ in expected]
    for event, (kind, shown) in zip(events, expected, strict=True):
        assert ("tool_calls" in event) == (kind == "action_required")
        lean = {"last_error", "parent_chat_id"}
        assert CHAT_ALWAYS <= set(event["chat"]) <= CHAT_ALWAYS | lean
        assert (event["chat"]["children"], event["chat"]["has_unread"]) == ([], False)
        assert shown.items() <= event["chat"].items()


def test_every_kind_but_that_of_diffs_has_a_cause():
    told = {kind for *_, expected in TOLD for kind, _ in expected}
    assert told == {
        "created",
        "deleted",
        "status_change",
        "title_change",
        "summary_change",
        "action_required",
    }


def test_the_chat_of_an_event_is_the_one_that_is_stored_then(server, chats: Chats, tokens, model):
    other = save_model_config(ModelConfig(ai_provider=model.ai_provider, model="other"))
    chat, token = chats.waiting(), tokens.alice
    with server.watch(token) as client:
        body = {"content": [text_part()], "model_config_id": str(other.pk)}
        Api(token).post(f"/chats/{chat.pk}/messages", body)
        event = client.next()
    assert event["chat"]["last_model_config_id"] == str(other.pk)
    assert event["chat"] == body_of(chat, token)


def test_readers_are_told_nothing(server, cast: Cast, chats: Chats, tokens, model):
    chat = chats.waiting()
    Chat.objects.filter(pk=chat.pk).update(user_acl={str(cast.bob.pk): {"permissions": ["read"]}})
    with server.watch(tokens.bob) as client:
        states.archive_chat(chat.pk)
        own = Chats(cast.bob, cast.organization, model).pending()
        assert client.next()["chat"]["id"] == str(own.pk)
