"""What a model call can take at most, known before it is made: pure functions of the request.

No vendor makes more tokens of a text than it has bytes. Pictures count by a rule of their vendor;
what a provider adds by itself, as for tools, by a round number above what is documented.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
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
from chatd.providers.pricing import Prices
from chatd.spending.holds import WorstCase
from chatd.turns.model_calls import DEFAULT_MAX_OUTPUT_TOKENS

LEAST_OUTPUT_TOKENS = 1024
"""A shorter answer than that is of no use (design 7)."""

TOKENS_OF_MESSAGE = 16
"""What the roles and marks around a message or a part of it take."""

TOKENS_OF_TOOLS = 1024
"""What vendors tell a model about tools in general."""

TOKENS_OF_IMAGE = 50_000
"""The dearest picture of OpenAI's models, at high detail; unknown servers are taken for theirs."""

_TOKENS_OF_IMAGE = {"anthropic": 5000, "bedrock": 5000, "google": 5000}

_BUDGETS = ("budget_tokens", "thinking_budget", "max_tokens")
"""Options of reasoning that an answer has to be longer than."""

Block = TextBlock | FileBlock | ReasoningBlock | ToolCallBlock | ToolResultBlock


def worst_case(
    request: Request, provider: Provider, prices: Prices, *, context_limit: int
) -> WorstCase:
    """Return the most that a call can take. `request` holds the whole history, chained or not.

    What a provider searches for by itself is read as well, as much as the context holds.
    """
    input_tokens = input_bound(request, provider)
    if _searches(request.provider_options):
        input_tokens = max(input_tokens, context_limit)
    output_tokens = request.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS
    return WorstCase(
        prices=prices,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        least_output=LEAST_OUTPUT_TOKENS + reasoning_budget(request.provider_options),
    )


def input_bound(request: Request, provider: Provider) -> int:
    """Return how many tokens the input of a call cannot exceed."""
    image = _TOKENS_OF_IMAGE.get("bedrock" if provider.aws else provider.kind, TOKENS_OF_IMAGE)
    blocks = (block for message in request.messages for block in _blocks(message))
    tokens = sum(_block_bound(block, image) + TOKENS_OF_MESSAGE for block in blocks)
    if request.tools:
        tokens += TOKENS_OF_TOOLS + sum(_tool_bound(tool) for tool in request.tools)
    if request.output:
        tokens += TOKENS_OF_TOOLS + len(orjson.dumps(request.output.schema))
    return tokens


def reasoning_budget(options: Mapping[str, Any]) -> int:
    """Return the tokens that reasoning alone may take by the options of a call; 0 if unknown."""
    found = [0]
    for key, value in options.items():
        if isinstance(value, Mapping):
            found.append(reasoning_budget(value))
        elif key in _BUDGETS and isinstance(value, int):
            found.append(value)
    return max(found)


def _searches(options: Mapping[str, Any]) -> bool:
    sections = (each for each in options.values() if isinstance(each, Mapping))
    return any(section.get("web_search_enabled") for section in sections)


def _blocks(message: Message) -> Iterator[Block]:
    match message:
        case SystemMessage(text=text):
            yield TextBlock(text=text)
        case UserMessage(blocks=blocks) | AssistantMessage(blocks=blocks):
            yield from blocks
        case ToolMessage(results=results):
            yield from results


def _block_bound(block: Block, image: int) -> int:
    """Return the bound of one part; what a provider wants back of it is billed as text at most."""
    kept = len(orjson.dumps(block.provider_metadata)) if block.provider_metadata else 0
    match block:
        case TextBlock(text=text) | ReasoningBlock(text=text):
            return kept + _size(text)
        case FileBlock(media_type=media_type, data=data):
            is_image = media_type.startswith("image/")
            return kept + (image if is_image else len(data) + image)
        case ToolCallBlock(name=name, arguments=arguments):
            return kept + _size(name) + _size(arguments)
        case ToolResultBlock(output=output, media=media):
            return kept + _size(output) + (_block_bound(media, image) if media else 0)


def _tool_bound(tool: ToolSpec) -> int:
    schema = orjson.dumps(tool.parameters)
    return TOKENS_OF_MESSAGE + _size(tool.name) + _size(tool.description) + len(schema)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
