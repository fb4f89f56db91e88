"""U+0000 and the characters next to it: from people and models, through storage, to both again."""

from typing import Any

import orjson
import pytest

from chatd.chats import runs
from chatd.chats.models import Chat, Role
from chatd.chats.new_messages import NewMessage
from chatd.chats.parts import ToolCallPart, to_stored
from chatd.chats.selectors import prompt_messages
from chatd.llm.types import Provider, Request
from chatd.llm.wires.openai_chat.request import encode
from chatd.turns.prompt import prompt_from
from tests.api.client import TOOL, Api, Chats, fresh, start, text_part

HARD = [
    "\x00",
    "a\x00b",
    "\ue000",
    "\ue000\ue001",
    "\ue000\x00\ue000\ue001",
    "\ue001\x00\U0010ffff",
]
NESTED: dict[str, Any] = {words: [words, {f"key {words}": words}] for words in HARD}


@pytest.mark.parametrize("words", HARD, ids=ascii)
def test_texts_arguments_and_results_reach_people_and_models_as_they_were_written(
    alice: Api, chats: Chats, words: str
) -> None:
    chat = chats.pending(dynamic_tools=[TOOL])
    asked = {
        "content": [
            text_part(f"<{words}>"),
            {"type": "file-reference", "file_name": words, "start_line": 1, "content": words},
        ]
    }
    runs.require_action(start(chat), [_answer(words)])
    output = {"tool_call_id": "call-1", "output": {"got": NESTED}}
    assert alice.post(f"/chats/{chat.pk}/tool-results", {"results": [output]}).status == 204
    runs.finish(start(fresh(chat)))
    assert alice.post(f"/chats/{chat.pk}/messages", asked).status == 200

    shown = alice.get(f"/chats/{chat.pk}/messages").body["messages"]
    question, gotten, answered = (each["content"] for each in shown[:3])
    assert [question[0]["text"], question[1]["content"]] == [f"<{words}>", words]
    assert gotten[0]["result"] == {"got": NESTED}
    assert (answered[0]["text"], answered[1]["args"]) == (words, NESTED)

    *_, answer, result, latest = sent_for(chat)
    assert answer["content"] == words
    assert orjson.loads(answer["tool_calls"][0]["function"]["arguments"]) == NESTED
    assert orjson.loads(result["content"]) == {"got": NESTED}
    assert latest["content"].startswith(f"<{words}>\n\n[file-reference] {words}:1")


def _answer(words: str) -> NewMessage:
    call = ToolCallPart(tool_call_id="call-1", tool_name="lookup", args=NESTED)
    content = [{"type": "text", "text": words}, *to_stored([call])]
    return NewMessage(role=Role.ASSISTANT, content=content)


def sent_for(chat: Chat) -> list[dict[str, Any]]:
    """Return the messages of a request for what is stored."""
    request = Request(model="m", messages=prompt_from(prompt_messages(chat.pk), {}))
    body = orjson.loads(encode(request, Provider(kind="openai-compat", base_url="http://x")))
    messages: list[dict[str, Any]] = body["messages"]
    return messages


def test_an_id_of_a_provider_with_u0000_in_it_fails_no_turn(chats: Chats) -> None:
    chat = chats.pending()
    said = NewMessage(
        role=Role.ASSISTANT,
        content=[{"type": "text", "text": "so"}],
        provider_response_id="resp\x00 1",
    )
    runs.finish(start(chat), [said])
    assert chat.messages.latest("id").provider_response_id == "resp 1"
