"""Texts that open a chat for the model: the deployment's prompt and the workspace note."""

from chatd.core.prompts import sanitize_prompt
from chatd.preferences.registry import INCLUDE_DEFAULT_PROMPT, SYSTEM_PROMPT
from chatd.preferences.selectors import includes_default_prompt, site_values

DEFAULT_SYSTEM_PROMPT = """\
You are a careful assistant in a team's chat. Answer what was asked, in as few words as it takes, \
in Markdown. Say when you are not sure and what would settle it. Use the tools you are given \
before you guess, follow the instructions of this conversation exactly, and ask a question only \
when the request is ambiguous or the step cannot be undone. No flattery, no filler."""

WORKSPACE_DETACHED = """\
No workspace is attached to this chat. Do not create or start one unless you are asked to, or \
unless the task cannot be done without it."""


def opening_texts(system_prompt: str) -> list[str]:
    """Return the hidden system messages of a new chat, in order."""
    texts = [deployment_prompt(), sanitize_prompt(system_prompt), WORKSPACE_DETACHED]
    return [text for text in texts if text]


def deployment_prompt() -> str:
    """Return the built-in prompt, if that is included, and the deployment's own; or nothing."""
    values = site_values(SYSTEM_PROMPT, INCLUDE_DEFAULT_PROMPT)
    built_in = DEFAULT_SYSTEM_PROMPT if includes_default_prompt(values) else ""
    return "\n\n".join(text for text in (built_in, values[SYSTEM_PROMPT]) if text)
