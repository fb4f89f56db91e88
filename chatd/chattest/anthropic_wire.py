"""Answers of the fake Anthropic server, and the events they are streamed as.

Belongs here: the full sequence of a stream, and the same answer as one body. Does not belong here:
HTTP, what is refused (`anthropic_rules`).
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatd.chattest.anthropic_rules import Issued

Event = dict[str, Any]
Content = dict[str, Any]

_PIECE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeAnswer:
    """What the fake says: content blocks as they stand in a whole answer.

    `cut_after`: the connection is closed after that many events. `error`: its type and message,
    sent as an event after the content. `hang`: nothing comes after the content.
    """

    content: Sequence[Content] = ()
    stop_reason: str = ""
    usage: Mapping[str, int] = field(default_factory=lambda: {"input_tokens": 10})
    output_tokens: int = 5
    cut_after: int | None = None
    error: tuple[str, str] | None = None
    hang: bool = False

    @property
    def reason(self) -> str:
        calls = any(block["type"] == "tool_use" for block in self.content)
        return self.stop_reason or ("tool_use" if calls else "end_turn")


def text(said: str, *citations: Content) -> Content:
    return {"type": "text", "text": said} | ({"citations": list(citations)} if citations else {})


def thinking(thought: str) -> Content:
    return {"type": "thinking", "thinking": thought, "signature": _secret("sig")}


def redacted() -> Content:
    return {"type": "redacted_thinking", "data": _secret("redacted")}


def tool_use(name: str, **arguments: Any) -> Content:
    return {"type": "tool_use", "id": _id("toolu"), "name": name, "input": arguments}


def search(query: str, *urls: str, error: str = "") -> list[Content]:
    """Return a search that the vendor carried out: the call and its result."""
    call_id = _id("srvtoolu")
    found: Any = [
        {
            "type": "web_search_result",
            "url": url,
            "title": f"About {url}",
            "encrypted_content": _secret("page"),
            "page_age": None,
        }
        for url in urls
    ]
    if error:
        found = {"type": "web_search_tool_result_error", "error_code": error}
    arguments = {"query": query}
    return [
        {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": arguments},
        {"type": "web_search_tool_result", "tool_use_id": call_id, "content": found},
    ]


def citation(url: str) -> Content:
    return {
        "type": "web_search_result_location",
        "cited_text": "so it says",
        "url": url,
        "title": f"About {url}",
        "encrypted_index": _secret("index"),
    }


def remember(content: Sequence[Content], issued: Issued) -> None:
    """Keep what has to come back unchanged."""
    for block in content:
        if block["type"] == "thinking":
            issued.thoughts[block["signature"]] = block["thinking"]
        issued.encrypted |= {block["data"]} if block["type"] == "redacted_thinking" else set()
        issued.encrypted |= {each["encrypted_index"] for each in block.get("citations", ())}
        if block["type"] == "web_search_tool_result" and isinstance(block["content"], list):
            issued.encrypted |= {each["encrypted_content"] for each in block["content"]}


def whole(answer: FakeAnswer, model: str) -> dict[str, Any]:
    """Return the answer as one body."""
    return {
        **_head(model),
        "content": list(answer.content),
        "stop_reason": answer.reason,
        "stop_sequence": None,
        "usage": {**answer.usage, "output_tokens": answer.output_tokens},
    }


def events(answer: FakeAnswer, model: str) -> Iterator[Event]:
    """Yield the events of a stream, up to the error if there is one."""
    started = {**_head(model), "content": [], "stop_reason": None, "stop_sequence": None}
    started["usage"] = {**answer.usage, "output_tokens": 1}
    yield {"type": "message_start", "message": started}
    for index, block in enumerate(answer.content):
        begun, deltas = _begun(block)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        if not index:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    if answer.error:
        kind, message = answer.error
        yield {"type": "error", "error": {"type": kind, "message": message}}
        return
    delta = {"stop_reason": answer.reason, "stop_sequence": None}
    usage = {**answer.usage, "output_tokens": answer.output_tokens}
    yield {"type": "message_delta", "delta": delta, "usage": usage}
    yield {"type": "message_stop"}


def _begun(block: Content) -> tuple[Content, list[dict[str, Any]]]:
    """Return a block as it begins, and what makes it grow."""
    match block["type"]:
        case "text":
            cited = [{"type": "citations_delta", "citation": c} for c in block.get("citations", ())]
            empty = {**block, "text": ""} | ({"citations": []} if cited else {})
            return empty, [*cited, *_pieces("text_delta", "text", block["text"])]
        case "thinking":
            signed = {"type": "signature_delta", "signature": block["signature"]}
            deltas = _pieces("thinking_delta", "thinking", block["thinking"])
            return {**block, "thinking": "", "signature": ""}, [*deltas, signed]
        case "tool_use" | "server_tool_use":
            deltas = _pieces("input_json_delta", "partial_json", json.dumps(block["input"]))
            first = {"type": "input_json_delta", "partial_json": ""}
            return {**block, "input": {}}, [first, *deltas]
    return block, []


def _pieces(kind: str, name: str, said: str) -> list[dict[str, Any]]:
    cuts = range(0, len(said), _PIECE)
    return [{"type": kind, name: said[at : at + _PIECE]} for at in cuts]


def _head(model: str) -> dict[str, Any]:
    return {"id": _id("msg"), "type": "message", "role": "assistant", "model": model}


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def _secret(prefix: str) -> str:
    return f"{prefix}-{secrets.token_urlsafe(30)}"
