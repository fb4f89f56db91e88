"""Options of a model on the OpenAI chat/completions wire: which fields they become, and when.

Each kind of provider reads its own section of the provider options. Texts are trimmed, blank is
unset, and of an enumeration only known values are sent, whatever their case. Options that this
wire has no field for are not sent: those of the Responses API, web search and strict schemas.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from chatd.llm import providers
from chatd.llm.types import Request
from chatd.llm.wires.option_values import Section, choice, service_tier, text, texts_by_name

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
_SIZES = ("low", "medium", "high")
_TIERS = ("auto", "default", "flex", "scale", "priority")

_REASONING_STARTS = ("o1", "o3", "o4", "oss")
_REASONING_PARTS = ("-o1", "-o3", "-o4", "-oss", "gpt-5")


def is_reasoning_model(model: str) -> bool:
    """Tell whether the model takes `max_completion_tokens` and no sampling parameters."""
    return model.startswith(_REASONING_STARTS) or any(part in model for part in _REASONING_PARTS)


def option_fields(request: Request, kind_name: str) -> dict[str, Any]:
    """Return the fields of the body that the provider options of a request add or replace."""
    kind = providers.find_kind(kind_name)
    write = _WRITERS.get(kind.name) if kind else None
    if kind is None or write is None:
        return {}
    section = request.provider_options.get(kind.options_key)
    fields = write(section, request.model)
    extra = (section or {}).get("extra_body") or {}
    return {name: value for name, value in fields.items() if value is not None} | extra


def _openai(section: Section | None, model: str) -> dict[str, Any]:
    if section is None:
        return {}
    fields = {
        **_shared(section),
        "logprobs": section.get("log_probs"),
        "top_logprobs": section.get("top_log_probs"),
        "reasoning_effort": choice(section, "reasoning_effort", _EFFORTS),
        "max_completion_tokens": section.get("max_completion_tokens"),
        "verbosity": choice(section, "text_verbosity", _SIZES),
        "prediction": _prediction(section.get("prediction")),
        "store": section.get("store", True),
        "metadata": texts_by_name(section.get("metadata")),
        "prompt_cache_key": text(section, "prompt_cache_key"),
        "safety_identifier": text(section, "safety_identifier"),
        "service_tier": service_tier(section, model, _TIERS),
    }
    if is_reasoning_model(model):
        del fields["logit_bias"]
    return fields


def _openai_compat(section: Section | None, model: str) -> dict[str, Any]:
    if section is None:
        return {}
    return {
        "user": text(section, "user"),
        "reasoning_effort": choice(section, "reasoning_effort", _EFFORTS),
    }


def _openrouter(section: Section | None, model: str) -> dict[str, Any]:
    section = section or {}
    return {
        **_shared(section),
        "logprobs": section.get("log_probs"),
        "reasoning": _reasoning(section, _SIZES),
        "provider": _routing(section.get("provider")),
        "usage": {"include": section.get("include_usage", True)},
    }


def _vercel(section: Section | None, model: str) -> dict[str, Any]:
    if section is None:
        return {}
    gateway = _routing(section.get("providerOptions"))
    return {
        **_shared(section),
        "logprobs": section.get("logprobs"),
        "top_logprobs": section.get("top_logprobs"),
        "reasoning": _reasoning(section, ("none", *_EFFORTS)),
        "providerOptions": {"gateway": gateway} if gateway else None,
        "models": gateway.get("models") if gateway else None,
    }


_WRITERS: Mapping[str, Callable[[Section | None, str], dict[str, Any]]] = {
    "openai": _openai,
    "azure": _openai,
    "openai-compat": _openai_compat,
    "openrouter": _openrouter,
    "vercel": _vercel,
}


def _shared(section: Section) -> dict[str, Any]:
    return {
        "logit_bias": section.get("logit_bias") or None,
        "parallel_tool_calls": section.get("parallel_tool_calls"),
        "user": text(section, "user"),
    }


def _prediction(given: Section | None) -> dict[str, Any] | None:
    content = (given or {}).get("content")
    return {"type": "content", "content": content} if content else None


def _reasoning(section: Section, efforts: Collection[str]) -> dict[str, Any] | None:
    given = section.get("reasoning") or {}
    wanted = {
        "enabled": given.get("enabled"),
        "exclude": given.get("exclude"),
        "max_tokens": given.get("max_tokens"),
        "effort": choice(given, "effort", efforts),
    }
    return {key: value for key, value in wanted.items() if value is not None} or None


def _routing(given: Section | None) -> dict[str, Any] | None:
    """Return preferences of a gateway under their own names, texts trimmed, blank ones left out."""
    trimmed = {key: _trimmed(value) for key, value in (given or {}).items()}
    return {key: value for key, value in trimmed.items() if value not in ("", [], None)} or None


def _trimmed(value: Any) -> Any:
    if isinstance(value, list):
        return [item.strip() for item in value if item.strip()]
    return value.strip() if isinstance(value, str) else value
