"""Call configs: what is taken, what is refused, the one form they are stored and shown in."""

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatd.llm.call_config import (
    CallConfig,
    ModelCallConfig,
    ModelCallConfigRequest,
    checked,
    decode_call_config,
    stored_options,
)
from chatd.llm.option_values import RefusedOptions
from chatd.llm.options import PARAMETERS, PRICES, SECTIONS, Option, OptionType, kinds_of
from chatd.llm.providers import PROVIDERS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"
INPUT = "input_price_per_million_tokens"
OUTPUT = "output_price_per_million_tokens"


def read(given: Any) -> CallConfig:
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    return checked(msgspec.json.decode(raw, type=ModelCallConfigRequest))


def is_refused(given: Any) -> bool:
    try:
        read(given)
    except (msgspec.MsgspecError, ValueError):
        return True
    return False


def leaves(options: tuple[Option, ...], above: tuple[str, ...]) -> Iterator[tuple[Option, tuple]]:
    for option in options:
        path = (*above, option.key)
        if option.members and option.type is OptionType.OBJECT:
            yield from leaves(option.members, path)
        else:
            yield option, path


EVERY = [
    *leaves(PARAMETERS, ()),
    *leaves(PRICES, ("cost",)),
    *(
        leaf
        for key, options in SECTIONS.items()
        for leaf in leaves(options, ("provider_options", key))
    ),
]
each_option = pytest.mark.parametrize(
    ("option", "path"), EVERY, ids=[".".join(p) for _, p in EVERY]
)

GOOD: dict[OptionType, Any] = {
    OptionType.TEXT: "a text",
    OptionType.NUMBER: 0.5,
    OptionType.BOOLEAN: False,
    OptionType.PRICE: "2.5",
}
WRONG: dict[OptionType, list[Any]] = {
    OptionType.TEXT: [1, True, [], {}],
    OptionType.ENUM: [1, True, [], {}],
    OptionType.NUMBER: ["1", True, [], {}],
    OptionType.INTEGER: ["1", 1.0, 1.5, True, 2**63, []],
    OptionType.BOOLEAN: ["true", 0, []],
    OptionType.PRICE: ["", "a", "1_000", " 1", "NaN", "Infinity", "1e9999999", "٣", True, [], {}],
    OptionType.LIST: ["a", {}, [1]],
    OptionType.OBJECT: ["a", [], 1],
}


def good(option: Option) -> Any:
    if option.type is OptionType.ENUM:
        return f" {option.values[0].upper()} "
    if option.type is OptionType.INTEGER:
        return 7 if option.least is None else max(7, int(option.least))
    if option.type is OptionType.LIST and option.values:
        return list(option.values)
    if option.type is OptionType.LIST:
        members = {member.key: good(member) for member in option.members}
        return [members or "an item"]
    if option.type is OptionType.OBJECT:
        return {"a": 1 if option.items else {"any": ["thing", None]}}
    return GOOD[option.type]


def nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


@each_option
def test_every_option_is_taken_and_kept(option: Option, path: tuple[str, ...]) -> None:
    config = read(nested(path, good(option)))
    if option.type is OptionType.PRICE:
        assert (config.options, config.cost) == ({}, {option.key: Decimal("2.5")})
    else:
        assert (config.options, config.cost) == (nested(path, good(option)), {})
        assert stored_options(config.options) == config.options


@each_option
def test_a_wrong_type_is_refused(option: Option, path: tuple[str, ...]) -> None:
    for value in WRONG[option.type]:
        assert is_refused(nested(path, value)), value


@each_option
def test_null_is_not_given_and_unknown_keys_are_ignored(
    option: Option, path: tuple[str, ...]
) -> None:
    for last in (option.key, "mystery"):
        value = None if last == option.key else [1]
        config = read(nested((*path[:-1], last), value))
        assert config == read(nested(path[:-1], {}))


@pytest.mark.parametrize("wrong", [b"[]", b'"x"', b"1", b"true", b"{", b'{"cost":[]}'])
def test_what_is_no_object_is_refused(wrong: bytes) -> None:
    assert is_refused(wrong)


def test_numbers_without_a_fraction_are_numbers() -> None:
    assert read({"temperature": 1}).options == {"temperature": 1.0}


def test_what_is_empty_is_dropped_but_objects_stay() -> None:
    given = {
        "temperature": 0,
        "cost": {},
        "provider_options": {
            "openai": {"reasoning_effort": " "},
            "google": {"cached_content": "", "safety_settings": [], "thinking_config": {}},
            "openrouter": {
                "user": "",
                "logit_bias": {},
                "extra_body": {},
                "provider": {"only": []},
            },
        },
    }
    assert read(given).options == {
        "temperature": 0.0,
        "provider_options": {
            "openai": {},
            "google": {"thinking_config": {}},
            "openrouter": {"user": "", "provider": {}},
        },
    }
    assert read({}) == CallConfig(options={}, cost={})


# Prices


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"2.50", "2.50"),
        (b'"2.50"', "2.50"),
        (b"0.1234567890123456789", "0.1234567890123456789"),
        (b'"1e2"', "1E+2"),
        (b"-1", "-1"),
        (b'".5"', "0.5"),
    ],
)
def test_a_price_is_exact_as_text_and_as_number(given: bytes, expected: str) -> None:
    raw = b'{"cost":{"%s":%s}}' % (INPUT.encode(), given)
    assert str(read(raw).cost[INPUT]) == expected


