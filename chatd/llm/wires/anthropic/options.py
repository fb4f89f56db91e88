"""Options of a model on the Anthropic Messages wire: which fields they become (engine 10.5).

Both Anthropic and Bedrock read the section `anthropic`. Texts are trimmed, blank is unset, and of
an enumeration only known values are sent, whatever their case.
"""

from collections.abc import Mapping
from typing import Any

from chatd.llm.errors import ErrorKind, error_of
from chatd.llm.types import Provider, Request

Section = Mapping[str, Any]

EFFORTS = ("low", "medium", "high", "xhigh", "max")
WEB_SEARCH = "web_search"

NO_BUDGET = "The thinking budget of the model has to be more than 0 tokens."


def section_of(request: Request) -> Section:
    """Return the options of this wire; empty when there are none."""
    return request.provider_options.get("anthropic") or {}


def sends_reasoning(section: Section) -> bool:
    """Tell whether earlier reasoning goes back to the model."""
    return section.get("send_reasoning") is not False


def thinking_fields(section: Section, provider: Provider) -> dict[str, Any]:
    """Return how the model is to think; an effort goes before a budget.

    Raises: LLMError for a budget of nothing.
    """
    effort = (section.get("effort") or "").strip().lower()
    if effort in EFFORTS:
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
    budget = (section.get("thinking") or {}).get("budget_tokens")
    if budget is None:
        return {}
    if budget <= 0:
        raise error_of(ErrorKind.CONFIG, provider, detail=NO_BUDGET)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def tool_choice(section: Section) -> dict[str, Any] | None:
    """Return the choice that says whether tools may be called side by side; None if unset."""
    disabled = section.get("disable_parallel_tool_use")
    if disabled is None:
        return None
    return {"type": "auto", "disable_parallel_tool_use": disabled}


def web_search_tool(section: Section) -> dict[str, Any] | None:
    """Return the vendor's own search, if it is switched on.

    Allowed and blocked domains are refused together; the allowed ones say more.
    """
    if not section.get("web_search_enabled"):
        return None
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": WEB_SEARCH}
    for key in ("allowed_domains", "blocked_domains"):
        domains = [name.strip() for name in section.get(key) or () if name.strip()]
        if domains:
            return tool | {key: domains}
    return tool
