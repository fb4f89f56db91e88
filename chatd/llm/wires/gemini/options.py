"""Options of a model on the Gemini wire: which fields they become (engine 10.5)."""

from collections.abc import Mapping
from typing import Any

from chatd.llm.options import HARM_CATEGORIES, HARM_THRESHOLDS
from chatd.llm.types import Request
from chatd.llm.wires.gemini.signatures import SECTION

LEAST_THINKING_TOKENS = 128

Section = Mapping[str, Any]


def section_of(request: Request) -> Section:
    """Return the options of a request that are for this wire."""
    found = request.provider_options.get(SECTION)
    return found if isinstance(found, Mapping) else {}


def thinking_config(section: Section) -> dict[str, Any] | None:
    """Return the configuration of thinking; budgets below the least one are raised to it."""
    given = section.get("thinking_config") or {}
    budget = given.get("thinking_budget")
    wanted = {
        "thinkingBudget": None if budget is None else max(budget, LEAST_THINKING_TOKENS),
        "includeThoughts": given.get("include_thoughts"),
    }
    return {name: value for name, value in wanted.items() if value is not None} or None


def option_fields(section: Section) -> dict[str, Any]:
    """Return the fields of the body that the options of a section become."""
    fields = {
        "cachedContent": cached_content(section),
        "safetySettings": _safety_settings(section.get("safety_settings")),
    }
    return {name: value for name, value in fields.items() if value}


def cached_content(section: Section) -> str | None:
    """Return the name of the cache that the request goes on from."""
    return (section.get("cached_content") or "").strip() or None


def searches_the_web(section: Section) -> bool:
    return section.get("web_search_enabled") is True


def _safety_settings(given: Any) -> list[dict[str, str]]:
    """Return those settings of which both the category and the threshold are known."""
    found = []
    for each in given or ():
        category = (each.get("category") or "").strip().upper()
        threshold = (each.get("threshold") or "").strip().upper()
        if category in HARM_CATEGORIES and threshold in HARM_THRESHOLDS:
            found.append({"category": category, "threshold": threshold})
    return found
