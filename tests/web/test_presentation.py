"""Parts as blocks: streamed pieces are joined, results are readable, long ones are cut."""

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
