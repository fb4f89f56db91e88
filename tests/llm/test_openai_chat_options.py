"""Provider options on the chat/completions wire: each one's field, and nothing when it is unset."""

import json
from typing import Any

import pytest

from chatd.llm.options import SECTIONS, Option
from chatd.llm.providers import Wire, find_kind
from chatd.llm.types import Provider, Request
from chatd.llm.wires.openai_chat.request import encode

PLAIN = {"model", "messages", "stream", "stream_options"}
BIAS = {"50256": -100}
EXTRA = {"mystery": {"a": [1, None]}}

# section, option (dotted below an object), value, the fields it becomes
SENT: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("openai", "logit_bias", BIAS, {"logit_bias": BIAS}),
    ("openai", "log_probs", True, {"logprobs": True}),
    ("openai", "top_log_probs", 3, {"top_logprobs": 3}),
    ("openai", "parallel_tool_calls", False, {"parallel_tool_calls": False}),
    ("openai", "user", " u ", {"user": "u"}),
    ("openai", "reasoning_effort", " XHigh ", {"reasoning_effort": "xhigh"}),
    ("openai", "max_completion_tokens", 9, {"max_completion_tokens": 9}),
    ("openai", "text_verbosity", "LOW", {"verbosity": "low"}),
    (
        "openai",
        "prediction",
        {"content": "x", "type": "y"},
        {"prediction": {"type": "content", "content": "x"}},
    ),
    ("openai", "store", False, {"store": False}),
    ("openai", "metadata", {"a": "b", "n": 1}, {"metadata": {"a": "b"}}),
    ("openai", "prompt_cache_key", " k ", {"prompt_cache_key": "k"}),
    ("openai", "safety_identifier", " s ", {"safety_identifier": "s"}),
    ("openai", "service_tier", "Scale", {"service_tier": "scale"}),
    ("openaicompat", "user", " u ", {"user": "u"}),
    ("openaicompat", "reasoning_effort", "Minimal", {"reasoning_effort": "minimal"}),
    ("openrouter", "reasoning.enabled", False, {"reasoning": {"enabled": False}}),
    ("openrouter", "reasoning.exclude", True, {"reasoning": {"exclude": True}}),
    ("openrouter", "reasoning.max_tokens", 5, {"reasoning": {"max_tokens": 5}}),
    ("openrouter", "reasoning.effort", "High", {"reasoning": {"effort": "high"}}),
    ("openrouter", "extra_body", EXTRA, EXTRA),
    ("openrouter", "include_usage", False, {"usage": {"include": False}}),
    ("openrouter", "logit_bias", BIAS, {"logit_bias": BIAS}),
    ("openrouter", "log_probs", True, {"logprobs": True}),
    ("openrouter", "parallel_tool_calls", True, {"parallel_tool_calls": True}),
    ("openrouter", "user", " u ", {"user": "u"}),
    ("openrouter", "provider.order", [" a ", ""], {"provider": {"order": ["a"]}}),
    ("openrouter", "provider.allow_fallbacks", False, {"provider": {"allow_fallbacks": False}}),
    ("openrouter", "provider.require_parameters", True, {"provider": {"require_parameters": True}}),
    ("openrouter", "provider.data_collection", " deny", {"provider": {"data_collection": "deny"}}),
    ("openrouter", "provider.only", ["a"], {"provider": {"only": ["a"]}}),
    ("openrouter", "provider.ignore", ["b"], {"provider": {"ignore": ["b"]}}),
    ("openrouter", "provider.quantizations", ["fp8"], {"provider": {"quantizations": ["fp8"]}}),
    ("openrouter", "provider.sort", "price", {"provider": {"sort": "price"}}),
    ("vercel", "reasoning.enabled", True, {"reasoning": {"enabled": True}}),
    ("vercel", "reasoning.exclude", False, {"reasoning": {"exclude": False}}),
    ("vercel", "reasoning.max_tokens", 5, {"reasoning": {"max_tokens": 5}}),
    ("vercel", "reasoning.effort", "None", {"reasoning": {"effort": "none"}}),
    (
        "vercel",
        "providerOptions.order",
        ["a"],
        {"providerOptions": {"gateway": {"order": ["a"]}}},
    ),
    (
        "vercel",
        "providerOptions.models",
        ["m"],
        {"providerOptions": {"gateway": {"models": ["m"]}}, "models": ["m"]},
    ),
    ("vercel", "user", " u ", {"user": "u"}),
    ("vercel", "logit_bias", BIAS, {"logit_bias": BIAS}),
    ("vercel", "logprobs", True, {"logprobs": True}),
    ("vercel", "top_logprobs", 2, {"top_logprobs": 2}),
    ("vercel", "parallel_tool_calls", True, {"parallel_tool_calls": True}),
    ("vercel", "extra_body", EXTRA, EXTRA),
]

NOT_SENT: list[tuple[str, str, Any]] = [
    ("openai", "include", ["reasoning.encrypted_content"]),
    ("openai", "instructions", "Be kind."),
    ("openai", "max_tool_calls", 3),
    ("openai", "reasoning_summary", "auto"),
    ("openai", "structured_outputs", True),
    ("openai", "strict_json_schema", True),
    ("openai", "web_search_enabled", True),
    ("openai", "search_context_size", "low"),
    ("openai", "allowed_domains", ["example.com"]),
]
"""What this wire has no field for."""

