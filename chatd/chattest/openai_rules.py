"""What OpenAI's chat/completions refuses in a request, in its own words.

    with OpenAIServer(strictly(handler)) as server: ...

Belongs here: rules that a history can break: pairs of calls and results, shapes of messages, limits
of names and ids, parameters that a model does not take. Does not belong here: what an answer is.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chatd.chattest.faults import http_error
from chatd.chattest.openai import OpenAIHandler, OpenAIRequest

MAX_CALL_ID_CHARS = 40
MAX_NAME_CHARS = 64

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_FIELDS = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "response_format",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "parallel_tool_calls",
        "user",
        "reasoning_effort",
        "verbosity",
        "prediction",
        "store",
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
    }
)
_MESSAGE_FIELDS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"role", "content"}),
    "developer": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_PARTS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "image_url": frozenset({"type", "image_url"}),
    "file": frozenset({"type", "file"}),
}
_UNREASONED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias")
_REASONING = re.compile(r"^(o1|o3|o4)|gpt-5")


def strictly(
    handler: OpenAIHandler, *, body_fields: Iterable[str] = (), answer_fields: Iterable[str] = ()
) -> OpenAIHandler:
    """Answer like `handler` what the vendor takes, and anything else as the vendor does.

    `body_fields` and `answer_fields` are those that a gateway takes beside OpenAI's, in a request
    and in a message of the assistant.
    """
    known, more = _FIELDS | frozenset(body_fields), frozenset(answer_fields)

    def check_and_answer(request: OpenAIRequest) -> Any:
        complaint = next(_complaints(request.body, known, more), None)
        if complaint is None:
            return handler(request)
        error = {"message": complaint, "type": "invalid_request_error", "param": None, "code": None}
        return http_error(400, {"error": error})(request)

    return check_and_answer


def _complaints(
    body: Mapping[str, Any], known: frozenset[str], extra: frozenset[str]
) -> Iterator[str]:
    for name in body.keys() - known:
        yield f"Unrecognized request argument supplied: {name}"
    if "stream_options" in body and not body.get("stream"):
        yield "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    yield from _of_parameters(body)
    for tool in body.get("tools", ()):
        yield from _of_name(tool["function"]["name"], "tools[].function.name")
    if not body.get("messages"):
        yield "[] is too short - 'messages'"
    for at, message in enumerate(body["messages"]):
        yield from _of_message(message, f"messages[{at}]", extra)
    yield from _of_pairs(body["messages"])


def _of_parameters(body: Mapping[str, Any]) -> Iterator[str]:
    if {"max_tokens", "max_completion_tokens"} <= body.keys():
        yield "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
    if not _REASONING.search(body["model"]):
        return
    if "max_tokens" in body:
        yield (
            "Unsupported parameter: 'max_tokens' is not supported with this model."
            " Use 'max_completion_tokens' instead."
        )
    for name in _UNREASONED:
        if name in body:
            yield f"Unsupported parameter: '{name}' is not supported with this model."


def _of_message(message: Mapping[str, Any], path: str, extra: frozenset[str]) -> Iterator[str]:
    role = str(message.get("role"))
    if role not in _MESSAGE_FIELDS:
        yield f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', …"
        return
    known = _MESSAGE_FIELDS[role] | (extra if role == "assistant" else frozenset())
    for name in message.keys() - known:
        yield f"Additional properties are not allowed ('{name}' was unexpected) - '{path}'"
    yield from _of_content(message, path)
    for at, call in enumerate(message.get("tool_calls", ())):
        yield from _of_call(call, f"{path}.tool_calls[{at}]")
    if role == "assistant" and message.get("tool_calls") == []:
        yield f"[] is too short - '{path}.tool_calls'"


def _of_content(message: Mapping[str, Any], path: str) -> Iterator[str]:
    content = message.get("content")
    if content is None:
        if not message.get("tool_calls"):
            yield f"Invalid value for 'content': expected a string, got null. - '{path}'"
    elif isinstance(content, list):
        if not content:
            yield f"[] is too short - '{path}.content'"
        for part in content:
            fields = _PARTS.get(str(part.get("type")))
            allowed = message["role"] == "user" or part.get("type") == "text"
            if fields is None or part.keys() != fields or not allowed:
                yield f"Invalid content part - '{path}.content': {part.get('type')}"
    elif not isinstance(content, str):
        yield f"Invalid type for '{path}.content'"


def _of_call(call: Mapping[str, Any], path: str) -> Iterator[str]:
    if call.keys() != {"id", "type", "function"} or call["type"] != "function":
        yield f"Invalid tool call - '{path}'"
        return
    if not 0 < len(call["id"]) <= MAX_CALL_ID_CHARS:
        yield (
            f"Invalid '{path}.id': string too long. Expected a string with maximum length"
            f" {MAX_CALL_ID_CHARS}, but got a string with length {len(call['id'])} instead."
        )
    yield from _of_name(call["function"]["name"], f"{path}.function.name")
    try:
        is_object = isinstance(json.loads(call["function"]["arguments"]), dict)
    except ValueError:
        is_object = False
    if not is_object:
        yield f"Invalid arguments - '{path}.function.arguments'"


def _of_name(name: str, path: str) -> Iterator[str]:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        yield f"Invalid '{path}': string does not match pattern '^[a-zA-Z0-9_-]+$'."


def _of_pairs(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    waiting: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                yield (
                    "Invalid parameter: messages with role 'tool' must be a response to a"
                    " preceeding message with 'tool_calls'."
                )
                return
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        if len(set(waiting)) < len(waiting):
            yield "Duplicate value for 'tool_call_id'."
    if waiting:
        yield (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to"
            " each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(waiting)
        )
