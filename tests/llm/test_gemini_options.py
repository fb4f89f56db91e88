"""Parameters and options on the Gemini wire: each one's field, and nothing when it is unset."""

import json
from typing import Any

import pytest

from chatd.llm.options import HARM_CATEGORIES, HARM_THRESHOLDS, SECTIONS, Option
from chatd.llm.types import (
    OutputSchema,
    Provider,
    Request,
    SystemMessage,
    TextBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.gemini.request import encode

FIND = ToolSpec(
    name="find",
    description="Finds.",
    parameters={"type": "object", "properties": {"q": {"type": "string"}}},
)
SEARCH = {"web_search_enabled": True}
OUTPUT = OutputSchema(name="t", schema={"type": "object", "properties": {"t": {"type": "string"}}})

# option, value, the fields it becomes
SENT: list[tuple[str, Any, dict[str, Any]]] = [
    (
        "thinking_config.thinking_budget",
        2000,
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 2000}}},
    ),
    (
        "thinking_config.include_thoughts",
        False,
        {"generationConfig": {"thinkingConfig": {"includeThoughts": False}}},
    ),
    ("cached_content", " cachedContents/x ", {"cachedContent": "cachedContents/x"}),
    (
        "safety_settings",
        [{"category": " harm_category_harassment", "threshold": "block_only_high"}],
        {
            "safetySettings": [
                {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
            ]
        },
    ),
    ("web_search_enabled", True, {"tools": [{"googleSearch": {}}]}),
]
NOT_SENT: list[tuple[str, Any]] = [("threshold", "BLOCK_NONE")]


def fields(
    section: Any, *messages: Any, model: str = "gemini-2.5-flash", **parameters: Any
) -> dict[str, Any]:
    """Return the fields of a body beside the conversation."""
    options = {} if section is None else {"google": section, "openai": {"user": "not me"}}
    request = Request(
        model=model,
        messages=(*messages, UserMessage(blocks=(TextBlock(text="Hi"),))),
        provider_options=options,
        **parameters,
    )
    body = json.loads(encode(request, Provider(kind="google", base_url="http://x")))
    del body["contents"]
    return body


def section_with(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def paths(options: tuple[Option, ...], above: str = "") -> set[str]:
    found: set[str] = set()
    for option in options:
        inner = option.members if option.type == "object" else ()
        found |= paths(inner, f"{above}{option.key}.") if inner else {f"{above}{option.key}"}
    return found


@pytest.mark.parametrize(("path", "value", "expected"), SENT)
def test_an_option_becomes_its_field(path: str, value: Any, expected: dict[str, Any]) -> None:
    assert fields(section_with(path, value)) == expected


@pytest.mark.parametrize(("path", "value"), NOT_SENT)
def test_an_option_without_a_field_is_not_sent(path: str, value: Any) -> None:
    assert fields(section_with(path, value)) == {}


def test_every_option_of_the_schema_is_sent_or_known_not_to_be() -> None:
    tried = [each[0] for each in SENT] + [each[0] for each in NOT_SENT]
    assert sorted(tried) == sorted(paths(SECTIONS["google"]))


@pytest.mark.parametrize(
    "section",
    [
        None,
        {},
        {"thinking_config": {}, "cached_content": " ", "safety_settings": []},
        {"web_search_enabled": False},
        {"safety_settings": [{"category": "HARM_CATEGORY_NEW", "threshold": "BLOCK_NONE"}]},
        {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "NEW"}]},
        {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT"}, {}]},
    ],
)
def test_blank_and_unknown_values_count_as_unset(section: Any) -> None:
    assert fields(section) == {}


@pytest.mark.parametrize(
    ("asked", "sent"), [(-1, 128), (0, 128), (127, 128), (128, 128), (129, 129)]
)
def test_a_budget_is_raised_to_the_least_one(asked: int, sent: int) -> None:
    found = fields({"thinking_config": {"thinking_budget": asked}})
    assert found["generationConfig"]["thinkingConfig"] == {"thinkingBudget": sent}


def test_every_known_category_and_threshold_is_sent() -> None:
    for category in HARM_CATEGORIES:
        for threshold in HARM_THRESHOLDS:
            setting = {"category": category, "threshold": threshold}
            assert fields({"safety_settings": [setting]}) == {"safetySettings": [setting]}


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("max_output_tokens", 9, "maxOutputTokens"),
        ("temperature", 0.0, "temperature"),
        ("top_p", 0.5, "topP"),
        ("top_k", 3, "topK"),
        ("presence_penalty", 0.1, "presencePenalty"),
        ("frequency_penalty", -0.1, "frequencyPenalty"),
    ],
)
def test_a_parameter_is_a_field_of_the_configuration(name: str, value: Any, field: str) -> None:
    assert fields(None, **{name: value}) == {"generationConfig": {field: value}}
    assert fields(None, **{name: None}) == {}


def test_structured_output_is_json_of_a_clean_schema() -> None:
    assert fields(None, output=OUTPUT)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"t": {"type": "STRING"}}},
    }


def test_search_is_left_out_where_google_refuses_it() -> None:
    """Beside a schema of the answer, and before Gemini 3 beside functions."""
    assert "tools" not in fields(SEARCH, output=OUTPUT)
    older = fields(SEARCH, tools=(FIND,))
    assert [list(tool) for tool in older["tools"]] == [["functionDeclarations"]]
    assert "toolConfig" not in older


def test_gemini_3_searches_beside_functions() -> None:
    found = fields(SEARCH, model="gemini-3-pro-preview", tools=(FIND,))
    assert [list(tool) for tool in found["tools"]] == [["functionDeclarations"], ["googleSearch"]]
    assert found["toolConfig"] == {"includeServerSideToolInvocations": True}
    alone = fields(SEARCH, model="gemini-3-pro-preview")
    assert alone == {"tools": [{"googleSearch": {}}]}


def test_a_cache_stands_for_instruction_and_tools() -> None:
    system = SystemMessage(text="Be kind.")
    section = {"cached_content": "cachedContents/x", **SEARCH}
    assert fields(section, system, tools=(FIND,)) == {"cachedContent": "cachedContents/x"}
