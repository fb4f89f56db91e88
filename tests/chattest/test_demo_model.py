"""The offline demo model and each of its keywords."""

import json

import aiohttp
import pytest

from chatd.chattest.demo import KEYWORDS, DemoServer, create_demo_app, serve_demo, split_words
from chatd.chattest.demo_answers import STORY, asked_for, introduction, title_of
from chatd.chattest.server import LoopbackServer
from chatd.turns.label_text import read_label

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"enum": ["C", "F"]},
                    "days": {"type": "integer", "default": 3},
                    "notes": {"type": "string"},
                    "where": {
                        "type": "object",
                        "properties": {"lat": {"type": "number"}},
                        "required": ["lat"],
                    },
                },
                "required": ["city", "unit", "days", "where"],
            },
        },
    }
]


class Answer:
    def __init__(self, status, headers, text):
        self.status = status
        self.headers = headers
        self.error = json.loads(text)["error"]["message"] if status != 200 else ""
        lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
        self.ended = status == 200 and lines[-1] == "[DONE]"
        self.chunks = [json.loads(line) for line in lines[:-1]] if self.ended else []
        self.choices = [choice for chunk in self.chunks for choice in chunk["choices"]]

    def joined(self, field):
        return "".join(choice["delta"].get(field) or "" for choice in self.choices)

    @property
    def content(self):
        return self.joined("content")

    @property
    def reason(self):
        return self.choices[-1]["finish_reason"]

    @property
    def usage(self):
        return self.chunks[-1]["usage"]


@pytest.fixture
async def ask():
    server = LoopbackServer(lambda: create_demo_app(pace=0))
    async with server, aiohttp.ClientSession() as session:

        async def send(*messages, stream=True, **fields):
            named = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
            body = {"model": "demo", "messages": named, "stream": stream, **fields}
            url = server.base_url + "/v1/chat/completions"
            async with session.post(url, json=body) as response:
                if stream:
                    return Answer(response.status, response.headers, await response.text())
                return await response.json()

        yield send


async def test_the_default_answer_introduces_the_model_with_every_keyword(ask):
    answer = await ask("Tell me about yourself")
    assert answer.ended
    assert answer.reason == "stop"
    assert "offline demo model" in answer.content
    for keyword in KEYWORDS:
        assert keyword.effect in answer.content
        assert all(f"`{word}`" in answer.content for word in keyword.words)


async def test_answers_come_word_by_word_with_usage(ask):
    answer = await ask("Hello there")
    assert answer.content.startswith("Hello!")
    assert len(answer.choices) > 20
    usage = answer.usage
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 20


async def test_a_question_is_quoted(ask):
    assert (await ask("Why is the\nsky blue?")).content.startswith("> Why is the sky blue?")


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ("some code please", "```python"),
        ("A Table!", "| --- |"),
        ("give me a list", "1. **"),
        ("a long one", "## The keeper"),
    ],
)
async def test_content_keywords_choose_the_answer(ask, message, part):
    assert part in (await ask(message)).content


def test_the_long_answer_has_about_six_hundred_words():
    assert 550 <= len(" ".join(STORY).split()) <= 650


async def test_thinking_comes_before_the_answer_and_is_counted(ask):
    answer = await ask("think about code")
    kinds = [next(iter(choice["delta"]), "") for choice in answer.choices]
    assert kinds.index("content") > kinds.index("reasoning_content") == 0
    assert "```python" in answer.content
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_error_fails_every_time_with_a_readable_message(ask):
    for _ in range(2):
        answer = await ask("show me an error")
        assert answer.status == 400
        assert "asked to fail" in answer.error


async def test_rate_limit_refuses_a_conversation_once(ask):
    first, retry = await ask("rate limit"), await ask("rate limit")
    assert (first.status, first.headers["Retry-After"]) == (429, "2")
    assert retry.ended
    assert (await ask("rate limit", "more on rate limit")).status == 429


async def test_a_title_call_does_not_use_up_the_refusal(ask):
    assert "choices" in await ask("rate limit", stream=False)
    assert (await ask("rate limit")).status == 429


