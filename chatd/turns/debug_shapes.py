"""Requests, answers and HTTP calls as the JSON of debug steps. Nothing is redacted here."""

from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

from chatd.chats.new_messages import StepUsage
from chatd.core.clock import rfc3339
from chatd.llm.errors import LLMError
from chatd.llm.observing import CAPTURED_BYTES, HttpAttempt
from chatd.llm.redaction import CUT, Redactor
from chatd.llm.types import (
    Answer,
    AssistantMessage,
    FileBlock,
    Message,
    Request,
    SystemMessage,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)
from chatd.turns.failures import UNEXPECTED, error_of_call
from chatd.turns.step import StepResult, step_usage

MAX_TEXT = 10_000
MAX_MESSAGES_TEXT = 200_000
"""Characters of one text, and of all messages of a request: the newest are kept."""


def request_body(request: Request) -> dict[str, Any]:
    """Return a request in the terms of no provider; files by what they are, long texts cut."""
    messages: list[dict[str, Any]] = []
    size = 0
    for message in reversed(request.messages):
        body = _message(message)
        size += len(str(body))
        if size > MAX_MESSAGES_TEXT and messages:
            break
        messages.insert(0, body)
    body = {
        "model": request.model,
        "messages": messages,
        "messages_left_out": len(request.messages) - len(messages) or None,
        "tools": [
            {
                "name": tool.name,
                "description": _cut(tool.description),
                "parameters": dict(tool.parameters),
            }
            for tool in request.tools
        ],
        "output": asdict(request.output) if request.output else None,
        "max_output_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "provider_options": dict(request.provider_options),
    }
    return {name: value for name, value in body.items() if value not in (None, [], {})}


def answer_body(answer: StepResult | Answer) -> dict[str, Any]:
    """Return what a call gave: parts as they are stored, why it ended, the provider's id of it."""
    if isinstance(answer, StepResult):
        content = [_part(part) for part in answer.content]
    else:
        content = [{"type": "text", "text": _cut(answer.text)}] if answer.text else []
    body = {"content": content, "finish_reason": str(answer.reason)}
    return body | ({"response_id": answer.response_id} if answer.response_id else {})


def usage_body(answer: StepResult | Answer) -> dict[str, Any] | None:
    """Return the tokens of a call that the provider told of, None when there are none."""
    usage = answer.usage if isinstance(answer, StepResult) else step_usage(answer.usage, 0)
    told = {
        each.name: getattr(usage, each.name)
        for each in fields(StepUsage)
        if each.name.endswith("_tokens")
    }
    return {name: tokens for name, tokens in told.items() if tokens is not None} or None


def error_body(error: BaseException | None) -> dict[str, Any]:
    """Return a failure as chats tell of it."""
    return error_of_call(error) if isinstance(error, LLMError) else dict(UNEXPECTED)


def attempt_body(attempt: HttpAttempt, number: int, redactor: Redactor) -> dict[str, Any]:
    """Return one HTTP call, redacted; bodies are texts of at most 50,000 bytes each."""
    took = timedelta(seconds=attempt.duration_seconds)
    body: dict[str, Any] = {
        "number": number,
        "status": str(attempt.status),
        "method": attempt.method,
        "url": redactor.url(attempt.url),
        "path": redactor.text(attempt.path),
        "started_at": rfc3339(attempt.started_at),
        "finished_at": rfc3339(attempt.started_at + took),
        "duration_ms": round(attempt.duration_seconds * 1000),
        "request_headers": redactor.headers(attempt.request_headers),
        "request_body": redactor.body(attempt.request_body, CAPTURED_BYTES),
    }
    if attempt.response_status:
        body |= {
            "response_status": attempt.response_status,
            "response_headers": redactor.headers(attempt.response_headers),
            "response_body": redactor.body(attempt.response_body, CAPTURED_BYTES),
            "response_bytes": attempt.response_bytes,
        }
    if attempt.error is not None:
        body["error"] = redactor.value(error_body(attempt.error))
    return body


def retry_body(error: LLMError, delay_seconds: float) -> dict[str, Any]:
    """Return what an HTTP call is told to be followed by."""
    return {"retry_classification": str(error.kind), "retry_delay_ms": round(delay_seconds * 1000)}


def _message(message: Message) -> dict[str, Any]:
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "content": [{"type": "text", "text": _cut(text)}]}
        case UserMessage(blocks=blocks):
            return {"role": "user", "content": [_block(block) for block in blocks]}
        case AssistantMessage(blocks=blocks):
            return {"role": "assistant", "content": [_block(block) for block in blocks]}
        case ToolMessage(results=results):
            return {"role": "tool", "content": [_block(result) for result in results]}


_TYPES = {
    "TextBlock": "text",
    "FileBlock": "file",
    "ReasoningBlock": "reasoning",
    "ToolCallBlock": "tool-call",
    "ToolResultBlock": "tool-result",
}


def _block(block: Any) -> dict[str, Any]:
    """Return a block with those of its fields that say something; what providers want back is not.

    That is opaque: signatures and encrypted text.
    """
    if isinstance(block, FileBlock):
        file = {"type": "file", "media_type": block.media_type, "bytes": len(block.data)}
        return file | ({"name": block.name} if block.name else {})
    body: dict[str, Any] = {"type": _TYPES[type(block).__name__]}
    for each in fields(block):
        value = getattr(block, each.name)
        if each.name not in ("provider_metadata", "media") and value not in (None, False, ""):
            body[each.name] = _cut(value) if isinstance(value, str) else value
    if isinstance(block, ToolResultBlock) and block.media is not None:
        body["media"] = _block(block.media)
    return body


def _part(part: dict[str, Any]) -> dict[str, Any]:
    return {name: _cut(value) if isinstance(value, str) else value for name, value in part.items()}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + CUT
