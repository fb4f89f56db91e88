"""Serving recordings again."""

import aiohttp
import pytest

from chatd.chattest.replay import Interaction, ReplayServer, expected_chat, load_recording

BODY = (
    'data: {"choices":[{"index":0,"delta":{"reasoning":"hm","content":"a"}}]}\n\n'
    'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c",'
    '"function":{"name":"t","arguments":"{}"}}]},"finish_reason":"tool_calls"}],'
    '"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,'
    '"prompt_tokens_details":{"cached_tokens":4}}}\n\n'
    "data: [DONE]\n\n"
)
YAML = """
version: 2
interactions:
- request: {{method: POST, url: "http://x/v1/chat/completions", body: "{{}}"}}
  response: {{code: 200, headers: {{Content-Type: [text/event-stream]}}, body: {body}}}
- request: {{method: POST, url: "http://x"}}
  response: {{code: 429, body: !!binary "AAAACGFi"}}
"""


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(YAML.format(body="'" + BODY.replace("\n", "\n\n") + "'"))
    return load_recording(path)


async def test_the_nth_post_gets_the_nth_answer_and_then_an_error(recording):
    async with ReplayServer(recording) as server, aiohttp.ClientSession() as session:
        answers = []
        for path in ("/v1/chat/completions", "/any/where", "/x"):
            async with session.post(server.base_url + path, data=b"q") as response:
                answers.append((response.status, await response.read()))
    assert answers[0] == (200, recording.interactions[0].body)
    assert answers[1] == (429, b"\x00\x00\x00\x08ab")
    assert answers[2][0] == 500
    assert server.requests == [b"q"] * 3


def test_a_recorded_stream_adds_up_to_an_expected_answer(recording):
    expected = expected_chat(recording.interactions[0])
    assert (expected.text, expected.reasoning) == ("a", "hm")
    assert expected.tool_calls == (("c", "t", "{}"),)
    assert expected.finish_reason == "tool_calls"
    assert expected.usage == {
        "input": 5,
        "output": 3,
        "total": 12,
        "reasoning": 0,
        "cache_read": 4,
    }


@pytest.mark.parametrize(
    ("content_type", "body", "pieces"),
    [
        ("text/event-stream", b"data: 1\n\ndata: 2\n\n", [b"data: 1\n\n", b"data: 2\n\n"]),
        ("text/event-stream; charset=utf-8", b"data: 1\r\n\r\nx", [b"data: 1\r\n\r\n", b"x"]),
        (
            "application/vnd.amazon.eventstream",
            b"\0\0\0\x05a\0\0\0\x06bc",
            [b"\0\0\0\x05a", b"\0\0\0\x06bc"],
        ),
        ("application/json", b"{}", [b"{}"]),
    ],
)
def test_a_body_is_cut_where_a_provider_would_cut_it(content_type, body, pieces):
    found = Interaction(url="", request_body="", status=200, content_type=content_type, body=body)
    assert found.pieces == pieces
