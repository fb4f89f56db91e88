"""What people and administrators wrote for models reaches them."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client

RUNS_ON = "embedded"

CONFIG = "/api/experimental/chats/config"


@pytest.fixture
def prompts(client: Client) -> Iterator[None]:
    """A prompt of the deployment and one's own; the product is shared, so they are taken back."""
    client.call("PUT", f"{CONFIG}/system-prompt", {"system_prompt": "Serve."}, expect=204)
    client.call("PUT", f"{CONFIG}/user-prompt", {"custom_prompt": "Be brief."})
    yield
    client.call("PUT", f"{CONFIG}/system-prompt", {}, expect=204)
    client.call("PUT", f"{CONFIG}/user-prompt", {})


def systems_of(provider: ScriptedProvider, question: str) -> list[list[str]]:
    """Return the system texts of every call about a question."""
    return [
        [message.content for message in request.messages if message.role == "system"]
        for request in provider.requests_for(question)
    ]


def ask(client: Client, question: str) -> str:
    chat = client.create_chat(question)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    return str(chat["id"])


def test_every_call_of_a_turn_has_the_prompts(client: Client, provider, prompts) -> None:
    question = f"question {uuid4().hex[:8]}"
    provider.on(question, in_turn(calls(("call-1", "nothing", "{}")), answer("done")))
    chat = client.create_chat(question)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("waiting")
    first, second = systems_of(provider, question)
    assert first == second
    assert first[0] == "Serve."
    assert first[-1] == "<user-instructions>\nBe brief.\n</user-instructions>"


def test_ones_own_prompt_holds_from_the_next_turn_and_the_deployments_from_the_next_chat(
    client: Client, provider, prompts
) -> None:
    first, second = (f"question {uuid4().hex[:8]}" for _ in range(2))
    chat = ask(client, first)
    client.call("PUT", f"{CONFIG}/user-prompt", {})
    client.call("PUT", f"{CONFIG}/system-prompt", {"system_prompt": "Rule."}, expect=204)
    with client.follow(chat) as follower:
        client.send(chat, second)
        follower.wait_for_answers(2)
    (before,), (after,) = systems_of(provider, first), systems_of(provider, second)
    assert after == before[:-1]
    assert after[0] == "Serve."
