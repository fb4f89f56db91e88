"""Requests of the Responses wire: neutral values to the JSON body.

Belongs here: parameter names, tools, the form of an answer, what reasoning models do not take.
Does not belong here: what was said (`items`), provider options (`options`), HTTP.
"""

from typing import Any

import orjson

from chatd.llm.types import OutputSchema, Provider, Request
from chatd.llm.wires.responses.items import input_items
from chatd.llm.wires.responses.models import is_reasoning_model
from chatd.llm.wires.responses.options import is_strict, option_fields, verbosity, web_search


def encode(request: Request, provider: Provider, *, is_stream: bool = True) -> bytes:
    """Return the JSON body of a Responses call.

    Raises: TypeError when a tool schema or an option holds values JSON cannot carry.
    """
    body = {
        "model": request.model,
        "input": input_items(request),
        "previous_response_id": request.previous_response_id,
        "tools": _tools(request) or None,
        "text": _text(request) or None,
        "stream": is_stream or None,
        **_parameters(request),
        **option_fields(request),
    }
    return orjson.dumps({name: value for name, value in body.items() if value is not None})


def _parameters(request: Request) -> dict[str, float | None]:
    wanted: dict[str, float | None] = {"max_output_tokens": request.max_output_tokens}
    if not is_reasoning_model(request.model):
        wanted |= {"temperature": request.temperature, "top_p": request.top_p}
    return wanted


def _tools(request: Request) -> list[dict[str, Any]]:
    strict = is_strict(request)
    tools: list[dict[str, Any]] = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": strict,
        }
        for tool in request.tools
    ]
    search = web_search(request)
    return [*tools, search] if search else tools


def _text(request: Request) -> dict[str, Any]:
    wanted = {
        "format": _format(request.output) if request.output else None,
        "verbosity": verbosity(request),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _format(output: OutputSchema) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "name": output.name,
        "schema": dict(output.schema),
        "strict": True,
    }
