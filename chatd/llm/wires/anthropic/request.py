"""Requests of the Anthropic Messages wire: neutral values to the JSON body.

Belongs here: parameters, tools, structured output, what the two of them exclude. Does not belong
here: messages (`messages`), provider options (`options`), HTTP headers.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from chatd.llm.types import OutputSchema, Provider, Request, ToolSpec
from chatd.llm.wires.anthropic import guard
from chatd.llm.wires.anthropic.messages import (
    Conversation,
    begins_with_thinking,
    called_tools,
    mark_for_cache,
    system_blocks,
)
from chatd.llm.wires.anthropic.options import (
    section_of,
    sends_reasoning,
    thinking_fields,
    tool_choice,
    web_search_tool,
)

MAX_TOKENS = 4096
"""Of an answer, where the request does not say: the vendor has no default."""

_ALTERNATIVES = ("oneOf", "anyOf", "allOf")
_OUTPUT_HELP = "Give the whole answer by calling this tool."
_PAST_HELP = "A tool of earlier in this conversation. It cannot be called any more."


def encode(request: Request, provider: Provider, *, is_stream: bool = True) -> bytes:
    """Return the JSON body of a call.

    Raises: LLMError for options or messages that would be refused; TypeError when a tool schema
    holds values JSON cannot carry.
    """
    body = message_body(request, provider, is_bedrock=False)
    system, messages = body.get("system", []), body["messages"]
    guard.check(messages, provider)
    if request.output is None:
        mark_for_cache(system, messages)
    return orjson.dumps({"model": request.model, **body, "stream": is_stream})


def message_body(request: Request, provider: Provider, *, is_bedrock: bool) -> dict[str, Any]:
    """Return what a body holds on every host of these models: all but model and stream."""
    section = section_of(request)
    conversation = Conversation(
        request.tools, reasoning=sends_reasoning(section), server_tools=not is_bedrock
    )
    body: dict[str, Any] = {
        "max_tokens": request.max_output_tokens or MAX_TOKENS,
        "messages": conversation.messages(request.messages),
    }
    if system := system_blocks(request.messages):
        body["system"] = system
    thinking = _thinking(request, provider, body["messages"])
    body |= thinking
    if "thinking" not in thinking:
        sampling = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
        }
        body |= {name: value for name, value in sampling.items() if value is not None}
    return body | _tool_fields(request, body["messages"], is_bedrock=is_bedrock)


def _thinking(
    request: Request, provider: Provider, messages: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return how the model is to think, without what would be refused.

    A tool that has to be called excludes thinking. A budget does not fit an answer with calls that
    did not begin with reasoning: it was made by another model, or cut.
    """
    fields = thinking_fields(section_of(request), provider)
    has_budget = (fields.get("thinking") or {}).get("type") == "enabled"
    if request.output or (has_budget and not begins_with_thinking(messages)):
        fields.pop("thinking", None)
    return fields


def _tool_fields(
    request: Request, messages: list[dict[str, Any]], *, is_bedrock: bool
) -> dict[str, Any]:
    section = section_of(request)
    tools = [_tool(tool) for tool in request.tools]
    search = None if is_bedrock else web_search_tool(section)
    named = {tool.name for tool in request.tools}
    if search and not request.output and search["name"] not in named:
        tools.append(search)
    if request.output:
        tools = [*(t for t in tools if t["name"] != request.output.name), _answer(request.output)]
        return {"tools": tools, "tool_choice": {"type": "tool", "name": request.output.name}}
    if tools:
        choice = tool_choice(section)
        return {"tools": tools} | ({"tool_choice": choice} if choice else {})
    if names := called_tools(messages):
        # calls in a history are refused unless there are tools
        past = [_past_tool(name) for name in names]
        return {"tools": past} | ({} if is_bedrock else {"tool_choice": {"type": "none"}})
    return {}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description.strip() else {}
    return {"name": tool.name, **described, "input_schema": _schema(tool.parameters)}


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of an object; alternatives at its top are refused."""
    kept = {name: value for name, value in schema.items() if name not in _ALTERNATIVES}
    return {"type": "object", **kept}


def _answer(output: OutputSchema) -> dict[str, Any]:
    return {
        "name": output.name,
        "description": _OUTPUT_HELP,
        "input_schema": _schema(output.schema),
    }


def _past_tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": _PAST_HELP, "input_schema": {"type": "object"}}
