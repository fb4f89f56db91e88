"""What an uploaded file is, by its content; which types are taken; clean file names.

The declared type and the extension refine a guess, they never make one: an SVG or an executable is
refused whatever it calls itself.
"""

import codecs
import csv
import json
import re
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value
from io import StringIO
from typing import Any

from chatd.core.errors import ChatdError, ErrorCode, bad_request

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_NAME_BYTES = 255

OCTET_STREAM = "application/octet-stream"

ALLOWED_TYPES = (
    "application/json",
    "application/pdf",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/csv",
    "text/markdown",
    "text/plain",
)

_PLAIN_REFINEMENTS = frozenset({"text/markdown", "text/csv", "application/json"})
_SNIFF_BYTES = 4096

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)

# What may stand before a root element; each form is scanned once, however long it is.
_XML_PROLOGUE = re.compile(
    r"\ufeff?(?:\s++|<\?.*?\?>|<!--.*?-->"
    r"|<!DOCTYPE(?!\s+(?:[\w.-]+:)?svg\b)[^>\[]*+(?:\[.*?\]\s*+)?>)*+",
    re.DOTALL | re.IGNORECASE,
)
_SVG_ROOT = re.compile(r"<(?:!DOCTYPE\s+)?(?:[\w.-]+:)?svg(?:[\s/>\[]|$)", re.IGNORECASE)
_XML_ROOT = re.compile(r"^\ufeff?\s*<\?xml", re.IGNORECASE)


def declared_type(content_type: str) -> str:
    """Return the media type of a Content-Type header. Raises ChatdError 400 for one not taken."""
    declared = content_type.partition(";")[0].strip().lower() or OCTET_STREAM
    if declared != OCTET_STREAM and declared not in ALLOWED_TYPES:
        raise _unsupported()
    return declared


def too_large() -> ChatdError:
    return ChatdError(
        ErrorCode.TOO_LARGE,
        "File too large.",
        detail=f"Maximum file size is {MAX_FILE_BYTES} bytes.",
    )


def file_name(disposition: str) -> str:
    """Return the clean name of a Content-Disposition header. Raises ChatdError 400 without one."""
    name = clean_name(_given_name(disposition))
    if not name:
        raise bad_request(
            "Filename is required.", detail="Provide a filename in the Content-Disposition header."
        )
    return name


def _given_name(disposition: str) -> str:
    """Return the name of a header; of two forms the extended one (RFC 5987), as it is exact."""
    message = Message()
    try:
        message["Content-Disposition"] = disposition
        given: list[tuple[str, Any]] = message.get_params([], "content-disposition") or []
        values = [value for key, value in given if key.lower() == "filename"]
        extended = [value for value in values if isinstance(value, tuple)]
        return collapse_rfc2231_value((extended or values or [""])[0])
    except (ValueError, TypeError):  # the parser of the library stumbles over a broken header
        return ""


def clean_name(raw: str) -> str:
    """Return a name without control characters and folders, trimmed, at most 255 bytes."""
    kept = "".join(c for c in raw if unicodedata.category(c) not in ("Cc", "Cs"))
    name = re.split(r"[/\\]", kept)[-1].strip()
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def checked_type(declared: str, name: str, body: bytes) -> str:
    """Return the type a file is stored with. Raises ChatdError 400."""
    detected = detect_type(name, body)
    if detected == "text/plain" and declared == "text/csv" and _is_table(body):
        detected = declared
    if detected not in ALLOWED_TYPES:
        raise _unsupported()
    refined = declared == "text/plain" and detected in _PLAIN_REFINEMENTS
    if declared not in (detected, OCTET_STREAM) and not refined:
        raise bad_request(
            "File content type does not match Content-Type header.",
            detail=f'Header declared "{declared}" but file content was detected as "{detected}".',
        )
    return detected


def detect_type(name: str, body: bytes) -> str:
    """Return the media type of `body`; text is refined by the extension of `name`."""
    for signature, media_type in _SIGNATURES:
        if body.startswith(signature):
            return media_type
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    text = _as_text(body)
    if text is None:
        return OCTET_STREAM
    if _is_svg(text):
        return "image/svg+xml"
    if _XML_ROOT.match(text):
        return "text/xml"
    return _refined(name, text)


def _as_text(body: bytes) -> str | None:
    """Return the text of UTF-8 (or UTF-16 with a mark), or None for binary data."""
    try:
        text = body.decode(_encoding(body))
    except UnicodeDecodeError:
        return None
    allowed = "\t\n\r\x0c\x1b\x08"
    binary = any(c < " " and c not in allowed for c in text[:_SNIFF_BYTES])
    return None if binary else text


def _encoding(body: bytes) -> str:
    return "utf-16" if body[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"


def text_of_file(body: bytes, *, is_cut: bool = False) -> str:
    """Return the text of a file that was taken as text; of a cut one without a broken last letter.

    Bytes that are no text are replaced.
    """
    decoder = codecs.getincrementaldecoder(_encoding(body))("replace")
    return decoder.decode(body, final=not is_cut)


def _is_svg(text: str) -> bool:
    prologue = _XML_PROLOGUE.match(text)
    return bool(_SVG_ROOT.match(text, prologue.end() if prologue else 0))


def _refined(name: str, text: str) -> str:
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if extension in ("md", "markdown"):
        return "text/markdown"
    if extension == "csv":
        return "text/csv"
    # By content only what can be nothing else: many a note is one number, or a text in quotes.
    if (extension == "json" or text.lstrip()[:1] in ("{", "[")) and _is_json(text):
        return "application/json"
    return "text/plain"


def _is_table(body: bytes) -> bool:
    """True for lines of values with commas between them, as many in each of at least two lines."""
    try:
        rows = list(
            csv.reader(StringIO(text_of_file(body[:_SNIFF_BYTES]), newline=""), strict=True)
        )
    except csv.Error:
        return False
    whole = rows if len(body) <= _SNIFF_BYTES else rows[:-1]
    return len(whole) > 1 and len({len(row) for row in whole}) == 1 and len(whole[0]) > 1


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    """JSON knows no NaN and no infinity, though Python reads them."""
    raise ValueError(name)


def _unsupported() -> ChatdError:
    return bad_request(
        "Unsupported file type.", detail=f"Allowed types: {', '.join(ALLOWED_TYPES)}"
    )
