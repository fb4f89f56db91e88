"""Parts as blocks: streamed pieces are joined, results are readable, long ones are cut."""

from typing import Any

import pytest

from chatd.chats.models import ChatMessage, Role
from chatd.core.clock import now
from chatd.web.presentation import MAX_SHOWN_CHARACTERS, Block, live_blocks, message_view


def blocks_of(*parts: dict[str, object], role: Role = Role.ASSISTANT) -> list[Block]:
    message = ChatMessage(pk=1, role=role, content=list(parts), created_at=now())
    return list(message_view(message).blocks)


def test_arguments_that_come_in_pieces_are_one_call() -> None:
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "search"}

    blocks = live_blocks(
        [
            ("assistant", {"type": "text", "text": "Let me see."}),
            ("assistant", {**call, "args_delta": '{"q":'}),
            ("assistant", {**call, "args_delta": '"rain"}'}),
        ]
    )

    assert [(block.kind, block.text) for block in blocks] == [
        ("plain", "Let me see."),
        ("call", '{"q":"rain"}'),
    ]


def test_whole_arguments_replace_the_pieces() -> None:
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "search"}

    blocks = live_blocks(
        [
            ("assistant", {**call, "args_delta": '{"q'}),
            ("assistant", {**call, "args": {"q": "rain"}}),
            ("tool", {"type": "tool-result", "tool_call_id": "c1", "result": "wet"}),
        ]
    )

    assert [(block.kind, block.text) for block in blocks] == [
        ("call", '{\n  "q": "rain"\n}'),
        ("result", "wet"),
    ]


def test_a_failed_tool_shows_its_error_as_a_sentence() -> None:
    (block,) = blocks_of(
        {"type": "tool-result", "tool_name": "search", "result": {"error": "No."}, "is_error": True}
    )

    assert (block.label, block.text, block.is_error) == ("search failed", "No.", True)


def test_a_long_result_is_cut_and_says_so() -> None:
    (block,) = blocks_of({"type": "tool-result", "result": "x" * (MAX_SHOWN_CHARACTERS + 5)})

    assert len(block.text) == MAX_SHOWN_CHARACTERS
    assert block.omitted == 5


def test_what_people_write_stays_as_written() -> None:
    (block,) = blocks_of({"type": "text", "text": "*not* Markdown"}, role=Role.USER)

    assert (block.kind, block.text) == ("plain", "*not* Markdown")


def test_a_source_with_an_unsafe_address_is_no_link() -> None:
    (block,) = blocks_of({"type": "source", "url": "javascript:alert(1)", "title": "Site"})

    assert block.kind == "note"
    assert block.url == ""


def test_parts_without_anything_to_see_are_left_out() -> None:
    assert blocks_of({"type": "text", "text": " "}, {"type": "from-the-future"}) == []


COMPACTION = {"tool_call_id": "chat_summarized_1", "tool_name": "chat_summarized"}


def test_a_compaction_is_one_line_that_opens_to_its_summary() -> None:
    call = {"type": "tool-call", **COMPACTION, "args": {"source": "automatic"}}
    result = {"type": "tool-result", **COMPACTION, "result": {"summary": "**Goal**: rain <b>"}}

    assert blocks_of(call) == []
    (block,) = blocks_of(result, role=Role.TOOL)

    assert (block.kind, block.is_error) == ("summary", False)
    assert block.html is not None
    assert "<strong>Goal</strong>" in block.html
    assert "<b>" not in block.html


def test_a_compaction_that_is_under_way_shows_and_its_result_is_not_shown_twice() -> None:
    call = ("assistant", {"type": "tool-call", **COMPACTION})
    result = {"type": "tool-result", **COMPACTION}

    (under_way,) = live_blocks([call])
    (_, failed) = live_blocks(
        [call, ("tool", {**result, "result": {"error": "No."}, "is_error": True})]
    )

    assert under_way.label == "Summarising earlier messages"
    assert (failed.kind, failed.text, failed.is_error) == ("summary", "No.", True)
    assert live_blocks([("tool", {**result, "result": {"summary": "It rains."}})]) == []


def test_a_tool_of_a_client_with_the_same_name_is_a_tool() -> None:
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "chat_summarized"}

    (block,) = blocks_of(call)

    assert block.label == "Calls chat_summarized"


def sources(count: int) -> list[dict[str, Any]]:
    return [{"type": "source", "url": f"https://a/{n}", "title": f"S{n}"} for n in range(count)]


def test_a_few_sources_are_links_and_many_are_folded_in_their_place() -> None:
    text = {"type": "text", "text": "So."}
    assert [block.kind for block in blocks_of(*sources(3), text)] == ["link"] * 3 + ["text"]
    folded, said, *rest = blocks_of(*sources(12), text, *sources(2))
    assert (folded.kind, folded.label, len(folded.links)) == ("links", "12 sources", 12)
    assert (folded.links[0].url, folded.links[0].label) == ("https://a/0", "S0")
    assert said.kind == "text"
    assert [block.kind for block in rest] == ["link", "link"]


@pytest.mark.parametrize(
    ("part", "kind", "url"),
    [
        ({"data": "iVBO"}, "image", "data:image/png;base64,iVBO"),
        ({"file_id": "f1"}, "image", "/api/experimental/chats/files/f1"),
        ({"file_id": "f1", "data": "iVBO"}, "image", "/api/experimental/chats/files/f1"),
        ({}, "note", ""),
        ({"data": "PHN2Zz4=", "media_type": "image/svg+xml"}, "note", ""),
        ({"data": "JVBE", "media_type": "application/pdf"}, "note", ""),
    ],
)
def test_pictures_are_shown_and_other_files_are_named(
    part: dict[str, Any], kind: str, url: str
) -> None:
    (block,) = blocks_of({"type": "file", "media_type": "image/png", **part})
    assert (block.kind, block.url) == (kind, url)
    assert part.get("media_type", "image/png") in block.label


def test_a_sentence_that_was_cut_where_it_cites_is_whole() -> None:
    cited = {"provider_metadata": {"anthropic": {"citations": [{"url": "https://a"}]}}}
    texts: list[dict[str, Any]] = [
        {"type": "text", "text": "It has "},
        {"type": "text", "text": "36 million", **cited},
        {"type": "text", "text": " people, "},
        {"type": "text", "text": "or more", **cited},
        {"type": "text", "text": "."},
    ]
    (block,) = blocks_of(*texts)
    assert "It has 36 million people, or more." in str(block.html)
    assert len(blocks_of({"type": "text", "text": "a"}, {"type": "text", "text": "b"})) == 2
    assert len(blocks_of(texts[1], {"type": "source", "url": "https://a"}, texts[1])) == 3
