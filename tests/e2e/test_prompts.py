"""What a provider gets over HTTP: the whole prompt, as it was made of what is stored."""

import base64
import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.support.client import Client, text_part
from tests.support.product import Product, Web

RUNS_ON = "embedded"

API = "/api/experimental/chats"
PNG = b"\x89PNG\r\n\x1a\n"
MEBIBYTE = 1024 * 1024
TOOL = {"name": "find", "description": "Finds.", "input_schema": {"type": "object"}}
PASTED = "pasted-text-2026-01-02-03-04-05.txt"

Message = dict[str, Any]

_STORE = """
import json
from chatd.chats.models import Chat, ChatMessage
chat = Chat.objects.get(pk={chat!r})
for row in json.loads({rows!r}):
    ChatMessage.objects.create(chat=chat, revision=chat.snapshot_version, **row)
"""


def question(words: str) -> str:
    """Return a question that no other test asks."""
    return f"{words} {uuid4().hex[:8]}"


def finish(client: Client, chat_id: str) -> None:
    with client.follow(chat_id) as follower:
        follower.wait_for_status("waiting", "error", "requires_action")


def create(client: Client, *parts: Message, **fields: Any) -> Message:
    body = {"organization_id": client.organization_id, "content": list(parts), **fields}
    chat: Message = client.call("POST", API, body, expect=201)
    finish(client, chat["id"])
    return chat


def bodies(provider: ScriptedProvider, asked: str) -> list[list[Message]]:
    """Return the messages of every turn's request about a question."""
    found = [request for request in provider.requests_for(asked) if request.stream]
    return [list(request.body["messages"]) for request in found]


@pytest.fixture
def store(product: Product) -> Callable[[str, Sequence[Message]], None]:
    """Put rows into the history of a chat, as nothing that runs would."""

    def into(chat_id: str, rows: Sequence[Message]) -> None:
        product.shell(_STORE.format(chat=chat_id, rows=json.dumps(rows)))

    return into


