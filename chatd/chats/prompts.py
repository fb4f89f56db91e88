"""Texts that open a chat for the model: the built-in prompt, cleaning, the workspace note."""

import re

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200d-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
_TRAILING = re.compile(r"[^\S\n]+$", re.MULTILINE)
_MANY_NEWLINES = re.compile(r"\n{3,}")

DEFAULT_SYSTEM_PROMPT = """\
You are a careful assistant in a team's chat. Answer what was asked, in as few words as it takes, \
in Markdown. Say when you are not sure and what would settle it. Use the tools you are given \
before you guess, follow the instructions of this conversation exactly, and ask a question only \
when the request is ambiguous or the step cannot be undone. No flattery, no filler."""

WORKSPACE_DETACHED = """\
No workspace is attached to this chat. Do not create or start one unless you are asked to, or \
unless the task cannot be done without it."""


def sanitize_prompt(text: str) -> str:
    """Return `text` with LF line ends, no invisible characters, no trailing space, trimmed.

    Runs of three and more newlines become two. U+200C is kept, it shapes words in some scripts.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text)
    text = _TRAILING.sub("", text)
    return _MANY_NEWLINES.sub("\n\n", text).strip()


def opening_texts(system_prompt: str) -> list[str]:
    """Return the hidden system messages of a new chat, in order."""
    texts = [DEFAULT_SYSTEM_PROMPT, sanitize_prompt(system_prompt), WORKSPACE_DETACHED]
    return [text for text in texts if text]
