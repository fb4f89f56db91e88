"""File parts of a message as the model gets them: images and PDFs as bytes, text inlined."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from chatd.chats.files import file_ids_of
from chatd.chats.models import ChatFile, ChatMessage, Role
from chatd.llm.types import FileBlock, TextBlock

MAX_INLINE_BYTES = 128 * 1024

_PASTED = re.compile(r"^pasted-text-\d{4}(-\d{2}){5}\.txt$")
_TEXTUAL = re.compile(
    r"^(text/.*|application/(json|xml|javascript|x-yaml)|.*\+(json|xml))$", re.IGNORECASE
)


def load_files(rows: Iterable[ChatMessage]) -> dict[UUID, ChatFile]:
    """Return the files that user messages refer to, with their bytes, in one query."""
    wanted = {
        file_id
        for row in rows
        if row.role == Role.USER
        for file_id in file_ids_of(row.content or [])
    }
    if not wanted:
        return {}
    return {file.pk: file for file in ChatFile.objects.filter(pk__in=wanted)}


def file_block(
    part: Mapping[str, Any], files: Mapping[UUID, ChatFile]
) -> TextBlock | FileBlock | None:
    """Return the block of a file part; a text in its place when it is gone, None when empty."""
    file = files.get(UUID(part["file_id"])) if part.get("file_id") else None
    if file is None:
        return TextBlock(text=_missing(str(part.get("media_type", ""))))
    body = bytes(file.data)
    if not body:
        return None
    if _TEXTUAL.match(file.mimetype):
        return TextBlock(text=_inlined(file.name, body))
    return FileBlock(media_type=file.mimetype, data=body, name=file.name)


def _missing(media_type: str) -> str:
    known = media_type not in ("", "application/octet-stream")
    kind = f" of type {media_type}" if known else ""
    return (
        f"[missing-attachment] A file{kind} was attached here, but it has expired."
        " Ask the user to upload it again if you need it."
    )


def _inlined(name: str, body: bytes) -> str:
    text = body[:MAX_INLINE_BYTES].decode(errors="replace")
    cut = "\n[truncated]" if len(body) > MAX_INLINE_BYTES else ""
    if _PASTED.match(name):
        head = (
            "[pasted-text] The user pasted this text into the message."
            f"\nSynthetic attachment name: {name}"
        )
    else:
        head = f"[attached-file] {name}"
    return f"{head}\n\n{text}{cut}"
