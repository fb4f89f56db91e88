"""What Anthropic's Messages API refuses in a request, with the sentences it refuses it with.

    https://platform.claude.com/docs/en/api/messages
    https://platform.claude.com/docs/en/build-with-claude/extended-thinking

`Issued` is what a fake gave out earlier and wants back unchanged: signatures, encrypted results.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

Body = Mapping[str, Any]

THINKING = ("thinking", "redacted_thinking")

_TOP = frozenset(
    "model max_tokens messages system tools tool_choice thinking output_config temperature top_p"  # noqa: SIM905
    " top_k stop_sequences stream metadata service_tier".split()
)
_FIELDS: Mapping[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "text": "type text citations cache_control",
        "image": "type source cache_control",
        "document": "type source title context citations cache_control",
        "thinking": "type thinking signature",
        "redacted_thinking": "type data",
        "tool_use": "type id name input cache_control",
        "tool_result": "type tool_use_id content is_error cache_control",
        "server_tool_use": "type id name input cache_control",
        "web_search_tool_result": "type tool_use_id content cache_control",
    }.items()
}
_OF_USERS = frozenset({"text", "image", "document", "tool_result"})
_OF_SERVER = frozenset({"server_tool_use", "web_search_tool_result"})
_OF_ANSWERS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"}) | _OF_SERVER
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_SERVER_ID = re.compile(r"srvtoolu_[a-zA-Z0-9_]+")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CITATION = frozenset({"type", "cited_text", "url", "title", "encrypted_index"})
_FOUND = frozenset({"type", "url", "title", "encrypted_content", "page_age"})


class Refused(Exception):  # noqa: N818 - the words of the vendor
    """The request is not valid; the text is the vendor's."""


@dataclass(slots=True)
class Issued:
    """What was given out: text by signature, and everything that is encrypted."""

    thoughts: dict[str, str] = field(default_factory=dict)
    encrypted: set[str] = field(default_factory=set)


