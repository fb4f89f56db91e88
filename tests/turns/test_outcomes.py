"""What tools give, as it is stored, and as a model reads it again."""

from typing import Any
from uuid import UUID

import pytest

from chatd.chats.models import Role
from chatd.chats.parts import from_stored
from chatd.llm.types import FileBlock, ToolMessage
from chatd.turns.outcomes import FailedOutcome, MediaOutcome, Outcome, TextOutcome, result_part
from tests.support.prompts import call, prompt, row

FILE = UUID("33333333-0000-0000-0000-000000000000")
SERVER = "44444444-0000-0000-0000-000000000000"
DEEP = "[" * 200 + "]" * 200


def stored(outcome: Outcome, **fields: Any) -> dict[str, Any]:
    part = result_part(call("a", **fields), outcome)
    assert part["created_at"].endswith("Z")
    assert len(from_stored([part])) == 1
    return part


@pytest.mark.parametrize(
    ("text", "result", "read"),
    [
        ('{"a": [1, 2.5]}', {"a": [1, 2.5]}, '{"a":[1,2.5]}'),
        ("3", 3, "3"),
        ('"quoted"', "quoted", "quoted"),
        ("plain words", {"output": "plain words"}, '{"output":"plain words"}'),
        ("", {"output": ""}, '{"output":""}'),
        ("NaN", {"output": "NaN"}, '{"output":"NaN"}'),
        (DEEP, {"output": DEEP}, '{"output":"' + DEEP + '"}'),
        (b"caf\xc3\xa9", {"output": "caf\u00e9"}, '{"output":"caf\u00e9"}'),
        (b"a\xff", {"output": "a\ufffd"}, '{"output":"a\ufffd"}'),
        ("a\ud800", {"output": "a\ufffd\ufffd\ufffd"}, '{"output":"a\ufffd\ufffd\ufffd"}'),
        (None, {}, "{}"),
    ],
    ids=repr,
)
def test_json_is_stored_as_it_is_and_other_texts_in_an_object(
    text: Any, result: Any, read: str
) -> None:
    part = stored(TextOutcome(text=text))
    assert part["result"] == result
    assert not part.keys() & {"is_error", "is_media", "mcp_server_config_id"}
    assert (part["tool_call_id"], part["tool_name"]) == ("a", "find")
    found = prompt(row(Role.ASSISTANT, call("a")), row(Role.TOOL, part))[1]
    assert isinstance(found, ToolMessage)
    assert found.results[0].output == read


def test_a_failure_is_an_error_with_its_message() -> None:
    part = stored(FailedOutcome(message='{"error": "no"}'))
    assert (part["result"], part["is_error"]) == ({"error": '{"error": "no"}'}, True)


def test_a_failure_may_say_what_is_no_text() -> None:
    assert stored(FailedOutcome(message="no \udcff"))["result"]["error"].startswith("no \ufffd")


def test_media_is_base64_with_its_type_and_what_it_was_stored_as() -> None:
    picture = MediaOutcome(data=b"png", mime_type="image/png", text="a screen")
    part = stored(picture)
    assert part["is_media"] is True
    assert part["result"] == {"data": "cG5n", "mime_type": "image/png", "text": "a screen"}
    kept = MediaOutcome(
        data=b"png", mime_type="image/png", attachment_file_id=FILE, attachment_name="a.png"
    )
    assert stored(kept)["result"] == {
        "data": "cG5n",
        "mime_type": "image/png",
        "text": "",
        "attachment_file_id": str(FILE),
        "attachment_name": "a.png",
    }
    found = prompt(row(Role.ASSISTANT, call("a")), row(Role.TOOL, part))[1]
    assert isinstance(found, ToolMessage)
    assert found.results[0].media == FileBlock(media_type="image/png", data=b"png")


@pytest.mark.parametrize("outcome", [TextOutcome(text="1"), FailedOutcome(message="no")])
def test_the_mcp_server_of_a_call_is_that_of_its_result(outcome: Outcome) -> None:
    part = stored(outcome, mcp_server_config_id=SERVER)
    assert part["mcp_server_config_id"] == SERVER