async def test_tool_calls_the_first_tool_with_arguments_that_fit(ask):
    answer = await ask("use a tool", tools=TOOLS)
    deltas = [call for c in answer.choices for call in c["delta"].get("tool_calls", ())]
    arguments = json.loads("".join(call["function"]["arguments"] for call in deltas))
    assert deltas[0]["function"]["name"] == "weather"
    assert arguments == {"city": "demo", "unit": "C", "days": 3, "where": {"lat": 1}}
    assert answer.reason == "tool_calls"


async def test_tool_without_tools_is_an_ordinary_answer(ask):
    assert (await ask("use a tool")).reason == "stop"


async def test_a_tool_result_is_answered_and_not_called_again(ask):
    result = {"role": "tool", "tool_call_id": "c", "content": "21 °C"}
    answer = await ask("use a tool", {"role": "assistant", "content": None}, result, tools=TOOLS)
    assert "21 °C" in answer.content
    assert answer.reason == "stop"


async def test_calls_without_a_stream_answer_shortly(ask):
    answer = await ask("write a plan for my long holiday in the far north", stream=False)
    assert answer["choices"][0]["message"]["content"] == "Plan for my long holiday"
    assert answer["usage"]["total_tokens"] > 0


async def test_a_call_that_names_a_schema_is_answered_in_json(ask):
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "propose_title", "schema": schema}}
    answer = await ask("How do rainbows form?", stream=False, response_format=wanted)
    content = answer["choices"][0]["message"]["content"]
    assert json.loads(content) == {"title": "How do rainbows form"}


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Explain how rainbows form, in three sentences.", "How rainbows form"),
        ("Can you please help me with the\nparser", "Parser"),
        ("  fix chatd/web/views.py line 12  ", "Fix chatd/web/views.py line 12"),
        ("Hello there", "Hello there"),
        ("please", "Please"),
        ("", "A chat with the demo model"),
        ("...", "A chat with the demo model"),
    ],
)
def test_a_title_says_what_a_message_is_about(message, title):
    assert title_of(message) == title


async def test_attachments_and_missing_messages_do_no_harm(ask):
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert (await ask({"role": "user", "content": parts})).content.startswith("Hello!")
    assert (await ask()).ended


async def test_a_body_that_is_no_request_is_a_400(ask):
    assert (await ask(messages=5)).status == 400


async def test_slow_and_pace_decide_how_long_a_word_takes():
    pauses = []

    async def no_wait(seconds):
        pauses.append(seconds)

    server = LoopbackServer(lambda: create_demo_app(pace=2, sleep=no_wait))
    async with server, aiohttp.ClientSession() as session:
        for text in ("hello", "hello slowly"):
            body = {"messages": [{"role": "user", "content": text}], "stream": True}
            async with session.post(server.base_url + "/chat/completions", json=body) as response:
                assert b"[DONE]" in await response.read()
    normal, slow = pauses[: len(pauses) // 2], pauses[len(pauses) // 2 :]
    assert all(0.05 <= seconds <= 0.08 for seconds in normal)
    assert len(set(normal)) > 10
    assert set(slow) == {1.0}


async def test_the_served_demo_lists_its_model_and_stops():
    demo = serve_demo(pace=0)
    assert isinstance(demo, DemoServer)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{demo.base_url}/models") as got,
        ):
            assert [model["id"] for model in (await got.json())["data"]] == ["chatd-demo"]
    finally:
        demo.stop()


def test_keywords_are_whole_words():
    assert asked_for("decode tablet mirror errors toolbox") == frozenset()
    assert asked_for("THINK about a Rate Limit") == {"reason", "rate limit"}


@pytest.mark.parametrize("text", ["", " ", "a", "  a  b\n\n", introduction(), "\n\n".join(STORY)])
def test_split_words_lose_nothing(text):
    assert "".join(split_words(text)) == text


@pytest.mark.parametrize("words", ["hello", "code", "table", "list", "story", "why?", "anything"])
async def test_every_answer_of_the_demo_gets_a_label_that_counts(ask, words):
    answer = (await ask(words)).content
    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    named = {"name": "propose_turn_status_label", "schema": schema}
    wanted = {"type": "json_schema", "json_schema": named}
    whole = await ask(answer, stream=False, response_format=wanted)
    content = whole["choices"][0]["message"]["content"]
    assert read_label(content) == json.loads(content)["label"]