def test_prices_at_the_top_level_count_unless_cost_has_them() -> None:
    given = {INPUT: 1, OUTPUT: "2", "cost": {INPUT: 3}}
    assert read(given).cost == {INPUT: Decimal(3), OUTPUT: Decimal(2)}
    assert read({INPUT: 1, "cost": {INPUT: None}}).cost == {INPUT: Decimal(1)}


# Values


@pytest.mark.parametrize(
    ("given", "path", "advice"),
    [
        (
            {"openai": {"reasoning_effort": "extreme"}},
            "openai.reasoning_effort",
            "must be one of none, minimal, low, medium, high, xhigh",
        ),
        (
            {"openai": {"include": ["reasoning.encrypted_content", "all"]}},
            "openai.include",
            "must hold only reasoning.encrypted_content, file_search_call.results,"
            " message.output_text.logprobs",
        ),
        (
            {"openai": {"logit_bias": {"1": 101}}},
            "openai.logit_bias",
            "must hold only numbers from -100 to 100",
        ),
        (
            {"anthropic": {"thinking": {"budget_tokens": 0}}},
            "anthropic.thinking.budget_tokens",
            "must be at least 1024",
        ),
        (
            {"google": {"safety_settings": [{}, {"threshold": "NONE"}]}},
            "google.safety_settings[1].threshold",
            "must be one of BLOCK_LOW_AND_ABOVE, BLOCK_MEDIUM_AND_ABOVE, BLOCK_ONLY_HIGH,"
            " BLOCK_NONE, OFF",
        ),
    ],
)
def test_a_value_that_is_not_taken_is_told_with_its_path(
    given: Any, path: str, advice: str
) -> None:
    with pytest.raises(RefusedOptions) as caught:
        read({"provider_options": given})
    (refused,) = caught.value.refused
    assert (refused.path, refused.advice) == (f"provider_options.{path}", advice)
    kept = decode_call_config(json.dumps({"provider_options": given})).options
    assert stored_options(kept) == kept


def test_all_values_that_are_not_taken_are_told_at_once() -> None:
    given = {"temperature": 3, "top_p": -0.1, "provider_options": {"vercel": {"top_logprobs": 21}}}
    with pytest.raises(RefusedOptions) as caught:
        read(given)
    assert [each.sentence for each in caught.value.refused] == [
        "temperature must be from 0 to 2.",
        "top_p must be from 0 to 1.",
        "provider_options.vercel.top_logprobs must be from 0 to 20.",
    ]


# Rows from before they were checked


@pytest.mark.parametrize("stored", [None, [], "x", 1])
def test_what_is_stored_and_no_object_is_nothing(stored: Any) -> None:
    assert stored_options(stored) == {}


def test_stored_members_of_a_wrong_type_are_left_out() -> None:
    stored = {"temperature": "hot", "top_p": 0.5, "provider_options": [], "mystery": 1, INPUT: "x"}
    assert stored_options(stored | {"cost": 7}) == {"top_p": 0.5}


# The schema


@pytest.mark.parametrize("shape", [ModelCallConfigRequest, ModelCallConfig])
def test_the_json_schema_has_every_option(shape: Any) -> None:
    (reference,), components = msgspec.json.schema_components([shape])

    def resolve(schema: Any) -> Any:
        kinds = [kind for kind in schema.get("anyOf", [schema]) if "$ref" in kind]
        return components[kinds[0]["$ref"].rpartition("/")[2]] if kinds else schema

    for option, path in EVERY:
        found = resolve(reference)
        for key in path:
            member = found["properties"][key]
            found = resolve(member)
        assert member["title"] == option.label
        assert member.get("description", "").startswith(option.help)
        assert member.get("x-hidden", False) is option.hidden
        assert member.get("examples", []) == list(option.values)


def test_every_section_is_for_some_kind_of_provider_and_every_kind_has_one() -> None:
    assert {kind for key in SECTIONS for kind in kinds_of(key)} == {kind.name for kind in PROVIDERS}


# The docs


def row(option: Option, kinds: tuple[str, ...], above: str = "") -> Iterator[str]:
    path = f"{above}{option.key}"
    if option.members:
        inside = f"{path}[]." if option.type is OptionType.LIST else f"{path}."
        for member in option.members:
            yield from row(member, kinds, inside)
        return
    of = f" of {option.items}s" if option.items else ""
    known = ": " + ", ".join(option.values) if option.values else ""
    everywhere = len(kinds) == len(PROVIDERS)
    yield (
        f"| `{path}` | {option.type}{of}{known} | {'all' if everywhere else ', '.join(kinds)} "
        f"| {option.help} |"
    )


def documented_rows() -> list[str]:
    """Return the rows that the table of the docs must have."""
    rows = [line for option in PARAMETERS for line in row(option, option.kinds)]
    rows += [line for option in PRICES for line in row(option, option.kinds, "cost.")]
    for key, options in SECTIONS.items():
        for option in options:
            rows += row(option, kinds_of(key), f"provider_options.{key}.")
    return rows


def test_the_docs_have_exactly_the_options_of_the_schema() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    start = lines.index("| option | type | taken by | what |") + 2
    table = takewhile(lambda line: line.startswith("|"), lines[start:])
    assert list(table) == documented_rows()
