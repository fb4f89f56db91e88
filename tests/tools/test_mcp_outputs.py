"""What a server answered to a call, as the output of a tool."""

from typing import Any

import orjson
from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from chatd.tools.mcp import outputs
from chatd.tools.mcp.outputs import output_of
from chatd.tools.types import ToolMedia, ToolOutput

IMAGE = ImageContent(data="AAAA", mime_type="image/png")


def result(*blocks: Any, **fields: Any) -> CallToolResult:
    return CallToolResult(content=list(blocks), **fields)


def test_structured_content_is_appended_as_json() -> None:
    said = result(TextContent(text="two"), structured_content={"ä": [1, None]})
    assert output_of(said) == ToolOutput(text='two\n{"ä": [1, null]}')
    assert output_of(result(structured_content=[])) == ToolOutput(text="[]")


def test_links_are_named() -> None:
    bare = ResourceLink(name="b", uri="file:///b")
    assert output_of(result(bare)) == ToolOutput(text="[resource: b (file:///b)]")


def test_media_count_only_without_a_text() -> None:
    second = ImageContent(data="BBBB", mime_type="image/gif")
    first = ToolMedia(data="AAAA", mime_type="image/png")
    assert output_of(result(TextContent(text=""), IMAGE, second)) == ToolOutput(media=first)
    assert output_of(result(IMAGE, TextContent(text="a"))) == ToolOutput(text="a")
    blob = EmbeddedResource(resource=BlobResourceContents(uri="file:///c", blob="CCCC"))
    untyped = ToolMedia(data="CCCC", mime_type="application/octet-stream")
    assert output_of(result(blob)) == ToolOutput(media=untyped)


def test_an_error_stays_one_and_always_says_something() -> None:
    failed = result(TextContent(text="no"), is_error=True)
    assert output_of(failed) == ToolOutput(text="no", is_error=True)
    silent = output_of(result(IMAGE, is_error=True))
    assert silent == ToolOutput(text=outputs.NOTHING_SAID, is_error=True)


def test_nothing_is_an_empty_output() -> None:
    assert output_of(result()) == ToolOutput()


def test_what_no_message_can_hold_is_cut_or_refused() -> None:
    text = output_of(result(TextContent(text="\x00" * outputs.MAX_TEXT_BYTES))).text
    assert text.endswith(outputs.CUT)
    assert len(orjson.dumps(text)) <= outputs.MAX_TEXT_BYTES + 100
    large = ImageContent(data="A" * (outputs.MAX_MEDIA_CHARS + 1), mime_type="image/png")
    assert output_of(result(large)) == ToolOutput(text=outputs.TOO_LARGE, is_error=True)
