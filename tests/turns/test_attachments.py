"""Files of messages as the model gets them."""

import base64
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chatd.chats.models import ChatFile, Role
from chatd.llm.types import FileBlock, TextBlock, UserMessage
from chatd.turns import attachments
from chatd.turns.attachments import MAX_INLINE_BYTES, load_files
from tests.conftest import Cast
from tests.support.prompts import prompt, row, text

pytestmark = pytest.mark.django_db

PASTED = "pasted-text-2026-01-02-03-04-05.txt"
PASTED_HEAD = (
    "[pasted-text] The user pasted this text into the message."
    f"\nSynthetic attachment name: {PASTED}"
)

Stored = Callable[..., ChatFile]


@pytest.fixture
def stored(cast: Cast) -> Stored:
    def store(body: bytes, mimetype: str, name: str = "file") -> ChatFile:
        return ChatFile.objects.create(
            owner=cast.alice,
            organization=cast.organization,
            data=body,
            mimetype=mimetype,
            name=name,
        )

    return store


def attached(*files: ChatFile) -> list[Any]:
    """Return the blocks of a message with these files, behind its text."""
    parts = [
        {"type": "file", "media_type": file.mimetype, "file_id": str(file.pk)} for file in files
    ]
    asked = row(Role.USER, text("look"), *parts)
    (found,) = prompt(asked, files=load_files([asked]))
    assert isinstance(found, UserMessage)
    assert found.blocks[0] == TextBlock(text="look")
    return list(found.blocks[1:])


def inline(data: Any, media_type: str = "image/png", **fields: Any) -> list[Any]:
    part = {"type": "file", "media_type": media_type, "data": data, **fields}
    (found,) = prompt(row(Role.USER, text("look"), part))
    assert isinstance(found, UserMessage)
    return list(found.blocks[1:])


def test_an_image_goes_to_the_model_as_bytes(stored: Stored) -> None:
    assert attached(stored(b"png", "image/png", "a.png")) == [
        FileBlock(media_type="image/png", data=b"png", name="a.png")
    ]


def test_a_text_file_is_inlined_and_cut_at_its_bound(stored: Stored) -> None:
    (whole,) = attached(stored(b"a" * MAX_INLINE_BYTES, "text/csv", "t.csv"))
    assert whole.text == "[attached-file] t.csv\n\n" + "a" * MAX_INLINE_BYTES
    (cut,) = attached(stored(b"a" * MAX_INLINE_BYTES + b"bc", "text/csv", "t.csv"))
    notice = "\n\n[truncated] Only the first 128 KiB of this text are shown."
    assert cut.text == whole.text + notice


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_is_not_cut_inside_a_letter(stored: Stored, encoding: str) -> None:
    body = ("x" + "\U0001f600" * MAX_INLINE_BYTES).encode(encoding)
    (cut,) = attached(stored(body, "text/plain", "a.txt"))
    assert "\ufffd" not in cut.text
    assert cut.text.count("\U0001f600") == (MAX_INLINE_BYTES - 1) // 4


def test_a_damaged_letter_at_the_end_of_a_whole_text_is_marked(stored: Stored) -> None:
    (block,) = attached(stored(b"a\xc3", "text/plain", "a.txt"))
    assert block.text == "[attached-file] a.txt\n\na\ufffd"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "text/markdown",
        "application/json",
        "application/xml",
        "application/javascript",
        "application/x-yaml",
    ],
)
def test_pasted_text_is_marked_as_such(stored: Stored, media_type: str) -> None:
    assert attached(stored(b"paste", media_type, PASTED)) == [
        TextBlock(text=f"{PASTED_HEAD}\n\npaste")
    ]


@pytest.mark.parametrize(
    "name", ["pasted-text-2026-01-02-03-04.txt", f"x{PASTED}", PASTED.upper(), f"{PASTED}.md"]
)
def test_only_names_of_pasted_texts_mark_them(stored: Stored, name: str) -> None:
    (block,) = attached(stored(b"paste", "text/plain", name))
    assert block.text == f"[attached-file] {name}\n\npaste"


def test_a_file_that_is_no_text_is_not_inlined_whatever_it_is_called(stored: Stored) -> None:
    assert attached(stored(b"%PDF-", "application/pdf", PASTED)) == [
        FileBlock(media_type="application/pdf", data=b"%PDF-", name=PASTED)
    ]


def test_an_empty_file_is_dropped(stored: Stored) -> None:
    assert attached(stored(b"", "image/png"), stored(b"", "text/plain")) == []
    only = {"type": "file", "media_type": "image/png", "file_id": str(stored(b"", "image/png").pk)}
    asked = row(Role.USER, only)
    assert prompt(asked, files=load_files([asked])) == []


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("image/png", " of type image/png"),
        ("application/octet-stream", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_a_file_that_is_gone_is_named_and_may_be_asked_for(media_type: str, kind: str) -> None:
    part = {"type": "file", "media_type": media_type, "file_id": str(uuid4())}
    asked = row(Role.USER, part)
    (found,) = prompt(asked, files=load_files([asked]))
    told = (
        f"[missing-attachment] A file{kind} was attached here, but it has expired."
        " Ask the user to upload it again if you need it."
    )
    assert found == UserMessage(blocks=(TextBlock(text=told),))


def test_a_part_may_carry_its_bytes_itself() -> None:
    data = base64.b64encode(b"png").decode()
    assert inline(data, name="a.png") == [
        FileBlock(media_type="image/png", data=b"png", name="a.png")
    ]
    assert inline(data, "text/plain", name="a.txt") == [
        TextBlock(text="[attached-file] a.txt\n\npng")
    ]
    assert inline("") == []
    for damaged in ("no base64!", None, 7):
        (block,) = inline(damaged)
        assert block.text.startswith("[missing-attachment]")


def test_text_in_utf_16_is_read_as_what_it_says(stored: Stored) -> None:
    (block,) = attached(stored("h\u00e9llo".encode("utf-16"), "text/plain", "a.txt"))
    assert block.text == "[attached-file] a.txt\n\nh\u00e9llo"


@pytest.mark.parametrize("count", [1, 50])
def test_however_many_files_are_read_at_once(
    stored: Stored, django_assert_num_queries: Any, count: int
) -> None:
    files = [stored(b"png", "image/png") for _ in range(count)]
    with django_assert_num_queries(2):
        assert len(attached(*files)) == count


def test_a_file_named_often_is_read_once(stored: Stored, django_assert_num_queries: Any) -> None:
    file = stored(b"png", "image/png")
    with django_assert_num_queries(2):
        blocks = attached(*[file] * 50)
    assert len({id(block.data) for block in blocks}) == 1


def test_files_over_the_bound_of_a_prompt_leave_a_text_and_the_newest_stay(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_PROMPT_FILE_BYTES", 5)
    old, new = attached(stored(b"1234", "image/png"), stored(b"5678", "image/png"))
    assert old.text.startswith("[left-out-attachment]")
    assert new.data == b"5678"


def test_a_file_counts_as_often_as_it_is_sent(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_PROMPT_FILE_BYTES", 11)
    once, often = stored(b"1234", "image/png"), stored(b"5678", "image/png")
    blocks = attached(once, often, often, often)
    assert [isinstance(block, FileBlock) for block in blocks] == [True, False, False, False]
    monkeypatch.setattr(attachments, "MAX_PROMPT_FILE_BYTES", 12)
    blocks = attached(once, often, often, often)
    assert [isinstance(block, FileBlock) for block in blocks] == [False, True, True, True]
