"""Recorded streams as an independent library reads them: pydantic-ai on the SDKs of the vendors.

A program of its own, because it leaves connections open and takes seconds to import. It prints one
JSON object: what each stream came to, by `<folder>/<file>-<number of the exchange>`.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from anthropic import AsyncAnthropicBedrock
from openai import AsyncOpenAI
from pydantic_ai import messages
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider

from chatd.chattest.replay import Recording, ReplayServer
from tests.support.recordings import streams

QUESTION = "What is this?"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def their_model(folder: str, url: str) -> Model:
    openai = AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
    match folder:
        case "anthropic":
            return AnthropicModel(
                "claude-sonnet-4-0", provider=AnthropicProvider(base_url=url, api_key="k")
            )
        case "bedrock":
            client = AsyncAnthropicBedrock(
                base_url=url, aws_region="us-east-1", aws_access_key="a", aws_secret_key="b"
            )
            return AnthropicModel(CLAUDE, provider=AnthropicProvider(anthropic_client=client))
        case "google":
            return GoogleModel(
                "gemini-2.5-flash", provider=GoogleProvider(api_key="k", base_url=url)
            )
        case "openrouter":
            return OpenRouterModel("a/b", provider=OpenRouterProvider(openai_client=openai))
        case "openai-responses" | "azure-responses":
            return OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(openai_client=openai))
        case _:
            return OpenAIChatModel("a-model", provider=OpenAIProvider(openai_client=openai))


async def read(folder: str, url: str) -> dict[str, Any]:
    question = messages.ModelRequest(parts=[messages.UserPromptPart(QUESTION)])
    async with model_request_stream(their_model(folder, url), [question]) as response:
        async for _ in response:
            pass
        answer = response.get()
    parts = answer.parts
    returns = [part for part in parts if part.part_kind == "builtin-tool-return"]
    return {
        "text": "".join(p.content for p in parts if isinstance(p, messages.TextPart)),
        "reasoning": "".join(p.content for p in parts if isinstance(p, messages.ThinkingPart)),
        "calls": [
            [p.tool_name, p.args_as_dict()] for p in parts if isinstance(p, messages.ToolCallPart)
        ],
        "pages": list(dict.fromkeys(page["url"] for part in returns for page in part.content)),
        "prompt_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
        "cached_tokens": answer.usage.cache_read_tokens,
    }


async def main() -> None:
    found = {}
    for name, interaction in streams().items():
        async with ReplayServer(Recording(name=name, interactions=(interaction,))) as server:
            found[name] = await read(name.partition("/")[0], server.base_url)
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
