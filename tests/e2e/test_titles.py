"""Titles on the whole product: while one is made others work, and who leaves pays no longer."""

import http.client
import threading

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIRequest, non_streaming_response
from tests.e2e.provider import ScriptedProvider
from tests.support.client import Client
from tests.support.product import Web, wait_until

RUNS_ON = "embedded"


def chat_of(client: Client, words: str) -> str:
    chat = client.create_chat(words)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        follower.wait_for_status("waiting")
    wait_until(lambda: client.chat(chat["id"])["title"] != words, 120, "the chat has a title")
    return str(chat["id"])


def test_while_a_title_is_made_others_write_and_it_is_stored_in_the_end(
    client: Client, provider: ScriptedProvider
):
    asked, released = threading.Event(), threading.Event()

    def late(request: OpenAIRequest):
        asked.set()
        assert released.wait(120)
        return non_streaming_response("Made at last")

    chat_id = chat_of(client, "name me late")
    provider.title("name me late", late)
    path = f"/api/experimental/chats/{chat_id}"
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(client.call("POST", f"{path}/title/regenerate"))
    )
    waiting.start()
    assert asked.wait(120)
    client.call("PATCH", path, {"labels": {"a": "b"}}, expect=204)
    client.call("PATCH", path, {"title": "By hand"}, expect=409)
    client.call("POST", f"{path}/title/propose", expect=409)
    client.send(chat_id, "and more")
    released.set()
    waiting.join(60)
    assert answers[0]["title"] == "Made at last"
    assert client.chat(chat_id)["title"] == "Made at last"


def test_when_the_person_goes_away_the_call_and_the_lock_end(
    client: Client, web: Web, provider: ScriptedProvider
):
    chat_id = chat_of(client, "leave me")
    provider.title("leave me", faults.hang())
    dropped, asked = provider.disconnects, len(provider.side_requests)
    path = f"/api/experimental/chats/{chat_id}"
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=120)
    headers = {"Coder-Session-Token": client.token}
    connection.request("POST", f"{path}/title/regenerate", headers=headers)
    wait_until(lambda: len(provider.side_requests) > asked, 120, "the model is asked")
    connection.close()
    assert provider.wait_for_disconnects(dropped + 1)
    wait_until(lambda: _renames(client, path), 120, "the lock has ended")
    assert "Traceback" not in web.log


def _renames(client: Client, path: str) -> bool:
    try:
        client.call("PATCH", path, {"title": "By hand"}, expect=204)
    except AssertionError:
        return False
    return True
