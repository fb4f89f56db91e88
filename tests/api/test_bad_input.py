"""Input nobody should send: never a 500, and nothing half-written."""

import json
from typing import Any

import pytest

from chatd.chats.models import ChatMessage, Role
from tests.api.client import NIL, TOOL, Api, Chats, rows, text_part
from tests.api.routes import CREATE, EDIT, SEND, TOOL_RESULTS, Route
from tests.conftest import Cast

BAD_JSON = "Request body must be valid JSON."
WITH_BODY = [CREATE, SEND, EDIT, TOOL_RESULTS]

each_route = pytest.mark.parametrize("route", WITH_BODY, ids=str)


def refused(api: Api, route: Route, path: str, **options):
    before = rows()
    answer = api.call(route.method, path, **options)
    assert answer.status == 400
    assert rows() == before
    return answer


def everywhere(value: bytes) -> bytes:
    """Return a body with `value` where a text of a message and an output of a tool stand."""
    return b'{"content":[{"type":"text","text":%b}],"results":[{"output":%b}]}' % (value, value)


MALFORMED = {
    "nothing": b"",
    "blank": b" \n",
    "cut": b'{"content": [',
    "word": b"nonsense",
    "form": b"content=hello&organization_id=1",
    "trailing": b"{} {}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"content":[]}'.encode("utf-16"),
    "invalid utf-8": everywhere(b'"\xff\xfe"'),
    "encoded surrogate": everywhere(b'"\xed\xa0\x80"'),
    "lone surrogate": everywhere(b'"\\ud800"'),
    "low surrogate": everywhere(b'"\\udfff"'),
    "NaN": everywhere(b"NaN"),
    "Infinity": everywhere(b"1e999"),
    "NUL byte": b'{"content":\x00[]}',
    "raw control character": everywhere(b'"\x01"'),
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "text": b'"content"',
    "deep lists": b'{"content":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and unknown": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and open": b"[" * 100_000,
    "deep output": b'{"results":[{"output":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    "many digits": everywhere(b"9" * 9_000),
    "5 MiB of space": b" " * 5 * 2**20,
    "5 MiB of text": b'{"content":[{"type":"text","text":"' + b"x" * 5 * 2**20 + b'"}]}',
    "5 MiB of brackets": b"[" * 5 * 2**20,
}


@each_route
@pytest.mark.parametrize("name", MALFORMED)
def test_a_body_that_is_no_json_of_the_route_is_refused(route, name, chats, alice):
    path = route.scene(chats).path
    answer = refused(alice, route, path, raw=MALFORMED[name])
    assert answer.message == BAD_JSON
    assert answer.detail


WRONG: dict[str, list[Any]] = {
    "text": [1, 1.5, True, [], {}],
    "uuid": [1, True, [], {}, "", "x", "a" * 36, "{" + NIL + "}", NIL + "0", "\u0000"],
    "list": [1, True, "x", {}],
    "object": [1, True, "x", []],
    "int": ["1", 1.5, 1e3, True, [], {}, 2**63, -(2**63) - 1, 10**30],
}
PART_FIELDS = {
    "type": "text",
    "text": "text",
    "file_id": "uuid",
    "file_name": "text",
    "start_line": "int",
    "end_line": "int",
    "content": "text",
}
SENT_FIELDS = {"content": "list", "model_config_id": "uuid"}
FIELDS = {
    "send": SENT_FIELDS | {"mcp_server_ids": "list", "busy_behavior": "text", "plan_mode": "text"},
    "edit": SENT_FIELDS,
    "create": SENT_FIELDS
    | {
        "organization_id": "uuid",
        "system_prompt": "text",
        "workspace_id": "uuid",
        "mcp_server_ids": "list",
        "labels": "object",
        "unsafe_dynamic_tools": "list",
        "plan_mode": "text",
        "client_type": "text",
    },
    "tool results": {"results": "list"},
}