@pytest.fixture
def upload(client: Client, web: Web) -> Callable[[bytes, str, str], Message]:
    """Upload a file and return the part that names it."""

    def send(body: bytes, name: str, media_type: str) -> Message:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=120)
        headers = {
            "Coder-Session-Token": client.token,
            "Content-Type": media_type,
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        path = f"{API}/files?organization={client.organization_id}"
        connection.request("POST", path, body=body, headers=headers)
        answered = connection.getresponse()
        assert answered.status == 201
        file_id = json.loads(answered.read())["id"]
        connection.close()
        return {"type": "file", "file_id": file_id}

    return send


@pytest.fixture
def own_prompt(client: Client) -> Iterator[None]:
    """Instructions of the person's own; the product is shared, so they are taken back."""
    path = f"{API}/config/user-prompt"
    client.call("PUT", path, {"custom_prompt": "Be brief."})
    yield
    client.call("PUT", path, {})


def test_a_new_chat_opens_in_the_order_of_the_contract(
    client: Client, provider: ScriptedProvider, own_prompt: None
) -> None:
    config = client.call("GET", f"{API}/config/system-prompt")
    asked = question("open")
    create(client, text_part(asked), system_prompt="Mine.\r\n\u200b\n\n\nAlways. \n")
    (sent,) = bodies(provider, asked)
    assert [message["role"] for message in sent] == ["system"] * 4 + ["user"]
    built_in, mine, workspace, own, said = [message["content"] for message in sent]
    assert built_in == config["default_system_prompt"]
    assert mine == "Mine.\n\nAlways."
    assert workspace.startswith("No workspace is attached to this chat")
    assert own == "<user-instructions>\nBe brief.\n</user-instructions>"
    assert said == asked


def test_calls_and_results_of_a_client_go_back_to_the_model(
    client: Client, provider: ScriptedProvider
) -> None:
    asked = question("find")
    arguments = {"where\x00": ["\x00", "\ue000\ue001"]}
    wanted = ("call.1/ä", "find", json.dumps(arguments)), ("call.2", "find", "{}")
    provider.on(asked, in_turn(calls(*wanted), answer("Found.")))
    chat = create(client, text_part(asked), unsafe_dynamic_tools=[TOOL])
    outputs = {"call.2": "plain \x00", "call.1/ä": {"b": "\x00", "a\ue000": [1]}}
    client.submit_results(chat["id"], outputs)
    finish(client, chat["id"])
    first, second = bodies(provider, asked)
    called, *results = second[len(first) :]
    assert [each["id"] for each in called["tool_calls"]] == ["call_1__", "call_2"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == arguments
    by_id = {each["tool_call_id"]: each["content"] for each in results}
    assert json.loads(by_id["call_1__"]) == {"b": "\x00", "a\ue000": [1]}
    assert by_id["call_2"] == "plain \x00"


BROKEN: Sequence[Message] = [
    {
        "role": "assistant",
        "content": [
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool-call", "tool_call_id": "a", "tool_name": "find", "args": {"q": 1}},
            {"type": "tool-call", "tool_call_id": "b", "tool_name": "find"},
            {
                "type": "tool-call",
                "tool_call_id": "w",
                "tool_name": "web_search",
                "provider_executed": True,
            },
        ],
    },
    {
        "role": "tool",
        "content": [
            {
                "type": "tool-result",
                "tool_call_id": "lost",
                "tool_name": "look",
                "is_media": True,
                "result": {"data": "!", "mime_type": "image/png"},
            }
        ],
    },
    {
        "role": "tool",
        "content": [
            {
                "type": "tool-result",
                "tool_call_id": "a",
                "tool_name": "find",
                "is_error": True,
                "result": {"error": "no such file"},
            }
        ],
    },
    {"role": "user", "content": [{"type": "skill", "skill_name": "s"}]},
]


def test_a_broken_history_is_mended_on_its_way(
    client: Client, provider: ScriptedProvider, store: Callable[..., None]
) -> None:
    chat = create(client, text_part(question("begin")))
    store(chat["id"], BROKEN)
    asked = question("mend")
    client.send(chat["id"], asked)
    finish(client, chat["id"])
    (sent,) = bodies(provider, asked)
    mended = sent[4:-1]
    assert [each["role"] for each in mended] == ["assistant", "tool", "tool", "assistant", "tool"]
    said, failed, cut, adopted, lost = mended
    assert said["content"] == "Let me see."
    assert [each["id"] for each in said["tool_calls"]] == ["a", "b"]
    assert said["tool_calls"][0]["function"]["arguments"] == '{"q":1}'
    assert (failed["tool_call_id"], failed["content"]) == ("a", "no such file")
    assert (cut["tool_call_id"], cut["content"]) == (
        "b",
        "tool call was interrupted and did not receive a result",
    )
    function = {"name": "look", "arguments": "{}"}
    assert adopted["tool_calls"] == [{"id": "lost", "type": "function", "function": function}]
    assert lost["content"] == "[media content unavailable: corrupted data]"


def context(path: str, content: str, agent: str) -> Message:
    part = {
        "type": "context-file",
        "context_file_path": path,
        "context_file_content": content,
        "context_file_agent_id": agent,
        "context_file_os": "linux",
    }
    return {"role": "user", "content": [part]}


def test_a_summary_takes_the_place_of_what_came_before_but_not_of_the_workspace(
    client: Client, provider: ScriptedProvider, store: Callable[..., None]
) -> None:
    chat = create(client, text_part(question("begin")))
    summary = {"role": "user", "visibility": "model", "compressed": True}
    shown = {"role": "tool", "compressed": True, "content": []}
    store(
        chat["id"],
        [
            context("old.md", "Use spaces.", str(uuid4())),
            context("AGENTS.md", "Use tabs.", str(uuid4())),
            {**summary, "content": [{"type": "text", "text": "An older summary."}]},
            {**summary, "content": [{"type": "text", "text": "So far so good."}]},
            shown,
        ],
    )
    asked = question("go on")
    client.send(chat["id"], asked)
    finish(client, chat["id"])
    (sent,) = bodies(provider, asked)
    assert [each["role"] for each in sent] == ["system"] * 3 + ["user"] * 2
    block = "<workspace-context>\nOperating System: linux\n\nSource: AGENTS.md\nUse tabs.\n"
    assert sent[2]["content"] == f"{block}</workspace-context>"
    assert [each["content"] for each in sent[3:]] == ["So far so good.", asked]


def test_files_reach_the_model_and_those_that_are_gone_are_named(
    client: Client,
    product: Product,
    provider: ScriptedProvider,
    upload: Callable[..., Message],
) -> None:
    asked = question("look")
    picture = upload(PNG + b"\0" * 64, "a.png", "image/png")
    gone = upload(PNG + b"\0" * 65, "b.png", "image/png")
    pasted = upload(b"x" * (128 * 1024 + 1), PASTED, "text/plain")
    reference = {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2}
    chat = create(client, text_part(asked), picture, gone, pasted, {**reference, "content": "x"})
    product.shell(
        "from chatd.chats.models import ChatFile\n"
        f"print(ChatFile.objects.filter(pk={gone['file_id']!r}).delete())"
    )
    client.send(chat["id"], question("again"))
    finish(client, chat["id"])
    sent = provider.requests[-1].body["messages"]
    parts = next(each["content"] for each in sent if isinstance(each["content"], list))
    said, image, missing, text, quoted = parts
    assert said == {"type": "text", "text": asked}
    data = base64.b64encode(PNG + b"\0" * 64).decode()
    assert image["image_url"] == {"url": f"data:image/png;base64,{data}"}
    assert missing["text"].startswith("[missing-attachment] A file of type image/png was attached")
    assert text["text"].startswith("[pasted-text] The user pasted this text into the message.\n")
    assert f"\nSynthetic attachment name: {PASTED}\n\nxxx" in text["text"]
    assert text["text"].endswith("x\n\n[truncated] Only the first 128 KiB of this text are shown.")
    assert quoted["text"] == "[file-reference] a.py:1-2\n```a.py\nx\n```"


def test_an_image_that_is_too_large_for_the_provider_fails_the_turn_before_it_is_asked(
    client: Client,
    product: Product,
    provider: ScriptedProvider,
    upload: Callable[..., Message],
) -> None:
    kind = {"kind": "anthropic", "base_url": provider.base_url}
    (model,) = product.add_models(kind)
    asked = question("large")
    picture = upload(PNG + b"\0" * (5 * MEBIBYTE - len(PNG)), "large.png", "image/png")
    chat = create(client, text_part(asked), picture, model_config_id=model)
    error = client.chat(chat["id"])["last_error"]
    assert (error["kind"], error["retryable"]) == ("config", False)
    assert error["message"] == (
        "Image attachment exceeds Anthropic's 5.0 MiB inline image limit."
        " Replace it with a smaller image."
    )
    assert not any(asked.encode() in request.raw for request in provider.requests)
