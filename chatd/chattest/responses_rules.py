"""What the Responses API demands of a request, and the errors it answers with otherwise.

Belongs here: fields, values, and the pairs of items, as strict as the vendor. The texts are the
vendor's own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

Item = dict[str, Any]

_FIELDS = frozenset(
    [
        "background",
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
_INCLUDABLE = frozenset(
    [
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    ]
)
_ITEM_FIELDS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"type", "role", "content", "id", "status", "phase"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "id", "status"}),
    "function_call_output": frozenset({"type", "call_id", "output", "id", "status"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
    "item_reference": frozenset({"type", "id"}),
}
_PART_FIELDS: Mapping[str, frozenset[str]] = {
    "input_text": frozenset({"type", "text"}),
    "input_image": frozenset({"type", "image_url", "file_id", "detail"}),
    "input_file": frozenset({"type", "file_data", "file_id", "file_url", "filename"}),
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
}
_PARTS_OF: Mapping[str, tuple[str, ...]] = {
    "user": ("input_text", "input_image", "input_file"),
    "system": ("input_text",),
    "developer": ("input_text",),
    "assistant": ("output_text", "refusal"),
}
_TOOL_FIELDS: Mapping[str, frozenset[str]] = {
    "function": frozenset({"type", "name", "description", "parameters", "strict"}),
    "web_search": frozenset({"type", "search_context_size", "filters", "user_location"}),
}
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REASONING = re.compile(r"o[134]|gpt-5|codex-")


@dataclass(frozen=True, slots=True)
class RefusedError(Exception):
    """A request that the vendor would not take."""

    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400

    @property
    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": "invalid_request_error"}
        return {"error": {**error, "param": self.param, "code": self.code}}


@dataclass(slots=True)
class Kept:
    """What the vendor knows: items by id with the item before and behind each, and responses.

    `texts` holds all encrypted reasoning that was handed out, with the item that came of it.
    """

    items: dict[str, Item] = field(default_factory=dict)
    before: dict[str, Item] = field(default_factory=dict)
    behind: dict[str, Item] = field(default_factory=dict)
    contexts: dict[str, list[Item]] = field(default_factory=dict)
    texts: dict[str, Item | None] = field(default_factory=dict)

    def encrypt(self, output: Sequence[Item]) -> None:
        """Note the encrypted reasoning of an answer, which can be read again in any case."""
        for item, behind in zip_longest(output, output[1:]):
            if item.get("encrypted_content"):
                self.texts[item["encrypted_content"]] = behind

    def store(self, response: Item, context: Sequence[Item]) -> None:
        """Remember an answer that has come to its end, and what it was given."""
        output: list[Item] = response["output"]
        self.contexts[response["id"]] = [*context, *output]
        for at, item in enumerate(output):
            self.items[item["id"]] = item
            if at:
                self.before[item["id"]] = output[at - 1]
            if at + 1 < len(output):
                self.behind[item["id"]] = output[at + 1]


def context_of(body: Mapping[str, Any], kept: Kept) -> list[Item]:
    """Return all that a request gives the model. Raises RefusedError."""
    _check_fields(body, _FIELDS, "")
    _check_parameters(body)
    for at, tool in enumerate(body.get("tools", ())):
        _check_tool(tool, f"tools[{at}]")
    previous = body.get("previous_response_id")
    if previous is not None and previous not in kept.contexts:
        message = f"Previous response with id '{previous}' not found."
        raise RefusedError(message, "previous_response_id", "previous_response_not_found")
    earlier = kept.contexts.get(previous, []) if previous else []
    given = [_resolved(item, f"input[{at}]", kept) for at, item in enumerate(body["input"])]
    _check_pairs(given, kept)
    _check_calls([*earlier, *given])
    return [*earlier, *given]


def _check_fields(given: Mapping[str, Any], known: Iterable[str], path: str) -> None:
    for name, value in given.items():
        where = f"{path}.{name}" if path else name
        if name not in known:
            raise RefusedError(f"Unknown parameter: '{where}'.", where, "unknown_parameter")
        if value is None and path:
            raise RefusedError(f"Invalid type for '{where}': got null.", where, "invalid_type")


def _check_parameters(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("model"), str) or not isinstance(body.get("input"), list):
        raise RefusedError("Missing required parameter: 'model'.", "model", "missing_parameter")
    if _REASONING.match(body["model"]):
        for name in ("temperature", "top_p", "top_logprobs"):
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                raise RefusedError(message, name)
    elif "reasoning" in body:
        message = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
        raise RefusedError(message, "reasoning.effort", "unsupported_parameter")
    for value in body.get("include", ()):
        if value not in _INCLUDABLE:
            raise RefusedError(f"Invalid value: '{value}'.", "include[0]", "invalid_value")


def _check_tool(tool: Mapping[str, Any], path: str) -> None:
    known = _TOOL_FIELDS.get(str(tool.get("type")))
    if known is None:
        raise RefusedError(f"Invalid value: '{tool.get('type')}'.", f"{path}.type")
    _check_fields(tool, known, path)
    if tool["type"] == "function" and not _TOOL_NAME.fullmatch(tool.get("name", "")):
        message = f"Invalid '{path}.name': string does not match pattern."
        raise RefusedError(message, f"{path}.name", "invalid_value")


def _resolved(item: Item, path: str, kept: Kept) -> Item:
    kind = item.get("type", "message")
    if kind not in _ITEM_FIELDS:
        raise RefusedError(f"Invalid value: '{kind}'.", path, "invalid_value")
    _check_fields(item, _ITEM_FIELDS[kind], path)
    if kind == "message":
        _check_message(item, path)
    if len(str(item.get("call_id", ""))) > 64:
        raise RefusedError(f"Invalid '{path}.call_id': string too long.", f"{path}.call_id")
    if kind == "reasoning":
        _check_reasoning(item, kept)
    item_id = str(item.get("id", ""))
    if "id" in item and item_id not in kept.items:
        message = f"Item with id '{item_id}' not found."
        raise RefusedError(message, "input", status=404)
    return kept.items[item_id] if kind == "item_reference" else item


def _check_message(item: Item, path: str) -> None:
    allowed = _PARTS_OF.get(str(item.get("role")))
    content = item.get("content")
    if allowed is None or not content:
        raise RefusedError(f"Invalid value: '{item.get('role')}'.", f"{path}.role")
    for at, part in enumerate(content if isinstance(content, list) else ()):
        where = f"{path}.content[{at}]"
        if part.get("type") not in allowed:
            supported = ", ".join(f"'{name}'" for name in allowed)
            message = f"Invalid value: '{part.get('type')}'. Supported values are: {supported}."
            raise RefusedError(message, where, "invalid_value")
        _check_fields(part, _PART_FIELDS[part["type"]], where)


def _check_reasoning(item: Item, kept: Kept) -> None:
    if not isinstance(item.get("summary"), list):
        raise RefusedError("Missing required parameter: 'input[0].summary'.", "input[0].summary")
    if item.get("encrypted_content") not in kept.texts:
        message = (
            f"The encrypted content {str(item.get('encrypted_content'))[:9]}... could not be"
            " verified. Reason: Encrypted content could not be decrypted or parsed."
        )
        raise RefusedError(message, code="invalid_encrypted_content")


def _check_pairs(items: Sequence[Item], kept: Kept) -> None:
    seen: set[str] = set()
    for at, item in enumerate(items):
        item_id = item.get("id")
        if item_id in seen:
            raise RefusedError(f"Duplicate item found with id {item_id}.", "input")
        seen |= {item_id} if item_id else set()
        following = items[at + 1] if at + 1 < len(items) else None
        if item.get("type") == "reasoning" and not _is_followed(item, following, kept):
            raise RefusedError(
                f"Item '{item_id or ''}' of type 'reasoning' was provided without its required"
                " following item.",
                "input",
            )
        cause = kept.before.get(item_id or "")
        if cause and cause["type"] == "reasoning" and items[at - 1].get("id") != cause["id"]:
            raise RefusedError(
                f"Item '{item_id}' of type '{item['type']}' was provided without its required"
                f" 'reasoning' item: '{cause['id']}'.",
                "input",
            )


def _is_followed(item: Item, following: Item | None, kept: Kept) -> bool:
    """Tell whether what came of a reasoning stands behind it."""
    if following is None:
        return False
    if "id" in item:
        behind = kept.behind.get(item["id"])
        return behind is not None and following.get("id") == behind["id"]
    behind = kept.texts[item["encrypted_content"]]
    if behind is None:
        return False
    if behind["type"] == "function_call":
        return bool(following.get("call_id") == behind["call_id"])
    return bool(following.get("type", "message") == behind["type"])


def _check_calls(items: Sequence[Item]) -> None:
    calls = [item["call_id"] for item in items if item.get("type") == "function_call"]
    results = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    for call_id in results:
        if call_id not in calls:
            message = f"No tool call found for function call output with call_id {call_id}."
            raise RefusedError(message, "input")
    for call_id in calls:
        if call_id not in results:
            raise RefusedError(f"No tool output found for function call {call_id}.", "input")
