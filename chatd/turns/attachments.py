"""File parts of a message as the model gets them: images and PDFs as bytes, text inlined."""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models.functions import Length

from chatd.chats.files import file_ids_of
from chatd.chats.media import OCTET_STREAM, text_of_file
from chatd.chats.models import ChatFile, Role
from chatd.chats.selectors import PromptRow
from chatd.llm.types import FileBlock, TextBlock, UserBlock

MAX_INLINE_BYTES = 128 * 1024
MAX_PROMPT_FILE_BYTES = 24 * 1024 * 1024
"""Of all files of a prompt together; providers take little more, and many turns share a worker."""

_LEFT_OUT = (
    "[left-out-attachment] A file was attached here, but newer ones have taken the room there is."
)

_CUT = f"\n\n[truncated] Only the first {MAX_INLINE_BYTES // 1024} KiB of this text are shown."

_PASTED = re.compile(r"^pasted-text-\d{4}(-\d{2}){5}\.txt$")
_TEXTUAL = re.compile(
    r"^(text/.*|application/(json|xml|javascript|x-yaml)|.*\+(json|xml))$", re.IGNORECASE
)


Block = UserBlock | None


def load_files(rows: Iterable[PromptRow]) -> dict[UUID, Block]:
    """Return what the model gets for each file that user messages refer to, None for an empty one.

    The newest files count first, each as often as it is sent: what does not fit
    `MAX_PROMPT_FILE_BYTES` is left out, with a text in its place.
    """
    asked = [row for row in rows if row.role == Role.USER]
    named = [file_id for row in asked for file_id in file_ids_of(row.content or [])]
    newest_first = Counter(reversed(named))
    if not newest_first:
        return {}
    sizes = dict(
        ChatFile.objects.filter(pk__in=newest_first)
        .annotate(size=Length("data"))
        .values_list("pk", "size")
    )
    taken, room = set(), MAX_PROMPT_FILE_BYTES
    for file_id, times in newest_first.items():
        if file_id in sizes and times * sizes[file_id] <= room:
            taken.add(file_id)
            room -= times * sizes[file_id]
    blocks: dict[UUID, Block] = {file_id: TextBlock(text=_LEFT_OUT) for file_id in sizes}
    blocks |= {
        file.pk: _block(file.name, file.mimetype, bytes(file.data))
        for file in ChatFile.objects.filter(pk__in=taken)
    }
    return blocks


def file_block(part: Mapping[str, Any], files: Mapping[UUID, Block]) -> Block:
    """Return the block of a file part; a text in its place when it is gone, None when empty."""
    media_type = part.get("media_type") or ""
    if part.get("file_id"):
        file_id = UUID(part["file_id"])
        return files[file_id] if file_id in files else TextBlock(text=_missing(media_type))
    body = inline_bytes(part.get("data"))
    if body is None:
        return TextBlock(text=_missing(media_type))
    return _block(part.get("name") or "", media_type, body)


def inline_bytes(data: Any) -> bytes | None:
    """Return the bytes of base64 text that a part carries, or None for anything else."""
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _block(name: str, media_type: str, body: bytes) -> Block:
    if not body:
        return None
    if _TEXTUAL.match(media_type):
        return TextBlock(text=_inlined(name, body))
    return FileBlock(media_type=media_type, data=body, name=name or None)


def _missing(media_type: str) -> str:
    known = media_type not in ("", "unknown", OCTET_STREAM)
    kind = f" of type {media_type}" if known else ""
    return (
        f"[missing-attachment] A file{kind} was attached here, but it has expired."
        " Ask the user to upload it again if you need it."
    )


def _inlined(name: str, body: bytes) -> str:
    is_cut = len(body) > MAX_INLINE_BYTES
    text = text_of_file(body[:MAX_INLINE_BYTES], is_cut=is_cut)
    if _PASTED.match(name):
        head = (
            "[pasted-text] The user pasted this text into the message."
            f"\nSynthetic attachment name: {name}"
        )
    else:
        head = f"[attached-file] {name}"
    return f"{head}\n\n{text}{_CUT if is_cut else ''}"
