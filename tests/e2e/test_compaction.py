"""A chat that is summarised on the whole product: what follows on its socket, and stopping it."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAIHandler,
    OpenAIRequest,
    finish_chunk,
    non_streaming_response,
    streaming_response,
)
from chatd.turns.summary_text import INSTRUCTION, text_for_model
from tests.e2e.provider import ScriptedProvider, answer, held_until, said
from tests.support.client import Client, Follower
from tests.support.product import Product

RUNS_ON = "embedded"

CONFIG = "/api/experimental/chats/config/user-compaction-thresholds"


@pytest.fixture
def model(product: Product, provider: ScriptedProvider, client: Client) -> str:
    """A model whose history is summarised after every step."""
    [config_id] = product.add_models({"base_url": provider.base_url})
    client.call("PUT", f"{CONFIG}/{config_id}", {"threshold_percent": 0})
    return config_id


@pytest.fixture
def summarise(provider: ScriptedProvider) -> Callable[[OpenAIHandler], None]:
    """Have requests for a summary answered; turns stream, summaries do not."""

    def on(handler: OpenAIHandler) -> None:
        def answered(request: OpenAIRequest) -> object:
            assert not request.stream
            return handler(request)

        provider.on(INSTRUCTION, answered)  # type: ignore[arg-type]

    return on


def unmeasured(words: str) -> OpenAIHandler:
    """Answer without saying how many tokens were read: no history is summarised after it."""
    return lambda request: streaming_response(said(words), finish_chunk())


def shown(follower: Follower) -> list[str]:
    """Return what was seen of a turn, in order, texts of one stream joined."""
    words: list[str] = []
    for event in follower.events:
        word = event["type"]
        if word == "message_part":
            part = event["message_part"]["part"]
            word = f"{event['message_part']['role']} {part.get('tool_name') or part['type']}"
            word += " with args" if "args" in part else ""
        elif word == "message":
            word = f"message {event['message']['role']}"
        elif word == "status":
            word = event["status"]["status"]
        if words[-1:] != [word]:
            words.append(word)
    return words


def test_a_summary_shows_as_a_call_and_a_result_and_the_turn_goes_on(
    client: Client, provider: ScriptedProvider, model: str, summarise: Callable
):
    summary = f"A summary, {uuid4()}"
    summarise(lambda request: non_streaming_response(summary))
    followed = threading.Event()
    provider.on("fill the context", held_until(followed, answer("The first part.")))
    provider.on(text_for_model(summary), unmeasured("The second part."))
    chat = client.create_chat("fill the context", model=model)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("running")
        followed.set()
        follower.wait(lambda f: "The second part." in f.answers, "the second part")
        follower.wait_for_status("waiting")
    seen = shown(follower)
    assert seen[seen.index("assistant text") :] == [
        "assistant text",
        "message assistant",
        "assistant chat_summarized",
        "message assistant",
        "message tool",
        "tool chat_summarized",
        "assistant text",
        "message assistant",
        "waiting",
    ]
    roles = [message["role"] for message in client.messages(chat["id"])]
    assert roles == ["user", "assistant", "assistant", "tool", "assistant"]
    [call], [result] = [m["content"] for m in client.messages(chat["id"])[2:4]]
    assert call["tool_call_id"] == result["tool_call_id"]
    assert result["result"]["summary"] == summary
    assert result["result"]["threshold_percent"] == 0


def test_a_stop_in_the_middle_of_a_summary_ends_the_call_and_stores_nothing_of_it(
    client: Client, provider: ScriptedProvider, model: str, summarise: Callable
):
    summarise(faults.hang())
    followed = threading.Event()
    provider.on("stop the summary", held_until(followed, answer("All is said.")))
    dropped = provider.disconnects
    chat = client.create_chat("stop the summary", model=model)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("running")
        followed.set()
        follower.wait(
            lambda f: any(each["part"].get("tool_name") == "chat_summarized" for each in f.parts),
            "the summary is begun",
        )
        client.interrupt(chat["id"])
        follower.wait_for_status("waiting")
        assert provider.wait_for_disconnects(dropped + 1)
        summarise(lambda request: non_streaming_response("never"))
        provider.on("and on", unmeasured("On it goes."))
        client.send(chat["id"], "and on")
        follower.wait_for_answers(2)
    assert follower.answers == ["All is said.", "On it goes."]
    roles = [message["role"] for message in client.messages(chat["id"])]
    assert roles == ["user", "assistant", "user", "assistant"]
