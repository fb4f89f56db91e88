"""What tools give, as it is stored, and as a model reads it again."""

from typing import Any

import pytest

from chatd.chats.models import Role
from chatd.chats.parts import from_stored
from chatd.llm.types import FileBlock, ToolMessage
from chatd.tools.results import result_part
from chatd.tools.types import ToolMedia, ToolOutput
from tests.support.prompts import call, prompt, row

SERVER = "44444444-0000-0000-0000-000000000000"
DEEP = "[" * 200 + "]" * 200


def stored(output: ToolOutput, **fields: Any) -> dict[str, Any]:
    part = result_part(call("a", **fields), output)
    assert part["created_at"].endswith("Z")
    assert len(from_stored([part])) == 1
    return part


def failed(text: str) -> ToolOutput:
    return ToolOutput(text=text, is_error=True)


@pytest.mark.parametrize(
    ("text", "result", "read"),
    [
        ('{"a": [1, 2.5]}', {"a": [1, 2.5]}, '{"a":[1,2.5]}'),
        ("3", 3, "3"),
        ('"quoted"', "quoted", "quoted"),
        ("plain words", {"output": "plain words"}, '{"output":"plain words"}'),
        ("NaN", {"output": "NaN"}, '{"output":"NaN"}'),
        (DEEP, {"output": DEEP}, '{"output":"' + DEEP + '"}'),
        ("a\ud800", {"output": "a\ufffd\ufffd\ufffd"}, '{"output":"a\ufffd\ufffd\ufffd"}'),
        ("", {}, "{}"),
    ],
    ids=repr,
)
def test_json_is_stored_as_it_is_and_other_texts_in_an_object(
    text: str, result: Any, read: str
) -> None:
    part = stored(ToolOutput(text=text))
    assert part["result"] == result
    assert not part.keys() & {"is_error", "is_media", "mcp_server_config_id"}
    assert (part["tool_call_id"], part["tool_name"]) == ("a", "find")
    found = prompt(row(Role.ASSISTANT, call("a")), row(Role.TOOL, part))[1]
    assert isinstance(found, ToolMessage)
    assert found.results[0].output == read


def test_a_failure_is_an_error_with_its_message() -> None:
    part = stored(failed('{"error": "no"}'))
    assert (part["result"], part["is_error"]) == ({"error": '{"error": "no"}'}, True)


def test_a_failure_may_say_what_is_no_text() -> None:
    assert stored(failed("no \udcff"))["result"]["error"].startswith("no \ufffd")


def test_media_is_base64_with_its_type_and_a_text() -> None:
    media = ToolMedia(data="cG5n", mime_type="image/png")
    part = stored(ToolOutput(text="a screen", media=media))
    assert part["is_media"] is True
    assert part["result"] == {"data": "cG5n", "mime_type": "image/png", "text": "a screen"}
    found = prompt(row(Role.ASSISTANT, call("a")), row(Role.TOOL, part))[1]
    assert isinstance(found, ToolMessage)
    assert found.results[0].media == FileBlock(media_type="image/png", data=b"png")


@pytest.mark.parametrize("output", [ToolOutput(text="1"), failed("no")])
def test_the_mcp_server_of_a_call_is_that_of_its_result(output: ToolOutput) -> None:
    part = stored(output, mcp_server_config_id=SERVER)
    assert part["mcp_server_config_id"] == SERVER
