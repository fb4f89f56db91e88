"""Provider options on the Responses wire: each one's field, and nothing when it is unset."""

import json
from typing import Any

import pytest

from chatd.llm.options import SECTIONS
from chatd.llm.types import Provider, Request, ToolSpec
from chatd.llm.wires.responses.request import encode

OPENAI = Provider(kind="openai", base_url="http://x")
TOOL = ToolSpec(name="find", description="Finds", parameters={"type": "object"})
ENCRYPTED = "reasoning.encrypted_content"
PLAIN = {"model", "input", "stream", "store", "include"}

# option, value, the fields it becomes, the model
SENT: list[tuple[str, Any, dict[str, Any], str]] = [
    (
        "include",
        [" file_search_call.results", "everything", ENCRYPTED],
        {"include": ["file_search_call.results", ENCRYPTED]},
        "gpt-5",
    ),
    ("instructions", " Be kind ", {"instructions": "Be kind"}, "gpt-5"),
    ("top_log_probs", 3, {"top_logprobs": 3}, "gpt-4o"),
    ("log_probs", True, {"top_logprobs": 20}, "gpt-4o"),
    ("max_tool_calls", 4, {"max_tool_calls": 4}, "gpt-5"),
    ("parallel_tool_calls", False, {"parallel_tool_calls": False}, "gpt-5"),
    ("user", " u ", {"user": "u"}, "gpt-5"),
    ("reasoning_effort", " XHigh ", {"reasoning": {"effort": "xhigh"}}, "gpt-5"),
    ("reasoning_summary", "Detailed", {"reasoning": {"summary": "detailed"}}, "o4-mini"),
    ("text_verbosity", "LOW", {"text": {"verbosity": "low"}}, "gpt-5"),
    ("store", False, {"store": False}, "gpt-5"),
    ("store", True, {"store": True}, "gpt-5"),
    ("metadata", {"a": "b", "n": 1}, {"metadata": {"a": "b"}}, "gpt-5"),
    ("prompt_cache_key", " k ", {"prompt_cache_key": "k"}, "gpt-5"),
    ("safety_identifier", " s ", {"safety_identifier": "s"}, "gpt-5"),
    ("service_tier", "Flex", {"service_tier": "flex"}, "o3"),
    ("service_tier", "auto", {"service_tier": "auto"}, "gpt-4o"),
    ("service_tier", "priority", {"service_tier": "priority"}, "gpt-4o"),
    ("web_search_enabled", True, {"tools": [{"type": "web_search"}]}, "gpt-5"),
]

NOT_SENT: list[tuple[str, Any, str]] = [
    ("logit_bias", {"1": 2}, "gpt-4o"),
    ("log_probs", True, "gpt-5"),
    ("log_probs", False, "gpt-4o"),
    ("reasoning_effort", "none", "gpt-5"),
    ("reasoning_effort", "enormous", "gpt-5"),
    ("reasoning_effort", "high", "gpt-4o"),
    ("reasoning_summary", "poem", "gpt-5"),
    ("max_completion_tokens", 9, "gpt-5"),
    ("text_verbosity", "loud", "gpt-5"),
    ("prediction", {"content": "x"}, "gpt-4o"),
    ("metadata", {"n": 1}, "gpt-5"),
    ("service_tier", "scale", "gpt-5"),
    ("service_tier", "default", "gpt-5"),
    ("service_tier", "flex", "gpt-4o"),
    ("structured_outputs", True, "gpt-5"),
    ("strict_json_schema", True, "gpt-5"),
    ("web_search_enabled", False, "gpt-5"),
    ("search_context_size", "low", "gpt-5"),
    ("allowed_domains", ["a.org"], "gpt-5"),
    ("user", "  ", "gpt-5"),
    ("instructions", " ", "gpt-5"),
]


def body_of(section: dict[str, Any] | None, model: str = "gpt-5", **fields: Any) -> dict[str, Any]:
    options = {} if section is None else {"openai": section}
    request = Request(model=model, messages=(), provider_options=options, **fields)
    found: dict[str, Any] = json.loads(encode(request, OPENAI))
    return found


@pytest.mark.parametrize(("option", "value", "fields", "model"), SENT)
def test_each_option_becomes_its_field_and_no_other(option, value, fields, model):
    body = body_of({option: value}, model)
    assert body.items() >= fields.items()
    assert set(body) - PLAIN - set(fields) == set()


@pytest.mark.parametrize(("option", "value", "model"), NOT_SENT)
def test_what_the_wire_has_no_field_or_value_for_is_not_sent(option, value, model):
    assert set(body_of({option: value}, model)) == PLAIN


def test_every_option_of_the_section_is_known_to_these_tests():
    known = {row[0] for row in SENT} | {row[0] for row in NOT_SENT}
    assert known == {option.key for option in SECTIONS["openai"]}


def test_without_options_nothing_is_kept_at_the_provider():
    body = body_of(None)
    assert body["store"] is False
    assert set(body) == PLAIN - {"include"}


def test_with_any_options_answers_are_kept_and_reasoning_comes_encrypted():
    body = body_of({})
    assert (body["store"], body["include"]) == (True, [ENCRYPTED])


def test_log_probabilities_are_asked_for_where_they_are_told():
    assert body_of({"log_probs": True}, "gpt-4o")["include"] == [
        ENCRYPTED,
        "message.output_text.logprobs",
    ]


@pytest.mark.parametrize(("option", "strict"), [(None, False), (False, False), (True, True)])
def test_schemas_of_tools_bind_only_when_they_are_meant_to(option, strict):
    [tool] = body_of({"strict_json_schema": option}, tools=(TOOL,))["tools"]
    assert tool["strict"] is strict


def test_a_search_stands_behind_the_tools_with_what_limits_it():
    section = {
        "web_search_enabled": True,
        "search_context_size": "Low",
        "allowed_domains": [" a.org ", "", "b.org"],
    }
    tools = body_of(section, tools=(TOOL,))["tools"]
    assert [tool["type"] for tool in tools] == ["function", "web_search"]
    assert tools[1] == {
        "type": "web_search",
        "search_context_size": "low",
        "filters": {"allowed_domains": ["a.org", "b.org"]},
    }


def test_options_of_other_families_are_not_read():
    request = Request(model="gpt-5", messages=(), provider_options={"vercel": {"user": "u"}})
    assert "user" not in json.loads(encode(request, OPENAI))
