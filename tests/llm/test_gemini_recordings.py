"""The requests that led to recorded traffic of Google, made of neutral values."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatd.chattest.replay import Interaction, load_recording
from chatd.llm.types import (
    AssistantMessage,
    Message,
    Provider,
    Request,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.gemini import CODEC
from chatd.llm.wires.gemini.request import encode
from tests.support.recordings import GOOGLE_FILES, MISSING

GOOGLE = Provider(kind="google", base_url="http://x", api_key="k")

pytestmark = pytest.mark.recordings


@pytest.fixture(
    scope="module",
    params=GOOGLE_FILES or [pytest.param(None, marks=MISSING)],
    ids=lambda path: path.stem if path else "none",
)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def exchanges(path: Path) -> list[Interaction]:
    found = load_recording(path).interactions
    return [each for each in found if "event-stream" in each.content_type]


def rebuilt(recorded: dict[str, Any], model: str) -> Request:
    config = recorded.get("generationConfig", {})
    thinking = config.get("thinkingConfig")
    options = thinking and {
        "thinking_config": {
            "thinking_budget": thinking["thinkingBudget"],
            "include_thoughts": thinking["includeThoughts"],
        }
    }
    system = SystemMessage(text=recorded["systemInstruction"]["parts"][0]["text"])
    return Request(
        model=model,
        messages=(system, *(message_of(content) for content in recorded["contents"])),
        tools=tuple(
            tool_of(each)
            for tool in recorded.get("tools", ())
            for each in tool["functionDeclarations"]
        ),
        max_output_tokens=config.get("maxOutputTokens"),
        provider_options={"google": options} if options else {},
    )


def tool_of(declared: dict[str, Any]) -> ToolSpec:
    lowered = json.loads(json.dumps(declared["parameters"]), object_hook=lower_types)
    return ToolSpec(name=declared["name"], description=declared["description"], parameters=lowered)


def lower_types(found: dict[str, Any]) -> dict[str, Any]:
    kind = found.get("type")
    return {**found, "type": kind.lower()} if isinstance(kind, str) else found


def message_of(content: dict[str, Any]) -> Message:
    parts = content["parts"]
    if content["role"] == "model":
        return AssistantMessage(blocks=tuple(block_of(part) for part in parts))
    if "functionResponse" in parts[0]:
        return ToolMessage(
            results=tuple(
                ToolResultBlock(
                    call_id=each["id"], name=each["name"], output=each["response"]["result"]
                )
                for each in (part["functionResponse"] for part in parts)
            )
        )
    return UserMessage(blocks=tuple(TextBlock(text=part["text"]) for part in parts))


def block_of(part: dict[str, Any]) -> TextBlock | ToolCallBlock:
    signature = part.get("thoughtSignature")
    metadata = {"google": {"thought_signature": signature}} if signature else None
    if "text" in part:
        return TextBlock(text=part["text"], provider_metadata=metadata)
    call = part["functionCall"]
    return ToolCallBlock(
        id=call["id"],
        name=call["name"],
        arguments=json.dumps(call["args"]),
        provider_metadata=metadata,
    )


def test_the_requests_of_the_recordings_come_out_the_same(exchanges: list[Interaction]) -> None:
    """They differ in nothing that means something: a role and a mode that are the default."""
    for interaction in exchanges:
        recorded = json.loads(interaction.request_body)
        model = interaction.url.partition("/models/")[2].partition(":")[0]
        request = rebuilt(recorded, model)
        sent = json.loads(encode(request, GOOGLE))
        del recorded["systemInstruction"]["role"]
        if mode := recorded.pop("toolConfig", None):
            assert mode == {"functionCallingConfig": {"mode": "AUTO"}}
        assert sent == recorded
        assert interaction.url.endswith(CODEC.root + CODEC.path(request, is_stream=True))