def wrong_bodies(route: Route):
    """Yield a good body with one value of a wrong type in it, for every field and type."""
    good = dict(route.body)
    for name, kind in FIELDS[route.name].items():
        for value in WRONG[kind]:
            yield good | {name: value}
    if "content" in good:
        for name, kind in PART_FIELDS.items():
            for value in WRONG[kind]:
                yield good | {"content": [text_part() | {name: value}]}
        yield from (good | {"content": [entry]} for entry in (None, 1, "x", []))
    if "mcp_server_ids" in FIELDS[route.name]:
        yield from (good | {"mcp_server_ids": [value]} for value in [None, *WRONG["uuid"]])
    if route is CREATE:
        yield from (good | {"labels": {"a": value}} for value in [None, 1, [], {}, True])
        for name in ("name", "description"):
            for value in WRONG["text"]:
                yield good | {"unsafe_dynamic_tools": [TOOL | {name: value}]}
        yield good | {"unsafe_dynamic_tools": [None]}
    if route is TOOL_RESULTS:
        entry = good["results"][0]
        yield from (good | {"results": [value]} for value in [None, 1, "x", []])
        yield from (good | {"results": [entry | {"is_error": v}]} for v in ["true", 1, [], {}])
        yield from (good | {"results": [entry | {"tool_call_id": v}]} for v in WRONG["text"])


@each_route
def test_a_value_of_a_wrong_type_is_refused_in_every_field(route, chats, alice):
    path = route.scene(chats).path
    bodies = list(wrong_bodies(route))
    assert len(bodies) > 10
    for body in bodies:
        answer = refused(alice, route, path, body=body)
        assert (answer.message, bool(answer.detail)) == (BAD_JSON, True), body


# Sizes


def create_body(size: int) -> bytes:
    """Return a body of exactly `size` bytes that creates a chat."""
    head, tail = b'{"content":[{"type":"text","text":"', b'"}]}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_a_chat_is_created_with_up_to_256_kib(alice, cast, model):
    assert alice.post("/chats", raw=create_body(262_144)).status == 201
    before = rows()
    answer = alice.post("/chats", raw=create_body(262_145))
    assert (answer.status, answer.message) == (400, BAD_JSON)
    assert "too large" in answer.detail
    assert rows() == before


def test_tool_results_have_up_to_256_kib(alice, chats):
    chat = chats.requiring_action()
    path = f"/chats/{chat.pk}/tool-results"
    for size, status in ((262_145, 400), (262_144, 204)):
        head, tail = b'{"results":[{"tool_call_id":"call-1","output":"', b'"}]}'
        raw = head + b"x" * (size - len(head) - len(tail)) + tail
        assert alice.post(path, raw=raw).status == status


LONG_TEXTS = {
    "ascii": "a" * 100_000,
    "wide": "\U0001f600\u00e5" * 50_000,
    "escapes": '"\\\n\t\u0000<&>\u2028' * 12_500 + "x",
    "marks": "\ue000\ue001\u0000" * 33_333 + "x",
}


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_message_of_100_000_characters_comes_back_as_it_was(name, alice, chats):
    words = LONG_TEXTS[name]
    chat = chats.waiting()
    path = f"/chats/{chat.pk}/messages"
    sent = alice.post(path, {"content": [text_part(words)]})
    assert sent.body["message"]["content"] == [{"type": "text", "text": words.strip()}]
    shown = alice.get(path)
    assert shown.body["messages"][0]["content"] == [{"type": "text", "text": words.strip()}]


def test_a_message_of_three_mebibytes_is_the_largest(alice, chats):
    path = f"/chats/{chats.waiting().pk}/messages"
    before = rows()
    assert alice.post(path, raw=create_body(3 * 2**20 + 1)).status == 400
    assert rows() == before
    assert alice.post(path, raw=create_body(3 * 2**20)).status == 200


