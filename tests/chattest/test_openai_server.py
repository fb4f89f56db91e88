"""The fake OpenAI server, seen by a plain HTTP client."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest

from chatd.chattest.openai import (
    OpenAIChunk,
    OpenAIChunkChoice,
    OpenAICompletion,
    OpenAIResponse,
    OpenAIServer,
    finish_chunk,
    non_streaming_response,
    reasoning_chunk,
    streaming_response,
    text_chunks,
    tool_call_chunk,
    usage_chunk,
    usage_numbers,
)

ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


async def post(server, path="/chat/completions", document=None, *, stream=True):
    body = json.dumps({**ASK, "stream": stream} if document is None else document)
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.base_url + path, data=body) as response,
    ):
        return response.status, response.content_type, await response.text()


def documents(text):
    *events, rest = text.split("\n\n")
    assert rest == ""
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def served(response, path="/chat/completions", *, stream=True):
    async with OpenAIServer(lambda request: response) as server:
        return await post(server, path, stream=stream)


async def test_text_chunks_count_their_choice_index_up_and_say_no_reason():
    status, kind, text = await served(streaming_response(*text_chunks("a", "b", "")))
    found = documents(text)
    assert (status, kind) == (200, "text/event-stream")
    assert [chunk["choices"] for chunk in found] == [
        [{"index": 0, "delta": {"content": "a"}}],
        [{"index": 1, "delta": {"content": "b"}}],
        [{"index": 2}],
    ]
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in found}) == 1
    assert not any("usage" in chunk for chunk in found)


async def test_a_tool_call_is_complete_in_one_chunk_without_its_index():
    _, _, text = await served(streaming_response(tool_call_chunk("add", '{"a":1}')))
    (choice,) = documents(text)[0]["choices"]
    (call,) = choice["delta"]["tool_calls"]
    assert call.pop("id").startswith("call_")
    assert call == {"type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    assert "finish_reason" not in choice


async def test_a_second_call_carries_its_index():
    _, _, text = await served(streaming_response(tool_call_chunk("add", "{}", index=1)))
    assert documents(text)[0]["choices"][0]["delta"]["tool_calls"][0]["index"] == 1


async def test_the_extras_of_real_servers_can_be_asked_for():
    chunks = [reasoning_chunk("hm"), finish_chunk("stop"), usage_chunk(4, 3, cached=2, reasoning=1)]
    _, _, text = await served(streaming_response(chunks))
    reasoning, finish, usage = documents(text)
    assert reasoning["choices"] == [{"index": 0, "delta": {"reasoning_content": "hm"}}]
    assert finish["choices"] == [{"index": 0, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"] == usage_numbers(4, 3, cached=2, reasoning=1)
    assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


async def test_a_whole_answer_has_its_fixed_usage():
    status, kind, text = await served(non_streaming_response("Hi!"), stream=False)
    answer = json.loads(text)
    assert (status, kind, answer["object"]) == (200, "application/json", "chat.completion")
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi!"},
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


async def test_a_responses_stream_holds_only_text_deltas():
    two = OpenAIChunk(choices=(OpenAIChunkChoice(delta="x"), OpenAIChunkChoice(delta="y")))
    chunks = [*text_chunks("a", "b"), two]
    _, _, text = await served(streaming_response(chunks), "/responses")
    found = documents(text)
    assert {event["type"] for event in found} == {"response.output_text.delta"}
    assert [(event["output_index"], event["delta"]) for event in found] == [
        (0, "a"),
        (1, "b"),
        (0, "x"),
        (1, "y"),
    ]
    assert found[0]["item_id"] == found[2]["item_id"] != found[1]["item_id"]
    assert all(event["content_index"] == 0 for event in found)


async def test_a_whole_responses_answer_has_output_and_chat_style_usage():
    _, _, text = await served(non_streaming_response("Hi!"), "/responses", stream=False)
    answer = json.loads(text)
    assert answer["object"] == "response"
    assert answer["output"][0]["content"] == [{"type": "output_text", "text": "Hi!"}]
    assert answer["usage"]["prompt_tokens"] == 10


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
@pytest.mark.parametrize(
    ("response", "stream"),
    [
        (streaming_response(), False),
        (non_streaming_response("x"), True),
        (OpenAIResponse(), True),
        (None, False),
        (OpenAIResponse(chunks=[], completion=OpenAICompletion(text="")), True),
    ],
)
async def test_an_answer_that_does_not_fit_the_request_is_a_plain_500(path, response, stream):
    status, kind, text = await served(response, path, stream=stream)
    assert (status, kind) == (500, "text/plain")
    assert text.strip()


async def test_no_chunks_are_an_empty_stream():
    _, _, text = await served(streaming_response(*text_chunks()))
    assert text == "data: [DONE]\n\n"


async def test_a_body_that_is_no_json_object_is_a_400():
    async with OpenAIServer(lambda request: streaming_response()) as server:
        assert (await post(server, document=[]))[0] == 400
        assert server.requests == []


async def test_received_requests_are_kept_whole():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    async with OpenAIServer(lambda request: streaming_response()) as server:
        await post(server, document={"model": "m", "messages": messages, "stream": True})
    (request,) = server.requests
    assert (request.model, request.stream, request.path) == ("m", True, "/chat/completions")
    assert [(message.role, message.content) for message in request.messages] == [
        ("user", "a"),
        ("assistant", ""),
    ]
    assert request.messages[1].raw == messages[1]
    assert json.loads(request.raw) == request.body
    assert request.headers["content-type"]


async def test_handlers_may_be_coroutines_and_chunks_may_be_awaited():
    gate = asyncio.Event()

    async def chunks():
        await gate.wait()
        yield text_chunks("late")[0]

    async def handler(request):
        gate.set()
        return streaming_response(text_chunks("early"), chunks(), {"choices": []}, b": raw\n\n")

    async with OpenAIServer(handler) as server:
        _, _, text = await post(server)
    assert text.index("early") < text.index("late") < text.index(": raw")


def test_a_blocking_handler_and_generator_leave_other_requests_alone():
    gate = threading.Event()

    def blocking():
        assert gate.wait(10)
        yield text_chunks("slow")[0]

    def handler(request):
        if request.model == "slow":
            return streaming_response(blocking())
        gate.set()
        return non_streaming_response("quick")

    def ask(document):
        raw = json.dumps(document).encode()
        with urllib.request.urlopen(server.base_url + "/chat/completions", raw) as answer:
            return answer.read().decode()

    with OpenAIServer(handler) as server, ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, {**ASK, "model": "slow", "stream": True})
        assert "quick" in ask({**ASK, "stream": False})
        assert "slow" in slow.result()


def test_a_client_that_goes_away_is_counted_in_threads_too():
    async def forever():
        yield text_chunks("x")[0]
        await asyncio.Event().wait()

    with OpenAIServer(lambda request: streaming_response(forever())) as server:
        raw = json.dumps({**ASK, "stream": True}).encode()
        with urllib.request.urlopen(server.base_url + "/chat/completions", raw) as answer:
            answer.readline()
        assert server.wait_for_disconnects()
        assert server.disconnects == 1


def test_an_open_stream_does_not_keep_the_server_from_stopping():
    async def forever():
        yield text_chunks("x")[0]
        await asyncio.Event().wait()

    raw = json.dumps({**ASK, "stream": True}).encode()
    with OpenAIServer(lambda request: streaming_response(forever())) as server:
        answer = urllib.request.urlopen(server.base_url + "/chat/completions", raw)
        answer.readline()
    answer.close()
    assert server.disconnects == 0


def test_a_taken_port_is_reported_to_the_caller():
    with OpenAIServer(lambda request: streaming_response()) as server:
        port = int(server.base_url.rpartition(":")[2])
        with pytest.raises(OSError):
            OpenAIServer(lambda request: streaming_response(), port=port).start()
