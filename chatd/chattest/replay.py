"""Recorded provider traffic: loading, serving it again, and what it adds up to.

Belongs here: reading go-vcr files (PyYAML is needed, a development dependency) and a server that
gives the n-th POST the n-th recorded answer. `expected_chat`, `expected_responses` and
`expected_gemini` read recorded streams in the plainest way, as an independent opinion to test
decoders against.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from chatd.chattest.server import LoopbackServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One recorded exchange; `pieces` are the parts in which a provider would send the body."""

    url: str
    request_body: str
    status: int
    content_type: str
    body: bytes = field(repr=False)

    @property
    def pieces(self) -> list[bytes]:
        """The body cut after every event (or frame); one piece when it is no stream."""
        if "text/event-stream" in self.content_type:
            found = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self.body)
            return [piece for piece in found if piece]
        if "vnd.amazon.eventstream" in self.content_type:
            return _frames(self.body)
        return [self.body]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    name: str
    interactions: tuple[Interaction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAnswer:
    """What a recorded stream adds up to; `tool_calls` are (id, name, arguments).

    The id is empty where the provider gave none. `server_calls` are those that the provider carried
    out. `sources` are URLs.
    """

    text: str
    reasoning: str
    tool_calls: tuple[tuple[str, str, str], ...]
    usage: Mapping[str, int]
    finish_reason: str
    sources: tuple[str, ...] = ()
    server_calls: tuple[tuple[str, str, str], ...] = ()


def load_recording(path: Path) -> Recording:
    """Read one go-vcr file.

    Raises: OSError, and ImportError where PyYAML is missing.
    """
    import yaml

    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Recording(
        name=f"{path.parent.name}/{path.stem}",
        interactions=tuple(_interaction(entry) for entry in document["interactions"]),
    )


def _interaction(entry: Mapping[str, Any]) -> Interaction:
    request, response = entry["request"], entry["response"]
    body = response.get("body") or b""
    headers = {name.lower(): values for name, values in (response.get("headers") or {}).items()}
    return Interaction(
        url=request.get("url") or "",
        request_body=request.get("body") or "",
        status=response.get("code") or 200,
        content_type=(headers.get("content-type") or ["application/json"])[0],
        body=body if isinstance(body, bytes) else body.encode(),
    )


def _frames(body: bytes) -> list[bytes]:
    """Split an AWS event stream: each frame begins with its own length, big-endian."""
    frames, at = [], 0
    while at < len(body):
        size = max(int.from_bytes(body[at : at + 4], "big"), 4)
        frames.append(body[at : at + size])
        at += size
    return frames


class ReplayServer(LoopbackServer):
    """Serve a recording: any path, the n-th POST gets the n-th answer, then status 500.

    `delta_seconds` pauses between the pieces of a stream. `requests` holds the received bodies.
    """

    def __init__(self, recording: Recording, *, delta_seconds: float = 0.0, port: int = 0) -> None:
        super().__init__(self._application, port=port)
        self.requests: list[bytes] = []
        self._recording = recording
        self._delta_seconds = delta_seconds

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/{path:.*}", self._answer)
        return app

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        position = len(self.requests)
        self.requests.append(b"")
        self.requests[position] = await http.read()
        if position >= len(self._recording.interactions):
            error = {"error": {"message": f"{self._recording.name} holds no further exchange"}}
            return web.json_response(error, status=500)
        interaction = self._recording.interactions[position]
        stream = web.StreamResponse(
            status=interaction.status, headers={"Content-Type": interaction.content_type}
        )
        try:
            await stream.prepare(http)
            for piece in interaction.pieces:
                await stream.write(piece)
                await asyncio.sleep(self._delta_seconds)
            await stream.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.client_dropped()
            raise
        return stream


def expected_chat(interaction: Interaction) -> ExpectedAnswer:
    """Add up a recorded chat/completions stream from its complete JSON lines."""
    texts, reasonings, usage, reason = list[str](), list[str](), dict[str, int](), ""
    calls: dict[tuple[int, int], list[str]] = {}
    for chunk in _documents(interaction.body):
        if isinstance(chunk.get("usage"), dict):
            usage = _normal_usage(chunk["usage"])
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            texts.append(delta.get("content") or "")
            reasonings.append(_plain_reasoning(delta))
            reason = choice.get("finish_reason") or reason
            for call in delta.get("tool_calls") or []:
                slot = calls.setdefault(
                    (choice.get("index", 0), call.get("index", 0)), ["", "", ""]
                )
                slot[0] = slot[0] or call.get("id") or ""
                slot[1] = slot[1] or call["function"].get("name") or ""
                slot[2] += call["function"].get("arguments") or ""
    return ExpectedAnswer(
        text="".join(texts),
        reasoning="".join(reasonings),
        tool_calls=tuple((call[0], call[1], call[2]) for call in calls.values()),
        usage=usage,
        finish_reason="tool_calls" if calls else reason,
    )


def expected_responses(interaction: Interaction) -> ExpectedAnswer:
    """Read a recorded answer of the Responses API from the response that it ends with."""
    if "event-stream" in interaction.content_type:
        endings = ("response.completed", "response.incomplete")
        events = [event for event in _documents(interaction.body) if event["type"] in endings]
        response = events[-1]["response"]
    else:
        response = json.loads(interaction.body)
    output, usage = response["output"], response["usage"]
    parts = [part for item in output for part in item.get("content") or []]
    cited = [note for part in parts for note in part.get("annotations") or [] if "url" in note]
    summaries = [part["text"] for item in output for part in item.get("summary") or []]
    thoughts = [part["text"] for part in parts if part["type"] == "reasoning_text"]
    calls = [item for item in output if item["type"] == "function_call"]
    reason = (response.get("incomplete_details") or {}).get("reason") or "stop"
    cached = usage["input_tokens_details"]["cached_tokens"]
    return ExpectedAnswer(
        text="".join(part["text"] for part in parts if part["type"] == "output_text"),
        reasoning="".join(summaries + thoughts),
        tool_calls=tuple((call["call_id"], call["name"], call["arguments"]) for call in calls),
        usage={
            "input": usage["input_tokens"] - cached,
            "output": usage["output_tokens"],
            "total": usage["total_tokens"],
            "reasoning": usage["output_tokens_details"]["reasoning_tokens"],
            "cache_read": cached,
        },
        finish_reason="tool_calls" if calls else reason.replace("max_output_tokens", "length"),
        sources=tuple(dict.fromkeys(note["url"] for note in cited)),
    )


def _documents(body: bytes) -> list[dict[str, Any]]:
    lines = (line.removeprefix("data:").strip() for line in body.decode().splitlines())
    return [json.loads(line) for line in lines if line.startswith("{")]


def _plain_reasoning(delta: Mapping[str, Any]) -> str:
    plain = delta.get("reasoning_content") or delta.get("reasoning")
    if plain:
        return str(plain)
    details = delta.get("reasoning_details") or []
    return "".join(detail.get("text") or detail.get("summary") or "" for detail in details)


def _normal_usage(reported: Mapping[str, Any]) -> dict[str, int]:
    prompt, completion = reported.get("prompt_tokens", 0), reported.get("completion_tokens", 0)
    cached = (reported.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    reasoning = (reported.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    total = reported.get("total_tokens", 0)
    beside = reasoning if prompt + completion + reasoning == total else 0
    return {
        "input": max(prompt - cached, 0),
        "output": completion + beside,
        "total": total,
        "reasoning": reasoning,
        "cache_read": cached,
    }


GEMINI_REASONS = {"STOP": "stop", "MAX_TOKENS": "length"}


def expected_gemini(interaction: Interaction) -> ExpectedAnswer:
    """Add up a recorded stream of Google from its complete JSON lines."""
    texts, thoughts, calls, sources = list[str](), list[str](), list[tuple[str, str, str]](), {}
    usage, reason = dict[str, int](), ""
    for chunk in _documents(interaction.body):
        usage = _gemini_usage(chunk["usageMetadata"]) if "usageMetadata" in chunk else usage
        for candidate in chunk.get("candidates") or []:
            reason = candidate.get("finishReason") or reason
            for found in candidate.get("groundingMetadata", {}).get("groundingChunks") or []:
                sources[found["web"]["uri"]] = True
            for part in candidate.get("content", {}).get("parts") or []:
                (thoughts if part.get("thought") else texts).append(part.get("text") or "")
                if call := part.get("functionCall"):
                    arguments = json.dumps(call.get("args") or {}, separators=(",", ":"))
                    calls.append((call.get("id") or "", call["name"], arguments))
    finished = GEMINI_REASONS.get(reason, "content_filter" if reason else "")
    return ExpectedAnswer(
        text="".join(texts),
        reasoning="".join(thoughts),
        tool_calls=tuple(calls),
        usage=usage,
        finish_reason="tool_calls" if calls and finished == "stop" else finished,
        sources=tuple(sources),
    )


def _gemini_usage(reported: Mapping[str, int]) -> dict[str, int]:
    cached = reported.get("cachedContentTokenCount", 0)
    thoughts = reported.get("thoughtsTokenCount", 0)
    return {
        "input": reported.get("promptTokenCount", 0) - cached,
        "output": reported.get("candidatesTokenCount", 0) + thoughts,
        "total": reported.get("totalTokenCount", 0),
        "reasoning": thoughts,
        "cache_read": cached,
    }
