"""Options of a model on the Responses wire: which fields they become, and when.

Kinds openai and azure read the section `openai`. Options that this wire has no field for are not
sent: `logit_bias`, `prediction`, `max_completion_tokens`, `structured_outputs`.
"""

from typing import Any

from chatd.llm.types import Request
from chatd.llm.wires.option_values import (
    Section,
    choice,
    service_tier,
    text,
    texts,
    texts_by_name,
)
from chatd.llm.wires.responses.models import is_reasoning_model

ENCRYPTED_REASONING = "reasoning.encrypted_content"

_LOG_PROBS = "message.output_text.logprobs"
_INCLUDABLE = (ENCRYPTED_REASONING, "file_search_call.results", _LOG_PROBS)
_MOST_LOG_PROBS = 20
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
_SUMMARIES = ("auto", "concise", "detailed")
_SIZES = ("low", "medium", "high")
_TIERS = ("auto", "flex", "priority")


def section_of(request: Request) -> Section | None:
    """Return the options of this wire; None when a model has none at all."""
    return request.provider_options.get("openai")


def is_stored(request: Request) -> bool:
    """Tell whether the provider keeps the answer, so that later requests may refer to it."""
    section = section_of(request)
    return section is not None and section.get("store", True)


def option_fields(request: Request) -> dict[str, Any]:
    """Return the fields of the body that the options of a request add."""
    section = section_of(request)
    if section is None:
        return {"store": False}
    top_log_probs = _top_log_probs(section, request.model)
    fields = {
        "store": is_stored(request),
        "include": _include(section, has_log_probs=top_log_probs is not None),
        "instructions": text(section, "instructions"),
        "top_logprobs": top_log_probs,
        "max_tool_calls": section.get("max_tool_calls"),
        "parallel_tool_calls": section.get("parallel_tool_calls"),
        "user": text(section, "user"),
        "reasoning": _reasoning(section, request.model),
        "metadata": texts_by_name(section.get("metadata")),
        "prompt_cache_key": text(section, "prompt_cache_key"),
        "safety_identifier": text(section, "safety_identifier"),
        "service_tier": service_tier(section, request.model, _TIERS),
    }
    return {name: value for name, value in fields.items() if value is not None}


def verbosity(request: Request) -> str | None:
    return choice(section_of(request) or {}, "text_verbosity", _SIZES)


def is_strict(request: Request) -> bool:
    """Tell whether the schemas of tools bind the model."""
    return bool((section_of(request) or {}).get("strict_json_schema"))


def web_search(request: Request) -> dict[str, Any] | None:
    """Return the search that the provider itself carries out, if it is enabled."""
    section = section_of(request) or {}
    if not section.get("web_search_enabled"):
        return None
    domains = texts(section.get("allowed_domains"))
    tool = {
        "type": "web_search",
        "search_context_size": choice(section, "search_context_size", _SIZES),
        "filters": {"allowed_domains": domains} if domains else None,
    }
    return {name: value for name, value in tool.items() if value is not None}


def _include(section: Section, *, has_log_probs: bool) -> list[str]:
    wanted = [*texts(section.get("include")), ENCRYPTED_REASONING]
    if has_log_probs:
        wanted.append(_LOG_PROBS)
    return [each for each in dict.fromkeys(wanted) if each in _INCLUDABLE]


def _top_log_probs(section: Section, model: str) -> int | None:
    """Return how many alternatives of each token to tell; reasoning models tell none."""
    if is_reasoning_model(model):
        return None
    number: int | None = section.get("top_log_probs")
    if number is not None:
        return number
    return _MOST_LOG_PROBS if section.get("log_probs") else None


def _reasoning(section: Section, model: str) -> dict[str, str] | None:
    if not is_reasoning_model(model):
        return None
    wanted = {
        "effort": choice(section, "reasoning_effort", _EFFORTS),
        "summary": choice(section, "reasoning_summary", _SUMMARIES),
    }
    return {name: value for name, value in wanted.items() if value} or None
