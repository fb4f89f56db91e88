"""Cleaning texts that people write for models."""

import re

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200d-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
_MANY_NEWLINES = re.compile(r"\n{3,}")


def sanitize_prompt(text: str) -> str:
    """Return `text` with LF line ends, no invisible characters, no trailing space, trimmed.

    Runs of three and more newlines become two. U+200C is kept, it shapes words in some scripts.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text)
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return _MANY_NEWLINES.sub("\n\n", text).strip()
