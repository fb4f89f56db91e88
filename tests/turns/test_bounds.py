"""How many tokens a call can take at most."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from chatd.llm.types import (
    AssistantMessage,
    AwsAccess,
    FileBlock,
    OutputSchema,
    Provider,
    ReasoningBlock,
    Request,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.choice import codec_for
from chatd.providers.pricing import Prices
from chatd.turns.bounds import (
    LEAST_OUTPUT_TOKENS,
    TOKENS_OF_IMAGE,
    TOKENS_OF_MESSAGE,
    input_bound,
    reasoning_budget,
    worst_case,
)
from chatd.turns.model_calls import DEFAULT_MAX_OUTPUT_TOKENS

PRICES = Prices(input=Decimal(1), output=Decimal(1))
OPENAI = Provider(kind="openai-compat", base_url="http://127.0.0.1:9/v1")
ANTHROPIC = Provider(kind="anthropic", base_url="http://127.0.0.1:9")
BEDROCK = Provider(kind="anthropic", base_url="", aws=AwsAccess(region="eu-west-1"))
GOOGLE = Provider(kind="google", base_url="http://127.0.0.1:9")

PICTURE = FileBlock(media_type="image/png", data=b"p" * 100_000)


def asking(*blocks: Any, **fields: Any) -> Request:
    return Request(model="m", messages=(UserMessage(blocks=blocks),), **fields)


def bound(*blocks: Any, provider: Provider = OPENAI, **fields: Any) -> int:
    return input_bound(asking(*blocks, **fields), provider)


@pytest.mark.parametrize(
    ("text", "most"), [("", 0), ("four", 4), ("größe", 7), ("日本", 6), ("👩‍🚀", 11), ("\ud800", 3)]
)
def test_text_makes_no_more_tokens_than_it_has_bytes(text: str, most: int) -> None:
    assert bound(TextBlock(text=text)) == most + TOKENS_OF_MESSAGE


def test_every_part_of_a_history_counts() -> None:
    wanted = {"anthropic": {"signature": "s" * 500}}
    messages = (
        SystemMessage(text="a" * 10),
        UserMessage(blocks=(TextBlock(text="b" * 20),)),
        AssistantMessage(
            blocks=(
                ReasoningBlock(text="c" * 30, provider_metadata=wanted),
                TextBlock(text="d" * 40),
                ToolCallBlock(id="1", name="find", arguments="e" * 50),
            )
        ),
        ToolMessage(results=(ToolResultBlock(call_id="1", name="find", output="f" * 60),)),
    )
    found = input_bound(Request(model="m", messages=messages), OPENAI)
    assert found == 10 + 20 + 30 + 40 + 4 + 50 + 60 + len(orjson.dumps(wanted)) + 6 * 16


def test_a_request_is_never_longer_than_its_bound_says() -> None:
    """Apart from pictures the bound is of the order of the bytes that are sent."""
    tools = (ToolSpec(name="find", description="d" * 300, parameters={"type": "object"}),)
    request = asking(TextBlock(text="x" * 5000), tools=tools)
    for provider in (OPENAI, ANTHROPIC, GOOGLE):
        body = codec_for(provider, "m").encode(request, provider, is_stream=True)
        assert 0.8 * len(body) < input_bound(request, provider) < len(body) + 1500


@pytest.mark.parametrize(
    ("provider", "most"),
    [(OPENAI, TOKENS_OF_IMAGE), (ANTHROPIC, 5000), (BEDROCK, 5000), (GOOGLE, 5000)],
)
def test_a_picture_counts_by_the_rule_of_its_vendor(provider: Provider, most: int) -> None:
    assert bound(PICTURE, provider=provider) == most + TOKENS_OF_MESSAGE
    result = ToolResultBlock(call_id="1", name="see", output="", media=PICTURE)
    request = Request(model="m", messages=(ToolMessage(results=(result,)),))
    assert input_bound(request, provider) == most + TOKENS_OF_MESSAGE


def test_a_document_counts_as_text_and_a_picture() -> None:
    pdf = FileBlock(media_type="application/pdf", data=b"%" * 9000)
    assert bound(pdf, provider=ANTHROPIC) == 9000 + 5000 + TOKENS_OF_MESSAGE


def test_schemas_count() -> None:
    schema = OutputSchema(name="title", schema={"type": "object", "x": "y" * 400})
    assert bound(output=schema) > 400


def test_what_the_provider_searches_fills_the_context_at_most() -> None:
    searching = asking(provider_options={"anthropic": {"web_search_enabled": True}})
    assert worst_case(searching, ANTHROPIC, PRICES, context_limit=200_000).input_tokens == 200_000
    quiet = asking(provider_options={"anthropic": {"web_search_enabled": False}})
    assert worst_case(quiet, ANTHROPIC, PRICES, context_limit=200_000).input_tokens == 0


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        ({}, 0),
        ({"anthropic": {"thinking": {"budget_tokens": 4000}}}, 4000),
        ({"google": {"thinking_config": {"thinking_budget": 512}}}, 512),
        ({"openrouter": {"reasoning": {"max_tokens": 2048, "effort": "high"}}}, 2048),
        ({"openai": {"reasoning_effort": "high"}}, 0),
    ],
)
def test_an_answer_has_to_be_longer_than_the_reasoning_it_may_take(
    options: dict[str, Any], budget: int
) -> None:
    assert reasoning_budget(options) == budget
    worst = worst_case(asking(provider_options=options), OPENAI, PRICES, context_limit=1)
    assert worst.least_output == LEAST_OUTPUT_TOKENS + budget


@pytest.mark.parametrize(("given", "allowed"), [(None, DEFAULT_MAX_OUTPUT_TOKENS), (64, 64)])
def test_an_answer_may_be_as_long_as_it_is_asked_to_be(given: int | None, allowed: int) -> None:
    request = asking(max_output_tokens=given)
    assert worst_case(request, OPENAI, PRICES, context_limit=1).output_tokens == allowed
