"""How models see the tools of servers: names that providers take, parameters, the intent."""

from typing import Any

import pytest

from chatd.tools.mcp.schemas import (
    MAX_NAME,
    parameters_of,
    tool_name,
    with_intent,
    without_intent,
)

EMPTY = {"type": "object", "properties": {}}


def test_a_name_that_providers_take_stays() -> None:
    assert tool_name("git-hub", "list_issues") == "git-hub__list_issues"
    longest = "t" * (MAX_NAME - len("s__"))
    assert tool_name("s", longest) == f"s__{longest}"


def test_a_name_that_providers_refuse_is_changed_and_stays_one_of_its_own() -> None:
    names = ["a.b", "a/b", "a b", "ä", "x" * 64, "x" * 65, "a_b"]
    made = {tool_name("s", name) for name in names}
    assert len(made) == len(names)
    for each in made:
        assert len(each) <= MAX_NAME
        assert each.replace("-", "").replace("_", "").isalnum()
        assert each.isascii()
    assert tool_name("s", "a.b") == tool_name("s", "a.b")
    assert tool_name("s", "a.b").startswith("s__a_b_")


@pytest.mark.parametrize("schema", [None, "text", [], {}, {"type": "object", "properties": 1}])
def test_a_schema_without_properties_takes_none(schema: Any) -> None:
    assert parameters_of(schema) == EMPTY


def test_of_a_schema_properties_and_what_is_required_reach_the_model() -> None:
    schema = {
        "type": "object",
        "title": "Arguments",
        "additionalProperties": False,
        "properties": {"a": {"type": "string"}, "$ref": {"type": "string"}},
        "required": ["a"],
    }
    assert parameters_of(schema) == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "$ref": {"type": "string"}},
        "required": ["a"],
    }
    assert parameters_of({"properties": {}, "required": []}) == EMPTY


def test_references_are_written_out() -> None:
    schema = {
        "properties": {
            "one": {"$ref": "#/$defs/Place", "description": "where"},
            "many": {"type": "array", "items": {"$ref": "#/definitions/a~1b"}},
            "lost": {"$ref": "#/$defs/Gone"},
            "far": {"$ref": "https://example.com/schema"},
        },
        "$defs": {"Place": {"type": "string", "description": "a place"}},
        "definitions": {"a/b": {"$ref": "#/$defs/Place"}},
    }
    assert parameters_of(schema)["properties"] == {
        "one": {"type": "string", "description": "where"},
        "many": {"type": "array", "items": {"type": "string", "description": "a place"}},
        "lost": {},
        "far": {},
    }


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"properties": {"next": {"$ref": "#/$defs/Node"}, "name": {"type": "string"}}}
    schema = {"properties": {"first": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    assert parameters_of(schema)["properties"] == {
        "first": {"properties": {"next": {}, "name": {"type": "string"}}}
    }


def test_a_schema_that_doubles_itself_is_bounded() -> None:
    doubling = {
        f"D{n}": {"properties": {side: {"$ref": f"#/$defs/D{n + 1}"} for side in "ab"}}
        for n in range(40)
    }
    schema = {"properties": {"x": {"$ref": "#/$defs/D0"}}, "$defs": doubling}
    assert len(str(parameters_of(schema))) < 200_000


def test_a_schema_that_is_nested_too_deeply_takes_no_parameters() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        deep = {"items": deep}
    assert parameters_of({"properties": {"x": deep}}) == EMPTY


def test_the_intent_is_asked_for_beside_the_arguments() -> None:
    wrapped = with_intent({"type": "object", "properties": {"a": {}}, "required": ["a"]})
    assert wrapped["required"] == ["model_intent", "properties"]
    assert wrapped["properties"]["properties"] == {
        "type": "object",
        "properties": {"a": {}},
        "required": ["a"],
    }
    assert wrapped["properties"]["model_intent"]["type"] == "string"


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ({"model_intent": "i", "properties": {"a": 1}}, {"a": 1}),
        ({"properties": {"a": 1}}, {"a": 1}),
        ({"model_intent": "i", "a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ({"model_intent": "i", "properties": {"a": 1}, "b": 2}, {"properties": {"a": 1}, "b": 2}),
        ({"model_intent": "i", "properties": "text"}, {"properties": "text"}),
        ({"model_intent": "i"}, {}),
        ({}, {}),
    ],
)
def test_wrapped_and_flat_arguments_are_taken(given: Any, passed_on: Any) -> None:
    assert without_intent(given) == passed_on