KINDS = {
    "openai": ["openai", "azure"],
    "openaicompat": ["openai-compat"],
    "openrouter": ["openrouter"],
    "vercel": ["vercel"],
}
ALWAYS = {
    "openai": {"store": True},
    "openaicompat": {},
    "openrouter": {"usage": {"include": True}},
    "vercel": {},
}
"""What an empty section sends."""


def fields(kind: str, options: Any, *, model: str = "m", **parameters: Any) -> dict[str, Any]:
    """Return the fields of a body beyond those that every body has."""
    request = Request(model=model, messages=(), provider_options=options, **parameters)
    body = json.loads(encode(request, Provider(kind=kind, base_url="http://x")))
    return {name: value for name, value in body.items() if name not in PLAIN}


def section_with(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def paths(options: tuple[Option, ...], above: str = "") -> set[str]:
    found: set[str] = set()
    for option in options:
        path = f"{above}{option.key}"
        found |= paths(option.members, f"{path}.") if option.members else {path}
    return found


@pytest.mark.parametrize(("section", "path", "value", "expected"), SENT)
def test_an_option_becomes_its_field(
    section: str, path: str, value: Any, expected: dict[str, Any]
) -> None:
    for kind in KINDS[section]:
        options = {section: section_with(path, value), "other": {"user": "not me"}}
        assert fields(kind, options) == {**ALWAYS[section], **expected}


@pytest.mark.parametrize(("section", "path", "value"), NOT_SENT)
def test_an_option_without_a_field_is_not_sent(section: str, path: str, value: Any) -> None:
    assert fields("openai", {section: section_with(path, value)}) == ALWAYS[section]


@pytest.mark.parametrize("section", KINDS)
def test_every_option_of_the_schema_is_sent_or_known_not_to_be(section: str) -> None:
    tried = [(each[0], each[1]) for each in SENT] + [(each[0], each[1]) for each in NOT_SENT]
    assert {path for of, path in tried if of == section} == paths(SECTIONS[section])
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize("section", KINDS)
def test_what_is_unset_is_absent(section: str) -> None:
    for kind in KINDS[section]:
        assert fields(kind, {section: {}}) == ALWAYS[section]
        unset = {"usage": {"include": True}} if kind == "openrouter" else {}
        assert fields(kind, {}) == unset


def test_every_kind_of_this_wire_has_its_section() -> None:
    known = {kind for kinds in KINDS.values() for kind in kinds}
    for name in known:
        kind = find_kind(name)
        assert kind is not None
        assert kind.wire is Wire.OPENAI_CHAT
        assert name in KINDS[kind.options_key]


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("openai", {"user": " ", "reasoning_effort": "none", "service_tier": "gold"}),
        ("openai", {"prompt_cache_key": "", "safety_identifier": "\t", "text_verbosity": "max"}),
        ("openai", {"metadata": {"n": 1}, "prediction": {"type": "x"}, "logit_bias": {}}),
        ("openaicompat", {"user": "", "reasoning_effort": "none"}),
        ("openrouter", {"reasoning": {"effort": "xhigh"}, "provider": {"order": [" "]}}),
        ("openrouter", {"provider": {"sort": " "}}),
        ("vercel", {"reasoning": {"effort": "most"}, "providerOptions": {"models": []}}),
    ],
)
def test_blank_and_unknown_values_count_as_unset(section: str, options: dict[str, Any]) -> None:
    assert fields(KINDS[section][0], {section: options}) == ALWAYS[section]


def test_a_kind_that_nobody_knows_gets_no_options() -> None:
    assert fields("mystery", {"openai": {"user": "u"}}) == {}


@pytest.mark.parametrize(
    ("tier", "model", "sent"),
    [
        ("flex", "gpt-4o", False),
        ("flex", "o3-mini", True),
        ("flex", "gpt-5", True),
        ("priority", "gpt-4o", True),
        ("priority", "o4-mini", True),
        ("priority", "llama", False),
        ("default", "llama", True),
    ],
)
def test_tiers_are_kept_from_models_that_do_not_have_them(
    tier: str, model: str, sent: bool
) -> None:
    found = fields("openai", {"openai": {"service_tier": tier}}, model=model)
    assert found.get("service_tier") == (tier if sent else None)


def test_a_reasoning_model_gets_no_bias() -> None:
    assert fields("openai", {"openai": {"logit_bias": BIAS}}, model="o3") == {"store": True}


@pytest.mark.parametrize("model", ["gpt-4o", "o3"])
def test_a_completion_limit_goes_before_the_general_one_and_stands_alone(model: str) -> None:
    options = {"openai": {"max_completion_tokens": 5}}
    found = fields("openai", options, model=model, max_output_tokens=9)
    assert found == {"max_completion_tokens": 5, "store": True}


def test_both_options_of_log_probabilities_are_sent_together() -> None:
    options = {"openai": {"log_probs": True, "top_log_probs": 2, "store": False}}
    assert fields("openai", options) == {"logprobs": True, "top_logprobs": 2, "store": False}


def test_the_extra_body_comes_last() -> None:
    options = {"openrouter": {"user": "u", "extra_body": {"user": "v", "temperature": 2}}}
    found = fields("openrouter", options, temperature=0.5)
    assert found == {"user": "v", "temperature": 2, "usage": {"include": True}}
