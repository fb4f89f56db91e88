"""Recordings read by an independent library, which has to come to the same results."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from chatd.chattest.replay import Interaction, Recording, ReplayServer
from chatd.llm.client import stream
from chatd.llm.types import (
    AwsAccess,
    Finish,
    Provider,
    ReasoningDelta,
    Request,
    Source,
    TextBlock,
    TextDelta,
    ToolCall,
    UserMessage,
)
from tests.support.recordings import KINDS, MISSING, ROOT, streams

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(600)]

STREAMS = streams()


@dataclass
class Result:
    """What a stream came to. `calls` are names and arguments; `pages` were found by a search."""

    text: str = ""
    reasoning: str = ""
    calls: list[list[Any]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


async def ours(folder: str, interaction: Interaction) -> Result:
    kind = KINDS[folder]
    aws = AwsAccess(region="us-east-1", access_key="a", access_key_secret="b")
    request = Request(
        model="gpt-5" if folder.endswith("responses") else "a-model",
        messages=(UserMessage(blocks=(TextBlock(text="What is this?"),)),),
    )
    result = Result()
    async with ReplayServer(Recording(name=folder, interactions=(interaction,))) as server:
        provider = Provider(
            kind=kind,
            base_url=server.base_url,
            api_key="" if kind == "bedrock" else "k",
            aws=aws if kind == "bedrock" else None,
        )
        async for event in stream(request, provider):
            add(result, event)
    return result


def add(result: Result, event: object) -> None:
    match event:
        case TextDelta(text=text):
            result.text += text
        case ReasoningDelta(text=text):
            result.reasoning += text
        case ToolCall(provider_executed=False):
            result.calls.append([event.name, json.loads(event.arguments)])
        case Source(url=url):
            result.pages.append(url)
        case Finish(usage=usage):
            assert usage is not None
            result.cached_tokens = usage.cache_read or 0
            result.prompt_tokens = (usage.input or 0) + result.cached_tokens
            result.prompt_tokens += usage.cache_write or 0
            result.output_tokens = usage.output or 0


@pytest.mark.skipif(not STREAMS, reason=MISSING.kwargs["reason"])
async def test_another_library_reads_the_same() -> None:
    program = [sys.executable, "-W", "ignore", str(ROOT / "tests/support/second_opinion.py")]
    run = subprocess.run(program, capture_output=True, text=True, check=True)
    theirs = json.loads(run.stdout)
    mine = {name: asdict(await ours(name.partition("/")[0], STREAMS[name])) for name in STREAMS}
    for name, other in theirs.items():
        if "/groq" in name:  # told twice, and added up by them
            other |= {key: mine[name][key] for key in ("prompt_tokens", "output_tokens")}
        # they tell of searches on Anthropic alone, and not of pages of earlier turns that are cited
        mine[name]["pages"] = [url for url in mine[name]["pages"] if url in other["pages"]]
        if "/xai" in name:  # reasoning is counted beside the output, and billed
            other["output_tokens"] = mine[name]["output_tokens"]
    assert len(theirs) >= len(mine)
    assert mine == theirs
