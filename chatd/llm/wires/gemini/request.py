"""Requests of the Gemini wire: neutral values to the JSON body.

Belongs here: the fields of a body and what goes together. Does not belong here: the conversation
(`contents`), schemas (`schema`), provider options (`options`).
"""

from typing import Any

import orjson

from chatd.llm.types import Provider, Request, ToolSpec
from chatd.llm.wires.gemini import families, options, schema
from chatd.llm.wires.gemini.contents import Content, contents_of, system_texts


def encode(request: Request, provider: Provider, *, is_stream: bool = True) -> bytes:
    """Return the JSON body of a generateContent call.

    Raises: TypeError when a tool schema or an option holds values JSON cannot carry.
    """
    section = options.section_of(request)
    contents = contents_of(request.messages, request.tools, request.model)
    body: dict[str, Any] = {"contents": contents}
    # a cache brings these along; Google refuses them beside it
    if not options.cached_content(section):
        _add_system(body, contents, request)
        _add_tools(body, request, section)
    if config := _generation_config(request, section):
        body["generationConfig"] = config
    body.update(options.option_fields(section))
    return orjson.dumps(body)


def _add_system(body: dict[str, Any], contents: list[Content], request: Request) -> None:
    """Add the system texts; to Gemma they are said by the person who speaks first."""
    texts = system_texts(request.messages)
    if not texts:
        return
    if not families.is_gemma(request.model):
        body["systemInstruction"] = {"parts": [{"text": text} for text in texts]}
        return
    part = {"text": "\n\n".join(texts)}
    first = next((each for each in contents if each["role"] == "user"), None)
    if first is None:
        contents.insert(0, {"role": "user", "parts": [part]})
    else:
        first["parts"].insert(0, part)


def _add_tools(body: dict[str, Any], request: Request, section: options.Section) -> None:
    """Add functions and the search. Before Gemini 3 they exclude each other: functions stay."""
    is_latest = families.is_gemini_3(request.model)
    # beside a schema of the answer, search is refused
    searches = options.searches_the_web(section) and not request.output
    tools: list[dict[str, Any]] = []
    if request.tools:
        tools.append({"functionDeclarations": [_declaration(tool) for tool in request.tools]})
    if searches and (is_latest or not request.tools):
        tools.append({"googleSearch": {}})
    if tools:
        body["tools"] = tools
    if len(tools) > 1:
        body["toolConfig"] = {"includeServerSideToolInvocations": True}


def _declaration(tool: ToolSpec) -> dict[str, Any]:
    wanted = {
        "name": tool.name,
        "description": tool.description,
        "parameters": schema.parameters_of(tool.parameters),
    }
    return {name: value for name, value in wanted.items() if value}


def _generation_config(request: Request, section: options.Section) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "maxOutputTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "thinkingConfig": options.thinking_config(section),
    }
    if request.output and not families.is_gemma(request.model):
        wanted["responseMimeType"] = "application/json"
        wanted["responseSchema"] = schema.cleaned(request.output.schema)
    return {name: value for name, value in wanted.items() if value is not None}
