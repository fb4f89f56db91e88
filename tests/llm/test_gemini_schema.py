"""JSON schemas as Google takes them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.chattest.google_rules import Rules
from chatd.llm.wires.gemini.schema import MAX_NODES, cleaned, parameters_of

TEXT = {"type": "STRING"}


@pytest.mark.parametrize(
    ("given_schema", "expected"),
    [
        ({"type": "string"}, TEXT),
        ({"type": "STRING"}, TEXT),
        ({"type": "string", "description": "d"}, {**TEXT, "description": "d"}),
        ({"$schema": "x", "$id": "y", "type": "boolean", "title": "t"}, {"type": "BOOLEAN"}),
        ({"type": ["string", "null"]}, {**TEXT, "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [TEXT, {"type": "INTEGER"}]}),
        ({"const": "a"}, {**TEXT, "enum": ["a"]}),
        ({"const": 1}, {"type": "INTEGER", "description": "One of: 1"}),
        ({"enum": ["a", "", None, "a"]}, {**TEXT, "enum": ["a"], "nullable": True}),
        (
            {"type": "integer", "enum": [1, 2], "description": "Size."},
            {"type": "INTEGER", "description": "Size. One of: 1, 2"},
        ),
        (
            {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9, "multipleOf": 2},
            {"type": "INTEGER", "minimum": 1, "maximum": 8},
        ),
        ({"type": "number", "exclusiveMinimum": 0.5}, {"type": "NUMBER", "minimum": 0.5}),
        (
            {"type": "number", "minimum": 1, "format": "float"},
            {"type": "NUMBER", "minimum": 1, "format": "float"},
        ),
        ({"type": "string", "format": "uri", "pattern": "^a"}, {**TEXT, "pattern": "^a"}),
        ({"type": "string", "format": "date-time"}, {**TEXT, "format": "date-time"}),
        ({"type": "string", "minLength": 1, "maxLength": -1}, {**TEXT, "minLength": 1}),
        ({"type": "array"}, {"type": "ARRAY", "items": TEXT}),
        ({"type": "array", "items": True, "uniqueItems": True}, {"type": "ARRAY", "items": TEXT}),
        (
            {"prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2},
            {"type": "ARRAY", "items": {"anyOf": [TEXT, {"type": "NUMBER"}]}, "minItems": 2},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d", "default": None},
            {**TEXT, "description": "d", "nullable": True},
        ),
        (
            {
                "oneOf": [{"type": "string"}, {"type": "integer"}, {"const": None}],
                "description": "d",
            },
            {
                "anyOf": [
                    {**TEXT, "description": "d", "nullable": True},
                    {"type": "INTEGER", "description": "d", "nullable": True},
                ]
            },
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a", "gone"],
                "additionalProperties": False,
                "patternProperties": {"x": {}},
                "propertyNames": {},
            },
            {"type": "OBJECT", "properties": {"a": TEXT}, "required": ["a"]},
        ),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"type": "OBJECT"}),
        ({"type": "object", "properties": {}, "required": ["a"]}, {"type": "OBJECT"}),
        ({}, TEXT),
        ({"if": {}, "then": {}, "not": {}}, TEXT),
        ({"type": "mystery"}, TEXT),
    ],
)
def test_a_schema_becomes_one_that_google_takes(given_schema: Any, expected: Any) -> None:
    assert cleaned(given_schema) == expected


def test_references_are_put_in_their_place() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/Name", "description": "mine"},
            "b": {"$ref": "#/definitions/a~1b"},
            "c": {"$ref": "#/$defs/gone"},
            "d": {"$ref": "https://elsewhere/schema"},
        },
        "$defs": {"Name": {"type": "string", "description": "theirs"}},
        "definitions": {"a/b": {"$ref": "#/$defs/Name"}},
    }
    assert cleaned(schema)["properties"] == {
        "a": {**TEXT, "description": "mine"},
        "b": {**TEXT, "description": "theirs"},
        "c": {"type": "OBJECT"},
        "d": {"type": "OBJECT"},
    }


def test_what_all_of_demands_holds_together() -> None:
    schema = {
        "$defs": {"Named": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
        "allOf": [{"$ref": "#/$defs/Named"}, {"properties": {"size": {"type": "integer"}}}],
        "properties": {"own": {"type": "boolean"}},
    }
    assert cleaned(schema) == {
        "type": "OBJECT",
        "properties": {"name": TEXT, "size": {"type": "INTEGER"}, "own": {"type": "BOOLEAN"}},
        "required": ["name"],
    }


def test_circles_depth_and_breadth_end() -> None:
    circle = {
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}}
    }
    assert cleaned({**circle, "$ref": "#/$defs/Node"}) == {
        "type": "OBJECT",
        "properties": {"next": {"type": "OBJECT"}},
    }
    assert cleaned({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}) == {
        "type": "OBJECT"
    }
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        deep = {"type": "array", "items": deep}
    assert len(str(cleaned(deep))) < 3000
    doubling = {f"n{at}": {"anyOf": [{"$ref": f"#/$defs/n{at + 1}"}] * 2} for at in range(30)}
    wide = cleaned({"$defs": {**doubling, "n30": {"type": "string"}}, "$ref": "#/$defs/n0"})
    assert str(wide).count("STRING") <= 2 * MAX_NODES


def test_a_function_without_parameters_has_none() -> None:
    assert parameters_of({"type": "object", "properties": {}}) is None
    assert parameters_of({}) is None
    found = parameters_of({"properties": {"a": {"type": "string"}}})
    assert found == {"type": "OBJECT", "properties": {"a": TEXT}}


KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["string", "integer", "array", "object", "null", ["string", "null"]]
        ),
        "enum": st.lists(st.sampled_from(["a", "", 1, None, True]), max_size=3),
        "const": st.sampled_from(["a", 1, None]),
        "format": st.sampled_from(["uri", "date-time", "int64"]),
        "minimum": st.integers(-5, 5),
        "minItems": st.integers(-1, 3),
        "required": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "$ref": st.sampled_from(["#/$defs/a", "#", "#/gone"]),
        "additionalProperties": st.booleans(),
        "description": st.text(max_size=3),
        "title": st.text(max_size=3),
    },
)
SCHEMAS = st.recursive(
    KEYWORDS,
    lambda inner: st.builds(
        lambda plain, members: {**plain, **members},
        KEYWORDS,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
                "items": inner,
                "anyOf": st.lists(inner, max_size=2),
                "oneOf": st.lists(inner, max_size=2),
                "allOf": st.lists(inner, max_size=2),
                "$defs": st.dictionaries(st.just("a"), inner, max_size=1),
            },
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(schema=SCHEMAS)
def test_whatever_a_tool_declares_the_strict_server_takes_it(schema: dict[str, Any]) -> None:
    declared = {"name": "f", "parameters": cleaned(schema)}
    body = {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "tools": [{"functionDeclarations": [declared]}],
    }
    assert Rules().complaint("gemini-2.5-flash", body) == ""
