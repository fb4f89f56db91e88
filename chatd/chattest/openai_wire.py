"""Chunks and completions of the fake OpenAI server, and their JSON.

Belongs here: values a handler answers with and how they look on the wire, quirks included. Does
not belong here: HTTP.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FAKE_MODEL = "gpt-4"


def short_id(prefix: str) -> str:
    """Return `prefix` and eight random hex digits."""
    return f"{prefix}{uuid.uuid4().hex[:8]}"


def _now() -> int:
    return int(time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIToolCall:
    """A call in a chunk; like the original, `index` 0 is left out of the JSON."""

    id: str = ""
    type: str = "function"
    name: str = ""
    arguments: str = ""
    index: int = 0

    def wire(self) -> dict[str, Any]:
        """Return the JSON object, without empty members."""
        function = {"name": self.name, "arguments": self.arguments}
        whole = {
            "id": self.id,
            "type": self.type,
            "function": {name: value for name, value in function.items() if value},
            "index": self.index,
        }
        return {name: value for name, value in whole.items() if value or name == "function"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIChunkChoice:
    """`delta` is text; a choice without text and calls has no delta member at all."""

    index: int = 0
    delta: str = ""
    reasoning: str = ""
    tool_calls: tuple[OpenAIToolCall, ...] = ()
    finish_reason: str = ""

    def wire(self) -> dict[str, Any]:
        """Return the JSON object of a chat/completions chunk's choice."""
        delta: dict[str, Any] = {}
        if self.delta:
            delta["content"] = self.delta
        if self.reasoning:
            delta["reasoning_content"] = self.reasoning
        if self.tool_calls:
            delta["tool_calls"] = [call.wire() for call in self.tool_calls]
        whole: dict[str, Any] = {"index": self.index}
        if delta:
            whole["delta"] = delta
        if self.finish_reason:
            whole["finish_reason"] = self.finish_reason
        return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIChunk:
    """One event of a stream; `usage` is sent only if set."""

    id: str = field(default_factory=lambda: short_id("chatcmpl-"))
    object: str = "chat.completion.chunk"
    created: int = field(default_factory=_now)
    model: str = FAKE_MODEL
    choices: tuple[OpenAIChunkChoice, ...] = ()
    usage: Mapping[str, Any] | None = None

    def wire(self) -> dict[str, Any]:
        """Return the JSON object of a chat/completions chunk."""
        whole = {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "choices": [choice.wire() for choice in self.choices],
        }
        return whole if self.usage is None else {**whole, "usage": dict(self.usage)}

    def responses_wire(self, item_ids: dict[int, str]) -> list[dict[str, Any]]:
        """Return the events of the Responses API; `item_ids` remembers one id per output."""
        events = []
        for position, choice in enumerate(self.choices):
            output = choice.index or position
            events.append(
                {
                    "type": "response.output_text.delta",
                    "item_id": item_ids.setdefault(output, short_id("msg_")),
                    "output_index": output,
                    "created": self.created,
                    "model": self.model,
                    "content_index": 0,
                    "delta": choice.delta,
                }
            )
        return events


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAICompletion:
    """A whole answer of one choice; the token counts are fixed unless given."""

    text: str
    id: str = field(default_factory=lambda: short_id("chatcmpl-"))
    created: int = field(default_factory=_now)
    model: str = FAKE_MODEL
    tool_calls: tuple[OpenAIToolCall, ...] = ()
    finish_reason: str = "stop"
    prompt_tokens: int = 10
    completion_tokens: int = 5

    def wire(self) -> dict[str, Any]:
        """Return the JSON object of a chat/completions answer."""
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": self.text},
            "finish_reason": self.finish_reason,
        }
        if self.tool_calls:
            choice["tool_calls"] = [call.wire() for call in self.tool_calls]
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def responses_wire(self) -> dict[str, Any]:
        """Return the JSON object of a Responses answer, with this fake's own usage names."""
        content = [{"type": "output_text", "text": self.text}]
        message = {
            "id": str(uuid.uuid4()),
            "type": "message",
            "role": "assistant",
            "content": content,
        }
        return {**self._head("response"), "output": [message], "usage": self._usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _usage(self) -> dict[str, int]:
        return usage_numbers(self.prompt_tokens, self.completion_tokens)


def usage_numbers(
    prompt: int = 10, completion: int = 5, *, cached: int = 0, reasoning: int = 0
) -> dict[str, Any]:
    """Return a usage object; the detail members appear only with a number in them."""
    numbers: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached:
        numbers["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning:
        numbers["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return numbers


def text_chunks(*deltas: str) -> list[OpenAIChunk]:
    """Return one chunk per delta; the choice index counts up 0, 1, 2, as in the original fake."""
    chunk_id, created = short_id("chatcmpl-"), _now()
    return [
        OpenAIChunk(
            id=chunk_id, created=created, choices=(OpenAIChunkChoice(index=index, delta=delta),)
        )
        for index, delta in enumerate(deltas)
    ]


def reasoning_chunk(text: str) -> OpenAIChunk:
    """Return a chunk that carries reasoning in `reasoning_content`."""
    return OpenAIChunk(choices=(OpenAIChunkChoice(reasoning=text),))


def tool_call_chunk(name: str, arguments: str, *, call_id: str = "", index: int = 0) -> OpenAIChunk:
    """Return a chunk with one complete call, without a finish reason."""
    call = OpenAIToolCall(
        id=call_id or short_id("call_"), name=name, arguments=arguments, index=index
    )
    return OpenAIChunk(choices=(OpenAIChunkChoice(tool_calls=(call,)),))


def finish_chunk(reason: str = "stop", usage: Mapping[str, Any] | None = None) -> OpenAIChunk:
    """Return the chunk that says why the answer ended, with usage if given."""
    return OpenAIChunk(choices=(OpenAIChunkChoice(finish_reason=reason),), usage=usage)


def usage_chunk(
    prompt: int = 10, completion: int = 5, *, cached: int = 0, reasoning: int = 0
) -> OpenAIChunk:
    """Return the chunk without choices that real servers send last when asked for usage."""
    return OpenAIChunk(usage=usage_numbers(prompt, completion, cached=cached, reasoning=reasoning))
