"""Requests of the OpenAI chat/completions wire: neutral values to the JSON body.

Belongs here: message and tool shapes, parameter names, what reasoning models do not accept.
Does not belong here: provider options (`options`), HTTP headers, reading answers.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

import orjson

from chatd.llm.call_ids import safe_tool_name, short_call_id
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
    OutputSchema,
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
from chatd.llm.wires.openai_chat import compat
from chatd.llm.wires.openai_chat.options import is_reasoning_model, option_fields
from chatd.llm.wires.openai_chat.reasoning import reasoning_fields

MAX_CALL_ID_CHARS = 40
_WITHOUT_SYSTEM = ("o1-mini", "o1-preview")


def encode(request: Request, provider: Provider, *, is_stream: bool = True) -> bytes:
    """Return the JSON body of a chat/completions call.

    Raises: TypeError when a tool schema or an option holds values JSON cannot carry.
    """
    latest = _latest(request.messages)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [
            wire
            for at, message in enumerate(request.messages)
            for wire in _message(message, request, provider, is_latest=at > latest)
        ],
        "stream": is_stream,
    }
    if is_stream:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.output:
        body["response_format"] = _response_format(request.output)
    body.update(_parameters(request))
    body.update(option_fields(request, provider.kind))
    if "max_completion_tokens" in body:
        body.pop("max_tokens", None)  # servers refuse the two together
    compat.patch(body, provider)
    return orjson.dumps(body)


def _latest(messages: Sequence[Message]) -> int:
    """Return where the last message of the user stands; what is behind it is the turn's."""
    users = (at for at, message in enumerate(messages) if isinstance(message, UserMessage))
    return max(users, default=-1)


def _parameters(request: Request) -> dict[str, Any]:
    wanted: dict[str, float | None]
    if is_reasoning_model(request.model):
        wanted = {"max_completion_tokens": request.max_output_tokens}
    else:
        wanted = {
            "max_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
        }
    return {name: value for name, value in wanted.items() if value is not None}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "strict": False,
    }
    return {"type": "function", "function": function}


def _response_format(output: OutputSchema) -> dict[str, Any]:
    wanted = {"name": output.name, "schema": dict(output.schema), "strict": True}
    return {"type": "json_schema", "json_schema": wanted}


def _message(
    message: Message, request: Request, provider: Provider, *, is_latest: bool
) -> Iterator[dict[str, Any]]:
    match message:
        case SystemMessage():
            if not request.model.startswith(_WITHOUT_SYSTEM):
                yield {"role": "system", "content": message.text}
        case UserMessage():
            if content := _user_content(message):
                yield {"role": "user", "content": content}
        case AssistantMessage():
            if wire := _assistant(message, request.tools, provider):
                yield wire | reasoning_fields(message, provider.kind, is_latest=is_latest)
        case ToolMessage():
            for result in message.results:
                yield {
                    "role": "tool",
                    "tool_call_id": _call_id(result.call_id),
                    "content": _output(result),
                }
        case _:
            assert_never(message)


def _call_id(call_id: str) -> str:
    """Return an id as OpenAI takes it; those of other providers may be longer."""
    return short_call_id(call_id, MAX_CALL_ID_CHARS)


def _output(result: ToolResultBlock) -> str:
    """Return the text of a result: this wire takes no media from tools."""
    if result.output or result.media is None:
        return result.output
    return f"[{result.media.media_type} content that cannot be shown here]"


def _user_content(message: UserMessage) -> str | list[dict[str, Any]]:
    """Return plain text if there is only text: many compatible servers accept nothing else."""
    parts: list[dict[str, Any]] = []
    for block in message.blocks:
        part = _file_part(block) if isinstance(block, FileBlock) else _text_part(block)
        if part:
            parts.append(part)
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _text_part(block: TextBlock) -> dict[str, Any] | None:
    return {"type": "text", "text": block.text} if block.text else None


def _file_part(block: FileBlock) -> dict[str, Any] | None:
    media_type = block.media_type.partition(";")[0].strip().lower()
    is_pdf = media_type == "application/pdf"
    if not block.data or not (is_pdf or media_type.startswith("image/")):
        return None
    url = f"data:{media_type};base64,{base64.b64encode(block.data).decode()}"
    if is_pdf:
        file = {"filename": block.name or "attachment.pdf", "file_data": url}
        return {"type": "file", "file": file}
    return {"type": "image_url", "image_url": {"url": url}}


def _assistant(
    message: AssistantMessage, tools: Sequence[ToolSpec], provider: Provider
) -> dict[str, Any] | None:
    text = "".join(block.text for block in message.blocks if isinstance(block, TextBlock))
    calls = [
        _call(block, tools, provider)
        for block in message.blocks
        if isinstance(block, ToolCallBlock) and not block.provider_executed
    ]
    if not text and not calls:
        return None
    wire: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        wire["tool_calls"] = calls
    return wire


def _call(block: ToolCallBlock, tools: Sequence[ToolSpec], provider: Provider) -> dict[str, Any]:
    name = safe_tool_name(block.name, tools)
    function = {"name": name, "arguments": block.arguments or "{}"}
    wire: dict[str, Any] = {"id": _call_id(block.id), "type": "function", "function": function}
    signature = compat.signature_in(block.provider_metadata)
    if signature and compat.is_google(provider):
        wire["extra_content"] = {"google": {"thought_signature": signature}}
    return wire
