"""The watch socket: what happens to one's own chats."""

import json

from chatd.chats import runs, states
from chatd.chats.models import Chat
from tests.api.client import Api, Chats, assistant, calls, fresh, start, text_part
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