def test_a_message_that_grows_when_it_is_shown_still_fits_a_frame(alice, chats):
    path = f"/chats/{chats.waiting().pk}/messages"
    part = b'{"type":"file-reference","file_name":"a"}'
    before = rows()
    raw = b'{"content":[' + b",".join([part] * (3 * 2**20 // len(part) - 2000)) + b"]}"
    answer = alice.post(path, raw=raw)
    assert (answer.status, answer.message) == (400, BAD_JSON)
    assert rows() == before
    raw = b'{"content":[' + b",".join([part] * 20_000) + b"]}"
    answer = alice.post(path, raw=raw)
    assert answer.status == 200
    assert len(answer.raw) < 4 * 2**20


# NUL and other characters that databases do not like

NASTY = "a\u0000b\ue000\ue001\u202e\U0010ffff\ufffe"


def test_nul_characters_survive_in_everything_a_chat_is_made_of(alice, cast: Cast, model):
    body = {
        "content": [
            text_part(NASTY),
            {"type": "file-reference", "file_name": NASTY, "content": NASTY},
        ],
        "system_prompt": NASTY,
        "labels": {"label": NASTY},
        "unsafe_dynamic_tools": [
            {"name": NASTY, "description": NASTY, "input_schema": {NASTY: NASTY}}
        ],
    }
    created = alice.post("/chats", body)
    assert created.status == 201
    assert created.body["labels"] == {"label": NASTY}
    assert "\u0000" not in created.body["title"]
    shown = alice.get(f"/chats/{created.body['id']}/messages").body["messages"]
    assert shown[0]["content"][0] == {"type": "text", "text": NASTY}
    assert shown[0]["content"][1]["file_name"] == NASTY
    hidden = ChatMessage.objects.filter(role=Role.SYSTEM).order_by("id")[1]
    assert "\u0000" in hidden.content[0]["text"]


@pytest.mark.parametrize("name", ["plan_mode", "client_type"])
def test_nul_characters_in_a_choice_are_refused(alice, cast, model, name):
    before = rows()
    answer = alice.post("/chats", {"content": [text_part()], name: "\u0000"})
    assert (answer.status, rows()) == (400, before)


def test_nul_characters_in_ids_and_kinds_are_refused(alice, chats):
    chat = chats.requiring_action()
    base = f"/chats/{chat.pk}"
    for path, body in (
        ("messages", {"content": [{"type": "text\u0000", "text": "x"}]}),
        ("messages", {"content": [text_part()], "busy_behavior": "queue\u0000"}),
        ("tool-results", {"results": [{"tool_call_id": "call-1\u0000", "output": 1}]}),
    ):
        before = rows()
        assert alice.post(f"{base}/{path}", body).status == 400
        assert rows() == before


@pytest.mark.parametrize("token", ["%00", "%ff", "%ed%a0%80", "a%00b", "%0a", "%F0%9F%98%80"])
@pytest.mark.parametrize("name", ["coder_session_token", "access_token"])
def test_a_token_in_the_query_may_hold_anything(db, name, token):
    answer = Api().get(f"/chats?{name}={token}")
    assert (answer.status, answer.detail) == (401, "Session token has an invalid format.")


@pytest.mark.parametrize("name", ["sessionid", "coder_session_token", "csrftoken", "messages"])
@pytest.mark.parametrize("value", ['"\\000aaaaaaaaaa"', '"\\377"', "x" * 4000, '"', "=", "\x7f"])
def test_a_cookie_may_hold_anything(db, name, value):
    answer = Api().get("/chats", headers={"Cookie": f"{name}={value}"})
    assert answer.status == 401


def test_a_value_nested_too_deeply_is_refused_wherever_it_would_be_stored(alice, cast, chats):
    def nested(levels: int) -> Any:
        return json.loads("[" * levels + "]" * levels)

    chat = chats.requiring_action()
    path = f"/chats/{chat.pk}/tool-results"
    for levels in (101, 300, 800):
        before = rows()
        results = {"results": [{"tool_call_id": "call-1", "output": nested(levels)}]}
        tools = {
            "content": [text_part()],
            "unsafe_dynamic_tools": [{"name": "t", "input_schema": {"x": nested(levels)}}],
        }
        for answer in (alice.post(path, results), alice.post("/chats", tools)):
            assert (answer.status, answer.message) == (400, BAD_JSON)
        assert rows() == before
    results = {"results": [{"tool_call_id": "call-1", "output": nested(100)}]}
    assert alice.post(path, results).status == 204
    shown = alice.get(f"/chats/{chat.pk}/messages").body["messages"][0]
    assert shown["content"][0]["result"] == nested(100)


def test_what_a_model_put_into_a_call_is_shown_however_large(alice, chats: Chats):
    chat = chats.requiring_action()
    message = chat.messages.filter(role=Role.ASSISTANT).get()
    deep: Any = json.loads("[" * 300 + "]" * 300)
    args = {"n": 10**30, "deep": deep}
    message.content = [{"type": "tool-call", "tool_call_id": "c", "args": args}]
    message.save()
    shown = alice.get(f"/chats/{chat.pk}/messages").body["messages"][0]
    assert shown["content"][0]["args"] == args


def test_answers_have_no_markup_whatever_is_in_them(alice, chats):
    words = "</script><b>&amp;\u003c"
    chat = chats.waiting()
    assert alice.patch(f"/chats/{chat.pk}", {"title": words}).status == 204
    answer = alice.get(f"/chats/{chat.pk}")
    assert answer.body["title"] == words
    assert not set(b"<>&") & set(answer.raw)
