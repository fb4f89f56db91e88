"""What the Gemini API refuses, with the words it refuses it with.

Belongs here: fields of requests, the order of turns, calls and their responses, signatures. Does
not belong here: HTTP (`google`), chunks (`google_wire`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

SKIP_SIGNATURE = "skip_thought_signature_validator"

_SCALAR, _ANY = "scalar", "any"
_COUNT, _TEXT = "scalar", "scalar"

# Messages by name: fields, and what they hold. A list is repeated, a dict maps names to values.
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "Request": {
        "contents": ["Content"],
        "systemInstruction": "Content",
        "tools": ["Tool"],
        "toolConfig": "ToolConfig",
        "safetySettings": ["SafetySetting"],
        "generationConfig": "GenerationConfig",
        "cachedContent": _TEXT,
    },
    "Content": {"role": _TEXT, "parts": ["Part"]},
    "Part": {
        "text": _TEXT,
        "thought": _SCALAR,
        "thoughtSignature": _TEXT,
        "inlineData": "Blob",
        "functionCall": "FunctionCall",
        "functionResponse": "FunctionResponse",
        "toolCall": "ToolCall",
        "toolResponse": "ToolResponse",
    },
    "Blob": {"mimeType": _TEXT, "data": _TEXT},
    "FunctionCall": {"id": _TEXT, "name": _TEXT, "args": _ANY},
    "FunctionResponse": {
        "id": _TEXT,
        "name": _TEXT,
        "response": _ANY,
        "parts": ["FunctionResponsePart"],
    },
    "FunctionResponsePart": {"inlineData": "Blob"},
    "ToolCall": {"id": _TEXT, "toolType": _TEXT, "args": _ANY},
    "ToolResponse": {"id": _TEXT, "toolType": _TEXT, "response": _ANY},
    "Tool": {"functionDeclarations": ["FunctionDeclaration"], "googleSearch": "GoogleSearch"},
    "GoogleSearch": {},
    "FunctionDeclaration": {"name": _TEXT, "description": _TEXT, "parameters": "Schema"},
    "ToolConfig": {
        "functionCallingConfig": "FunctionCallingConfig",
        "includeServerSideToolInvocations": _SCALAR,
    },
    "FunctionCallingConfig": {"mode": _TEXT, "allowedFunctionNames": [_TEXT]},
    "SafetySetting": {"category": _TEXT, "threshold": _TEXT},
    "GenerationConfig": {
        "maxOutputTokens": _COUNT,
        "temperature": _SCALAR,
        "topP": _SCALAR,
        "topK": _COUNT,
        "presencePenalty": _SCALAR,
        "frequencyPenalty": _SCALAR,
        "responseMimeType": _TEXT,
        "responseSchema": "Schema",
        "thinkingConfig": "ThinkingConfig",
    },
    "ThinkingConfig": {"thinkingBudget": _COUNT, "includeThoughts": _SCALAR},
    "Schema": {
        "type": _TEXT,
        "format": _TEXT,
        "description": _TEXT,
        "nullable": _SCALAR,
        "enum": [_TEXT],
        "items": "Schema",
        "minItems": _COUNT,
        "maxItems": _COUNT,
        "properties": {"": "Schema"},
        "required": [_TEXT],
        "minProperties": _COUNT,
        "maxProperties": _COUNT,
        "minLength": _COUNT,
        "maxLength": _COUNT,
        "pattern": _TEXT,
        "minimum": _SCALAR,
        "maximum": _SCALAR,
        "anyOf": ["Schema"],
        "propertyOrdering": [_TEXT],
    },
}

_TYPES = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT")
_DATA = ("text", "inlineData", "functionCall", "functionResponse", "toolCall", "toolResponse")


def refusal(message: str, *, code: int = 400, status: str = "INVALID_ARGUMENT") -> dict[str, Any]:
    """Return the body of an error as the API writes it."""
    return {"error": {"code": code, "message": message, "status": status}}


class Rules:
    """What a server demands. `issued` are the parts that it signed, by signature.

    A model of Gemini 3 wants the calls of the current turn signed, and takes search beside
    functions; a model of Gemma takes no system instruction.
    """

    def __init__(self) -> None:
        self.issued: dict[str, dict[str, Any]] = {}

    def complaint(self, model: str, body: Any) -> str:
        """Return what is wrong with a request, nothing when it is taken."""
        found = next(_unknown(body, "Request", ""), "")
        return found or next(self._complaints(model, body), "")

    def _complaints(self, model: str, body: Mapping[str, Any]) -> Iterator[str]:
        contents = body.get("contents") or []
        if not contents:
            yield "* GenerateContentRequest.contents: contents is not specified"
        is_gemma = model.startswith("gemma")
        if is_gemma and "systemInstruction" in body:
            yield f"Developer instruction is not enabled for models/{model}"
        if is_gemma and "responseSchema" in body.get("generationConfig", {}):
            yield f"JSON mode is not enabled for models/{model}"
        if body.get("cachedContent") and any(
            name in body for name in ("systemInstruction", "tools", "toolConfig")
        ):
            yield (
                "CachedContent can not be used with GenerateContent request setting"
                " system_instruction, tools or tool_config."
            )
        yield from _tools(model, body)
        yield from _turns(contents)
        yield from self._signatures(model, contents)

    def _signatures(self, model: str, contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        for content in contents:
            for part in content["parts"]:
                signature = part.get("thoughtSignature")
                if signature in (None, SKIP_SIGNATURE):
                    continue
                if content["role"] != "model" or signature not in self.issued:
                    yield "Thought signature is not valid."
                elif _plain(part) != _plain(self.issued[signature]):
                    yield "Corrupted thought signature."
        if model.startswith("gemini-3"):
            yield from _unsigned(contents)


def _unknown(value: Any, kind: Any, path: str) -> Iterator[str]:
    """Yield the complaint about each field that a message does not have."""
    if isinstance(kind, list):
        for at, item in enumerate(value if isinstance(value, list) else ()):
            yield from _unknown(item, kind[0], f"{path}[{at}]")
        if not isinstance(value, list):
            yield f"Invalid value at '{path.lstrip('.')}' (repeated)"
    elif isinstance(kind, dict):
        for name, item in value.items():
            yield from _unknown(item, kind[""], f"{path}.{name}")
    elif kind in _FIELDS:
        for name, item in value.items():
            if name not in _FIELDS[kind]:
                where = f" at '{path.lstrip('.')}'" if path else ""
                yield (
                    f'Invalid JSON payload received. Unknown name "{name}"{where}:'
                    " Cannot find field."
                )
            else:
                yield from _unknown(item, _FIELDS[kind][name], f"{path}.{name}")
        if kind == "Schema":
            yield from _schema(value, path)
    elif kind == _SCALAR and isinstance(value, dict | list | None):
        yield f"Invalid value at '{path.lstrip('.')}'"


def _schema(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    where = f"* GenerateContentRequest.{path.lstrip('.')}"
    kind = schema.get("type")
    if "anyOf" in schema:
        if set(schema) - {"anyOf"}:
            yield f"{where}: when using any_of, it must be the only field set"
        return
    if kind not in _TYPES:
        yield f"{where}.type: must be specified"
    if kind == "ARRAY" and "items" not in schema:
        yield f"{where}.items: missing field."
    if "properties" in schema and not schema["properties"]:
        yield f"{where}.properties: should be non-empty for OBJECT type"
    if any(name not in schema.get("properties", {}) for name in schema.get("required", ())):
        yield f"{where}.required[0]: property is not defined"
    if "enum" in schema and (kind != "STRING" or "" in schema["enum"]):
        yield f"{where}.enum: only allowed for STRING type"
    if kind == "STRING" and schema.get("format") not in (None, "enum", "date-time"):
        yield f"{where}.format: only 'enum' and 'date-time' are supported for STRING type"


def _tools(model: str, body: Mapping[str, Any]) -> Iterator[str]:
    tools = body.get("tools") or []
    functions = any("functionDeclarations" in tool for tool in tools)
    searches = any("googleSearch" in tool for tool in tools)
    is_told = (body.get("toolConfig") or {}).get("includeServerSideToolInvocations")
    if functions and searches and not model.startswith("gemini-3"):
        yield "Tool use with function calling is unsupported by the model."
    elif functions and searches and not is_told:
        yield (
            "Please enable tool_config.include_server_side_tool_invocations to use Built-in"
            " tools with Function calling."
        )
    if searches and "responseSchema" in (body.get("generationConfig") or {}):
        yield "Tool use with a response mime type: 'application/json' is unsupported"


def _turns(contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for content in contents:
        if content.get("role") not in ("user", "model"):
            yield "Please use a valid role: user, model."
        parts = content.get("parts") or []
        if not parts:
            yield "* GenerateContentRequest.contents.parts: contents.parts must not be empty."
        for part in parts:
            if sum(name in part for name in _DATA) != 1:
                yield "* GenerateContentRequest.contents.parts.data: required oneof field 'data'"
            if part.get("text") == "" and "thoughtSignature" not in part:
                yield "Unable to submit request because it must have a text parameter."
    if contents and contents[0].get("role") != "user":
        yield "Please ensure that multiturn requests alternate between user and model."
    for before, after in pairwise(contents):
        if before.get("role") == after.get("role"):
            yield "Please ensure that multiturn requests alternate between user and model."
    if contents and contents[-1].get("role") != "user":
        yield "Please ensure that single turn requests end with a user role."
    yield from _pairs(contents)


def _pairs(contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for before, after in pairwise([{"role": "", "parts": []}, *contents, {"parts": []}]):
        calls = [part["functionCall"] for part in before["parts"] if "functionCall" in part]
        found = [part["functionResponse"] for part in after["parts"] if "functionResponse" in part]
        if len(calls) != len(found) and calls:
            yield (
                "Please ensure that the number of function response parts is equal to the number"
                " of function call parts of the function call turn."
            )
        elif len(calls) != len(found):
            yield (
                "Please ensure that function response turn comes immediately after a function"
                " call turn."
            )
        for call, response in zip(calls, found, strict=False):
            if (call.get("id"), call["name"]) != (response.get("id"), response["name"]):
                yield "Please ensure that function responses match the function calls by name."
        if any("functionResponse" not in part for part in after["parts"][: len(found)]):
            yield "Please ensure that function responses come first."
    ids = [
        (part.get("toolCall") or part.get("toolResponse"))["id"]
        for content in contents
        for part in content["parts"]
        if "toolCall" in part or "toolResponse" in part
    ]
    if any(ids.count(each) != 2 for each in ids):
        yield "Please ensure that every tool call has its tool response."


def _unsigned(contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a complaint for each step of the current turn whose first call is not signed."""
    starts = [
        at
        for at, content in enumerate(contents)
        if content["role"] == "user"
        and any("functionResponse" not in part for part in content["parts"])
    ]
    for at in range(starts[-1] + 1 if starts else 0, len(contents)):
        calls = [part for part in contents[at]["parts"] if "functionCall" in part]
        if calls and "thoughtSignature" not in calls[0]:
            name = calls[0]["functionCall"]["name"]
            yield (
                "Function call is missing a thought_signature in functionCall parts. This is"
                " required for tools to work correctly, and missing thought_signature may lead to"
                f" degraded model performance. Additional data, function call"
                f" `default_api:{name}` , position {at + 1}. Please refer to"
                " https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )


def _plain(part: Mapping[str, Any]) -> str:
    """Return a part without what need not come back: ids that the API did not give."""
    kept = {name: value for name, value in part.items() if name != "thoughtSignature"}
    if "functionCall" in kept:
        kept["functionCall"] = {**kept["functionCall"], "id": ""}
    return json.dumps(kept, sort_keys=True)
