"""What OpenAI-compatible servers need to be told in another way (engine 10.6).

Belongs here: changes of a body that is otherwise whole. Does not belong here: provider options.
"""

from typing import Any
from urllib.parse import urlsplit

from chatd.llm.types import Provider

GOOGLE_HOST = "generativelanguage.googleapis.com"
SKIP_SIGNATURE = "skip_thought_signature_validator"
"""What Google takes in place of a signature for a call that none of its models made."""


def patch(body: dict[str, Any], provider: Provider) -> None:
    """Change a body for the server of a provider of kind openai-compat."""
    if provider.kind.strip().lower() != "openai-compat":
        return
    _require_the_only_tool(body)
    if is_google(provider):
        _sign_calls(body["messages"])


def is_google(provider: Provider) -> bool:
    """Tell whether a base URL is Google's endpoint for clients of OpenAI."""
    address = urlsplit(provider.base_url.strip())
    return address.hostname == GOOGLE_HOST and "/openai" in address.path


def signature_in(extra_content: Any) -> str | None:
    """Return the signature that came with a call, or None."""
    google = extra_content.get("google") if isinstance(extra_content, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) and found else None


def _require_the_only_tool(body: dict[str, Any]) -> None:
    """Many servers know no choice by name; with one tool, any call is a call of it."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if len(tools) != 1 or not isinstance(choice, dict):
        return
    if (choice.get("function") or {}).get("name") == tools[0]["function"]["name"]:
        body["tool_choice"] = "required"


def _sign_calls(messages: list[dict[str, Any]]) -> None:
    """Mark the first call of each answer behind the last question, unless it is signed."""
    for message in reversed(messages):
        if message["role"] == "user":
            return
        if calls := message.get("tool_calls"):
            extra = calls[0].setdefault("extra_content", {})
            extra.setdefault("google", {}).setdefault("thought_signature", SKIP_SIGNATURE)
