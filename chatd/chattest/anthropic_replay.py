"""What recorded streams of Anthropic's wire add up to, read in the plainest way.

An independent opinion to test decoders against: whole bodies, no increments, no types. Bedrock's
frames are opened with regular expressions.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from chatd.chattest.replay import ExpectedAnswer, Interaction

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "model_context_window_exceeded": "length",
}
_USAGE = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}


def expected_anthropic(interaction: Interaction) -> ExpectedAnswer:
    """Add up a recorded Messages stream, as server-sent events or in frames of AWS."""
    events = _documents(interaction)
    blocks = [_block(event, events) for event in events if event["type"] == "content_block_start"]
    calls = [_call(block) for block in blocks if block["type"].endswith("tool_use")]
    usage = _usage(events)
    reason = [e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta"][-1]
    return ExpectedAnswer(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        reasoning="".join(b["thinking"] for b in blocks if b["type"] == "thinking"),
        tool_calls=tuple(call for call in calls if not call[0].startswith("srv")),
        server_calls=tuple(call for call in calls if call[0].startswith("srv")),
        sources=tuple(dict.fromkeys(_sources(blocks))),
        usage={**usage, "total": usage["input"] + usage["output"]},
        finish_reason=_REASONS[reason],
    )


def _documents(interaction: Interaction) -> list[dict[str, Any]]:
    if "eventstream" in interaction.content_type:
        chunks = re.findall(rb'\{"bytes":"([^"]+)"', interaction.body)
        return [json.loads(base64.b64decode(chunk)) for chunk in chunks]
    lines = interaction.body.decode().splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def _block(start: Mapping[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    block = {**start["content_block"], "json": ""}
    block["cited"] = []
    for event in events:
        if event["type"] != "content_block_delta" or event["index"] != start["index"]:
            continue
        delta = event["delta"]
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
            case "input_json_delta":
                block["json"] += delta["partial_json"]
            case "citations_delta":
                block["cited"].append(delta["citation"])
    return block


def _call(block: Mapping[str, Any]) -> tuple[str, str, str]:
    return block["id"], block["name"], block["json"] or json.dumps(block["input"])


def _sources(blocks: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the addresses of what was found and of what was cited."""
    for block in blocks:
        results = block["content"] if block["type"] == "web_search_tool_result" else []
        yield from (each["url"] for each in [*results, *block["cited"]])


def _usage(events: list[dict[str, Any]]) -> dict[str, int]:
    reported: dict[str, Any] = {}
    for event in events:
        told = event.get("message", {}).get("usage", {}) | event.get("usage", {})
        reported |= {name: count for name, count in told.items() if count is not None}
    thought = (reported.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    counted = {ours: reported.get(theirs) or 0 for ours, theirs in _USAGE.items()}
    return {**counted, "reasoning": thought}