def check(body: Body, issued: Issued, *, has_server_tools: bool = True) -> None:
    """Raise `Refused` for what the vendor would refuse."""
    for name in body.keys() - _TOP:
        raise Refused(f"{name}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Refused(f"{name}: Field required")
    for block in body.get("system") or ():
        _text(block, "system")
    _check_messages(body["messages"])
    for message, content in _blocks(body["messages"]):
        _block(message, content, issued, has_server_tools=has_server_tools)
    _pairs(body["messages"])
    _tools(body, has_server_tools=has_server_tools)
    _thinking(body)
    _marks(body)


def _check_messages(messages: Any) -> None:
    if not messages:
        raise Refused("messages: at least one message is required")
    if messages[0]["role"] != "user":
        raise Refused('messages: first message must use the "user" role')
    for position, message in enumerate(messages):
        role = message["role"]
        if message.keys() - {"role", "content"}:
            raise Refused(f"messages.{position}: Extra inputs are not permitted")
        if position and role == messages[position - 1]["role"]:
            raise Refused(
                'messages: roles must alternate between "user" and "assistant", but found multiple'
                f' "{role}" roles in a row'
            )
        if not message["content"]:
            raise Refused(f"messages.{position}: all messages must have non-empty content")
    if messages[-1]["role"] == "assistant":
        raise Refused(
            "This model does not support assistant message prefill. The conversation must end with"
            " a user message."
        )


def _blocks(messages: Any) -> Iterator[tuple[Body, Body]]:
    for message in messages:
        for block in message["content"]:
            yield message, block


def _text(block: Body, where: str) -> None:
    if not block["text"]:
        raise Refused(f"{where}: text content blocks must be non-empty")
    if not block["text"].strip():
        raise Refused(f"{where}: text content blocks must contain non-whitespace text")


def _block(message: Body, block: Body, issued: Issued, *, has_server_tools: bool) -> None:
    kind = block["type"]
    known = _OF_USERS if message["role"] == "user" else _OF_ANSWERS
    if kind not in known or (kind in _OF_SERVER and not has_server_tools):
        raise Refused(f"messages: Input tag '{kind}' does not match any of the expected tags")
    for name in block.keys() - _FIELDS[kind]:
        raise Refused(f"messages.content.{kind}.{name}: Extra inputs are not permitted")
    match kind:
        case "text":
            _text(block, "messages")
            _citations(block, issued)
        case "image" | "document":
            _source(block)
        case "thinking" | "redacted_thinking":
            _thought(block, issued)
        case "tool_use" | "server_tool_use":
            _call(block)
        case "tool_result":
            for inner in block.get("content", ()):
                _text(inner, "messages") if inner["type"] == "text" else _source(inner)
        case "web_search_tool_result":
            _search(block, issued)


def _citations(block: Body, issued: Issued) -> None:
    for citation in block.get("citations") or ():
        if citation.keys() != _CITATION or citation["encrypted_index"] not in issued.encrypted:
            raise Refused("messages.content.text.citations: Invalid `encrypted_index`")


def _source(block: Body) -> None:
    media_type = block["source"]["media_type"]
    fits = media_type in _IMAGES if block["type"] == "image" else media_type == "application/pdf"
    if not fits or block["source"].keys() != {"type", "media_type", "data"}:
        raise Refused(f"messages.content.{block['type']}.source.base64.media_type: not supported")


def _thought(block: Body, issued: Issued) -> None:
    kind = block["type"]
    known = (
        issued.thoughts.get(block["signature"]) == block["thinking"]
        if kind == "thinking"
        else block["data"] in issued.encrypted
    )
    if not known:
        name = "signature" if kind == "thinking" else "data"
        raise Refused(f"messages.content: Invalid `{name}` in `{kind}` block")


def _call(block: Body) -> None:
    of_server = block["type"] == "server_tool_use"
    if not (_SERVER_ID if of_server else _CALL_ID).fullmatch(block["id"]):
        raise Refused(f"messages.content.{block['type']}.id: String should match pattern")
    if not _TOOL_NAME.fullmatch(block["name"]):
        raise Refused("messages.content.tool_use.name: String should match pattern")
    if not isinstance(block["input"], dict):
        raise Refused("messages.content.tool_use.input: Input should be a valid dictionary")


def _search(block: Body, issued: Issued) -> None:
    found = block["content"]
    if isinstance(found, dict):
        if found.keys() != {"type", "error_code"}:
            raise Refused("messages.content.web_search_tool_result.content: not valid")
        return
    for each in found:
        if each.keys() - _FOUND or each["encrypted_content"] not in issued.encrypted:
            raise Refused("messages.content: Invalid `encrypted_content` in `search_result` block")


def _pairs(messages: Any) -> None:
    waiting: list[str] = []
    taken: set[str] = set()
    for position, message in enumerate(messages):
        kinds = [block["type"] for block in message["content"]]
        leading = list(takewhile(lambda block: block["type"] == "tool_result", message["content"]))
        results = [block["tool_use_id"] for block in leading]
        if len(results) < kinds.count("tool_result") or set(waiting) - set(results):
            raise Refused(
                f"messages.{position - 1}: `tool_use` ids were found without `tool_result` blocks"
                f" immediately after: {', '.join(waiting)}. Each `tool_use` block must have a"
                " corresponding `tool_result` block in the next message."
            )
        if extra := set(results) - set(waiting):
            raise Refused(
                f"messages.{position}: unexpected `tool_use_id` found in `tool_result` blocks:"
                f" {', '.join(extra)}. Each `tool_result` block must have a corresponding"
                " `tool_use` block in the previous message."
            )
        if len(results) != len(set(results)):
            raise Refused(f"messages.{position}: each tool_use must have a single result.")
        waiting = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        if taken & set(waiting) or len(waiting) != len(set(waiting)):
            raise Refused("messages: `tool_use` ids must be unique")
        taken |= set(waiting)
        _server_pairs(message, position)
        if message["role"] == "assistant" and kinds[-1] in THINKING:
            raise Refused(
                f"messages.{position}: The final block in an assistant message cannot be `thinking`"
            )


def _server_pairs(message: Body, position: int) -> None:
    open_calls: set[str] = set()
    for block in message["content"]:
        if block["type"] == "server_tool_use":
            open_calls.add(block["id"])
        elif block["type"] == "web_search_tool_result":
            if block["tool_use_id"] not in open_calls:
                raise Refused(
                    f"messages.{position}: unexpected `tool_use_id` found in"
                    f" `web_search_tool_result` blocks: {block['tool_use_id']}"
                )
            open_calls.discard(block["tool_use_id"])
    for call_id in open_calls:
        raise Refused(
            f"messages.{position}: `web_search` tool use with id `{call_id}` was found without a"
            " corresponding `web_search_tool_result` block"
        )


def _tools(body: Body, *, has_server_tools: bool) -> None:
    tools = body.get("tools") or []
    names = [tool["name"] for tool in tools]
    if len(names) != len(set(names)):
        raise Refused("tools: Tool names must be unique.")
    used = any(block["type"] == "tool_use" for _, block in _blocks(body["messages"]))
    if used and not tools:
        raise Refused("Requests which include `tool_use` or `tool_result` blocks must define tools")
    for tool in tools:
        if "type" in tool:
            if not has_server_tools:
                raise Refused(f"tools: Input tag '{tool['type']}' does not match any expected tag")
            if "allowed_domains" in tool and "blocked_domains" in tool:
                raise Refused("tools: only one of allowed_domains and blocked_domains")
        elif tool.keys() - {"name", "description", "input_schema", "cache_control"}:
            raise Refused("tools.custom: Extra inputs are not permitted")
        elif tool["input_schema"].get("type") != "object":
            raise Refused("tools.custom.input_schema.type: Input should be 'object'")
        elif tool["input_schema"].keys() & {"oneOf", "allOf", "anyOf"}:
            raise Refused(
                "tools.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at"
                " the top level"
            )
    choice = body.get("tool_choice")
    if choice and not tools:
        raise Refused("tool_choice may only be specified while providing tools")
    if choice and choice["type"] == "tool" and choice["name"] not in names:
        raise Refused(f"tool_choice: Tool '{choice['name']}' not found in provided tools")


def _thinking(body: Body) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    if (body.get("tool_choice") or {}).get("type") in ("tool", "any"):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")
    if body.get("temperature", 1) != 1 or "top_k" in body or body.get("top_p", 1) < 0.95:
        raise Refused(
            "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."
        )
    if thinking["type"] != "enabled":
        return
    if thinking["budget_tokens"] < 1024:
        raise Refused(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        )
    if body["max_tokens"] <= thinking["budget_tokens"]:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    answers = [message for message in body["messages"] if message["role"] == "assistant"]
    kinds = [block["type"] for block in answers[-1]["content"]] if answers else []
    if "tool_use" in kinds and kinds[0] not in THINKING:
        raise Refused(
            f"messages.content.0.type: Expected `thinking` or `redacted_thinking`, but found"
            f" `{kinds[0]}`. When `thinking` is enabled, a final `assistant` message must start"
            " with a thinking block."
        )


def _marks(body: Body) -> None:
    blocks = [*(body.get("system") or ()), *(block for _, block in _blocks(body["messages"]))]
    if sum("cache_control" in block for block in blocks) > 4:
        raise Refused("A maximum of 4 blocks with cache_control may be provided. Found more.")
